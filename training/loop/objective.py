"""What training makes small: the loss of a part of a batch."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.base import LanguageModel
from ..settings import TrainSettings
from .data import Part


class Objective(nn.Module):
    """A model's loss."""

    def __init__(self, model: LanguageModel, settings: TrainSettings, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._settings, self._device = settings, device

    def forward(self, part: Part) -> tuple[Tensor, Tensor]:
        """Sums over the labelled tokens, float32 []: of the cross entropy, and of what z_loss adds to it."""
        with autocast(self._settings.precision, self._device):
            states = self.model.hidden(part.input_ids, part.position_ids).flatten(0, 1)
            logits = self.model.head(states.index_select(0, part.places))
        logits = logits.float()
        if not len(part.targets):  # cut-off examples only; the gradients are zeros
            return logits.sum(), logits.sum()
        loss = functional.cross_entropy(logits, part.targets, reduction="sum")
        if not self._settings.z_loss:
            return loss, torch.zeros_like(loss)
        return loss, self._settings.z_loss * logits.logsumexp(-1).square().sum()


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bfloat16 products under master weights of float32; `auto` is bfloat16 on a GPU alone."""
    if resolve_precision(precision, device) == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """What products are made in."""
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    return torch.float32 if precision == "float32" else torch.bfloat16
