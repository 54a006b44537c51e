"""The losses of the steps since something was last written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from ...tasks.errors import OstracaError
from .ranks import Ranks


class DivergedError(OstracaError):
    """A loss, or a weight, is no number any more."""


@final
class Losses:
    """Mean losses of global batches, in nats; nothing waits for a GPU before `mean` or `settle`."""

    def __init__(self, ranks: Ranks, settled: Sequence[float] = ()) -> None:
        self._ranks = ranks
        self._settled = list(settled)
        self._pending: list[tuple[Tensor, int]] = []

    def add(self, summed: Tensor, labels: int) -> None:
        """A step's loss: float32 [], summed over this rank's labels, and how many labels all ranks have."""
        self._pending.append((summed, labels))

    def settle(self) -> list[float]:
        """Each step's loss, float64; DivergedError where one is not finite."""
        if self._pending:
            summed = self._ranks.total(torch.stack([summed for summed, _ in self._pending]).cpu()).tolist()
            self._settled += [loss / labels for loss, (_, labels) in zip(summed, self._pending, strict=True)]
            self._pending.clear()
        for loss in self._settled:
            if not math.isfinite(loss):
                raise DivergedError(f"the loss is {loss}")
        return list(self._settled)

    def mean(self) -> float:
        """Of the steps since `clear`, NaN where there is none; DivergedError where it is not finite."""
        losses = self.settle()
        return math.fsum(losses) / len(losses) if losses else math.nan

    def clear(self) -> None:
        """Begin anew."""
        self._settled.clear()
        self._pending.clear()
