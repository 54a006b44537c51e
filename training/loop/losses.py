"""The losses of the steps since something was last written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from ...tasks.errors import OstracaError
from .ranks import Ranks
from .train import Step


class DivergedError(OstracaError):
    """A loss, or a weight, is no number any more."""


@final
class Losses:
    """Mean losses of global batches, in nats; nothing waits for a GPU before `mean` or `settle`."""

    def __init__(self, ranks: Ranks, settled: Sequence[float] = ()) -> None:
        self._ranks = ranks
        self._settled = list(settled)
        self._pending: list[tuple[int, Tensor, int]] = []

    def add(self, step: Step) -> None:
        """A step was made; one without a label has no loss."""
        if step.labels:
            self._pending.append((step.number, step.summed, step.labels))

    def settle(self) -> list[float]:
        """Each step's loss, float64; DivergedError where one is not finite."""
        if self._pending:
            shares = torch.stack([summed for _, summed, _ in self._pending]).cpu()
            for summed, (number, _, labels) in zip(
                self._ranks.total(shares).tolist(), self._pending, strict=True
            ):
                if not math.isfinite(summed):
                    raise DivergedError(f"the loss of step {number} is {summed}")
                self._settled.append(summed / labels)
            self._pending.clear()
        return list(self._settled)

    def mean(self) -> float:
        """Of the steps since `clear`, NaN where there is none; DivergedError where it is not finite."""
        losses = self.settle()
        return math.fsum(losses) / len(losses) if losses else math.nan

    def clear(self) -> None:
        """Begin anew."""
        self._settled.clear()
        self._pending.clear()
