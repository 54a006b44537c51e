"""Histograms on one axis: integers put into a few bins of one round width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..corpus.split_statistics import Histogram

MOST_BINS = 60


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Bin i holds the integers first + i * width .. first + (i + 1) * width - 1."""

    first: int
    width: int
    counts: tuple[NDArray[np.float64], ...]  # [bins] of each histogram

    @property
    def number(self) -> int:
        return len(self.counts[0])

    @property
    def stop(self) -> int:
        """One past the last integer of the last bin."""
        return self.first + self.number * self.width

    def label(self, number: int) -> str:
        """The integers of a bin: "12", or "12 to 15"."""
        low = self.first + number * self.width
        return f"{low:,}" if self.width == 1 else f"{low:,} to {low + self.width - 1:,}"


def bins_of(histograms: Sequence[Histogram], most: int = MOST_BINS) -> Bins:
    """The histograms, of which at least one holds a value, in the same bins, at most `most` of them."""
    ends = [histogram.edges() for histogram in histograms if len(histogram.values)]
    low = min(int(lows[0]) for lows, _ in ends)
    high = max(int(highs[-1]) for _, highs in ends)
    width = next(width for width in _round_widths() if high // width - low // width < most)
    first = low // width * width
    number = high // width - low // width + 1
    edges = first + width * np.arange(number + 1, dtype=np.int64)
    return Bins(first=first, width=width, counts=tuple(_spread(histogram, edges) for histogram in histograms))


def _spread(histogram: Histogram, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts between edges; what stands for several values is spread evenly over them."""
    lows, highs = histogram.edges()
    wide = (highs - lows + 1).astype(np.float64)
    below = np.clip((edges[:, None] - lows[None, :]) / wide[None, :], 0.0, 1.0)
    return np.diff(below @ histogram.counts.astype(np.float64))


def _round_widths() -> list[int]:
    return [digit * 10**power for power in range(20) for digit in (1, 2, 5)]


def round_ticks(low: float, high: float, about: int, whole: bool = True) -> list[float]:
    """Round numbers from `low` to `high`, about so many; whole ones where asked."""
    if high <= low:
        return [low]
    step = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= step * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
