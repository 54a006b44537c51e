"""The training loop: AdamW, a schedule, loss on the labelled tokens alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..tasks.core.batch import LABEL_IGNORED
from ..tasks.errors import OstracaError
from .base import LanguageModel, labelled_logits
from .canon import Canon
from .data import Batch, to_device
from .schedule import learning_rate
from .settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one training step did."""

    number: int  # of this step, from 1
    loss: Tensor  # float32 [], mean over the batch's labels, nats; on the model's device
    tokens: int  # seen so far, of this step too
    seconds: float  # spent in steps so far; on a GPU the work may still be under way


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run has behind it."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


def train(
    model: LanguageModel,
    batches: Iterable[Batch],
    settings: TrainSettings,
    device: torch.device,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    done: Done | None = None,
) -> Iterator[Step]:
    """Train `model` in place up to step `settings.max_steps`, giving a record after each.

    optimizer, done: of a run that goes on, whose batches begin with the next one. The caller may evaluate
    between two steps: each begins with `model.train()`. OstracaError where the batches end early.
    """
    optimizer = make_optimizer(model, settings) if optimizer is None else optimizer
    source = iter(batches)
    done = done or Done()
    tokens, seconds = done.tokens, done.seconds
    for number in range(done.steps + 1, settings.max_steps + 1):
        begin = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            raise OstracaError(f"the data ended after {number - 1} of train.max_steps={settings.max_steps}")
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, settings)
        optimizer.zero_grad(set_to_none=True)
        loss = _backward(model, to_device(batch, device), settings, device)
        if settings.grad_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
        optimizer.step()
        tokens += batch["input_ids"].numel()
        seconds += time.perf_counter() - begin
        yield Step(number=number, loss=loss, tokens=tokens, seconds=seconds)


def _backward(model: LanguageModel, batch: Batch, settings: TrainSettings, device: torch.device) -> Tensor:
    """Gradients of a batch, part after part where it is worked on in parts; its mean loss."""
    labels = labelled(batch)
    total = torch.zeros((), device=device)
    for part in _parts(batch, settings.accumulate):
        loss, added = part_loss(model, part, settings, device)
        ((loss + added) / labels).backward()  # type: ignore[no-untyped-call]
        total += loss.detach() / labels
    return total


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """A batch's rows in so many parts of the same size."""
    size = len(batch["input_ids"]) // count
    for first in range(0, size * count, size):
        yield {name: values[first : first + size] for name, values in batch.items()}


def labelled(batch: Batch) -> Tensor:
    """How many tokens of a batch are in the loss, at least 1: int64 []. The first of a row never is."""
    count: Tensor = (batch["labels"][:, 1:] != LABEL_IGNORED).sum().clamp(min=1)
    return count


def batch_loss(model: LanguageModel, batch: Batch, settings: TrainSettings, device: torch.device) -> Tensor:
    """Mean cross entropy over the labelled tokens, float32 []."""
    return part_loss(model, batch, settings, device)[0] / labelled(batch)


def part_loss(
    model: LanguageModel, batch: Batch, settings: TrainSettings, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Sums over the labelled tokens, float32 []: of the cross entropy, and of what z_loss adds to it."""
    positions = batch["position_ids"] if settings.document_mask else None
    with autocast(settings.precision, device):
        logits, targets = labelled_logits(model, batch["input_ids"], batch["labels"], positions)
    logits = logits.float()
    if len(targets) == 0:  # a batch of cut-off examples only; its gradients are zeros
        return logits.sum(), logits.sum()
    loss = functional.cross_entropy(logits, targets, reduction="sum")
    if not settings.z_loss:
        return loss, torch.zeros_like(loss)
    return loss, settings.z_loss * logits.logsumexp(-1).square().sum()


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices alone: neither norms and biases nor embeddings and Canon weights."""
    spared = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding | Canon)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim >= 2 and parameter not in spared].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": settings.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bfloat16 products under master weights of float32; `auto` is bfloat16 on a GPU alone."""
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextlib.contextmanager
def isolated(seed: int, threads: int | None) -> Iterator[None]:
    """Torch with its own random state and number of threads; both are put back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
