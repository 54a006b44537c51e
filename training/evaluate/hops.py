"""A task with hops (`tasks.base.Hops`): whole-answer exact match on questions of one hop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...loaders import TaskSource, TokenStream
from ...tasks import get_task
from ...tasks.core.batch import LABEL_IGNORED
from ...tasks.errors import ConfigError
from ...tasks.vocabulary import Renaming
from ..loop.data import Batch, StreamDataset, to_device
from ..loop.objective import autocast
from ..loop.ranks import Ranks
from ..models.base import LanguageModel, labelled_logits


@dataclass(frozen=True, kw_only=True)
class HopScore:
    """How many answers of one hop were right."""

    answers: int
    correct: int
    standard_error: float  # of the accuracy, over examples (answers of one example go together)

    @property
    def accuracy(self) -> float:
        """Share of the answers with every token right, 0..1."""
        return self.correct / max(1, self.answers)


def choose_hops(hops: Sequence[int] | None, key: str, largest: int) -> tuple[int, ...]:
    """The hops to measure; None means 1, 2, 4, ... up to `largest`.

    key: of the config that holds `largest`. ConfigError where a hop is not in 1..largest, or is there twice.
    """
    if hops is None:
        return tuple(1 << power for power in range(largest.bit_length()))
    if not hops:
        raise ConfigError(
            f"eval.hops is empty; give hops from 1 to {key}={largest}, or null for 1, 2, 4, ..."
        )
    for hop in hops:
        if not 1 <= hop <= largest:
            raise ConfigError(
                f"eval.hops has {hop}, but the model is trained on hops 1 to {key}={largest} alone; leave it "
                f"out or raise dataset.{key}"
            )
    if len(set(hops)) < len(hops):
        raise ConfigError(f"eval.hops={list(hops)} names a hop twice")
    return tuple(hops)


@dataclass(frozen=True, kw_only=True)
class HopSet:
    """Questions of one hop."""

    task: str
    config: Mapping[str, Any]  # which asks this hop
    seed: int
    renaming: Renaming | None = None  # to the ids that the model was trained on


def hop_dataset(
    hop_set: HopSet, indices: range, batch_size: int, ranks: Ranks | None = None
) -> StreamDataset:
    """Examples at `indices` (step 1) of the eval split of a set, one a row.

    ranks: share the rows, and all have as many batches.
    """
    source = TaskSource(
        hop_set.task,
        hop_set.config,
        seed=hop_set.seed,
        split="eval",
        start=indices.start,
        count=len(indices),
        renaming=hop_set.renaming,
    )
    rank, world_size = (0, 1) if ranks is None else (ranks.rank, ranks.world_size)
    longest = int(get_task(hop_set.task).max_tokens(source.config))
    return StreamDataset(
        TokenStream(
            source,
            batch_size=-(-batch_size // world_size) * world_size,
            length=longest if world_size > 1 else None,  # of all ranks the same
            mode="padded",
            shuffle=False,
            epochs=1,
            remainder="pad",
            rank=rank,
            world_size=world_size,
        )
    )


def score_hop(
    model: LanguageModel,
    batches: Iterable[Batch],
    answer_token_id: int,
    *,
    device: torch.device,
    precision: str = "float32",
    ranks: Ranks | None = None,
) -> HopScore:
    """Measure `model` on padded batches, over every question of every example.

    ranks: each has its share of the rows, and all find the score of all of them.

    An answer is right when all its tokens are; `<ans>` itself is not counted (it would be a free one).
    The tokens before an answer are the true ones. Within an answer this is the same as greedy
    generation: up to its first wrong token greedy has produced the true ones, and after a wrong token
    the answer is wrong either way. Each question thus counts on its own, as if the earlier ones had been
    answered rightly.
    """
    answers, correct = [], []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            moved = to_device(batch, device)
            with autocast(precision, device):
                # One example a row, padded behind: what is causal needs no mask.
                logits, targets = labelled_logits(model, moved["input_ids"], moved["labels"])
            wrong = logits.argmax(-1) != targets
            begins = targets == answer_token_id
            # Each <ans> begins an answer: int64 [labelled], its number in the batch.
            answer = begins.cumsum(0) - 1
            row = (moved["labels"][:, 1:] != LABEL_IGNORED).nonzero()[:, 0]
            count = int(begins.sum())
            wrong_tokens = torch.zeros(count, dtype=torch.int64, device=wrong.device)
            wrong_tokens.index_add_(0, answer[~begins], wrong[~begins].long())
            rows = len(moved["labels"])
            answers.append(torch.bincount(row[begins], minlength=rows))
            correct.append(torch.bincount(row[begins][wrong_tokens == 0], minlength=rows))
    model.train(was_training)
    counted = torch.stack([torch.stack(answers), torch.stack(correct)]).cpu()  # [2, batches, rows]
    if ranks is not None:
        counted = torch.cat(ranks.gathered(counted), dim=-1)
    return _summed(*counted.flatten(1))


def _summed(answers: torch.Tensor, correct: torch.Tensor) -> HopScore:
    """From int64 [examples] each; the error is that of a ratio of sums over examples."""
    asked = answers > 0  # lines of padding ask nothing
    answers, correct = answers[asked], correct[asked]
    total, right, examples = int(answers.sum()), int(correct.sum()), len(answers)
    error = math.nan
    if examples > 1 and total > 0:
        rest = correct.double() - answers.double() * (right / total)
        error = math.sqrt(float((rest**2).sum()) * examples / (examples - 1)) / total
    return HopScore(answers=total, correct=right, standard_error=error)
