"""Any task: the share of learned tokens that a model predicts rightly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..loop.data import Batch, to_device
from ..loop.objective import autocast
from ..models.base import LanguageModel, labelled_logits


@dataclass(frozen=True, kw_only=True)
class TokenScore:
    """How many tokens under the loss mask were the most likely ones."""

    tokens: int
    correct: int

    @property
    def accuracy(self) -> float:
        """Share of the tokens that are right, 0..1."""
        return self.correct / max(1, self.tokens)


def score_tokens(
    model: LanguageModel, batches: Iterable[Batch], *, device: torch.device, precision: str = "float32"
) -> TokenScore:
    """Measure `model` on padded batches; the tokens before each are the true ones."""
    tokens = correct = 0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            moved = to_device(batch, device)
            with autocast(precision, device):
                logits, targets = labelled_logits(model, moved["input_ids"], moved["labels"])
            tokens += len(targets)
            correct += int((logits.argmax(-1) == targets).sum())
    model.train(was_training)
    return TokenScore(tokens=tokens, correct=correct)
