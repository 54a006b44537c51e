"""The order of an epoch: a pure function of (blocks, settings, seed, epoch), known before a block is read.

Blocks (row groups) are permuted; consecutive ones form a window; the rows of a window are permuted among
themselves and laid into lines. How many lines a window gives follows from the numbers of rows and tokens of
its blocks alone, so an epoch is a sequence of lines whose every place is known: lanes, ranks and workers
share it out by arithmetic, and any line is found by reading one window.

Where the blocks are of several datasets (strata), each dataset's are permuted and the datasets interleaved
evenly, so that windows hold about the mixture of the whole.

Where lines are long, a unit of several blocks that stand side by side takes the place of a block: a unit
gives whole lines, and what the last of them lacks shall be small beside the others.

Worked example: blocks of 3, 3, 2 and 3 rows, a row a line, 2 blocks a window. Epoch 0 may visit blocks 2, 0 |
3, 1: lines 0-4 are the first window's 5 rows in any order, lines 5-10 the second's 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.permutation import shuffled
from .source import Blocks

LEAST_LINES = 64  # of a unit, where there are so many
_KEPT = 3  # orders of epochs, beside the one that was asked for last


@dataclass(frozen=True, kw_only=True)
class OrderSettings:
    """What decides the order, beside the blocks."""

    mode: str
    length: int | None  # tokens of a line
    seed: int
    shuffle: bool
    window_blocks: int  # units of a window


@dataclass(frozen=True, kw_only=True)
class Window:
    """Some blocks, and the order in which their rows are laid."""

    number: int  # in its epoch
    first_line: int  # of the epoch
    lines: int
    blocks: NDArray[np.int64]  # which blocks, in this order
    shuffle_name: tuple[object, ...] | None  # of the order of its rows; None: as they are

    def order(self, rows: int) -> NDArray[np.int64]:
        """The order of its rows, int64 [rows]."""
        if self.shuffle_name is None:
            return np.arange(rows, dtype=np.int64)
        return shuffled(rows, *self.shuffle_name)


class Units:
    """The units of some blocks, for lines of some length: all that the epochs of a source share."""

    def __init__(self, blocks: Blocks, mode: str, length: int | None) -> None:
        self.blocks = blocks
        size = _blocks_a_unit(blocks, mode, length)
        firsts, strata, first = [], [], 0
        for count in blocks.strata:
            firsts.append(np.arange(first, first + count, size, dtype=np.int64))
            strata.append(len(firsts[-1]))
            first += count
        self.strata = tuple(strata)
        self.bounds = np.append(np.concatenate(firsts), first)  # [units + 1], the first block of each
        self.lines = _lines(blocks, self.bounds[:-1], mode, length)  # [units]
        self.total = int(self.lines.sum())  # lines of an epoch

    def __len__(self) -> int:
        return len(self.lines)

    def blocks_of(self, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """The blocks of some units, unit after unit."""
        return np.concatenate([np.arange(*self.bounds[unit : unit + 2]) for unit in units])


class EpochOrder:
    """The windows of one epoch."""

    def __init__(self, units: Units, settings: OrderSettings, epoch: int) -> None:
        count = len(units)
        if not settings.shuffle:
            order = np.arange(count, dtype=np.int64)
        elif len(units.strata) == 1:
            order = shuffled(count, "blocks", settings.seed, epoch)
        else:
            order = _interleaved(units.strata, settings.seed, epoch)
        self._units, self._settings, self._order, self._epoch = units, settings, order, epoch
        ends = np.cumsum(units.lines[order])
        size = settings.window_blocks
        self._ends = ends[np.append(np.arange(size, count, size), count) - 1]  # lines up to each window's end

    def __len__(self) -> int:
        """Windows of the epoch."""
        return len(self._ends)

    def window_of(self, line: int) -> tuple[int, int, int]:
        """The window that holds a line of the epoch, its first line, and the first one behind it."""
        window = int(np.searchsorted(self._ends, line, side="right"))
        return window, int(self._ends[window - 1]) if window else 0, int(self._ends[window])

    def window(self, number: int) -> Window:
        """A window by its number."""
        first = int(self._ends[number - 1]) if number else 0
        begin = number * self._settings.window_blocks
        units = self._order[begin : begin + self._settings.window_blocks]
        settings = self._settings
        return Window(
            number=number,
            first_line=first,
            lines=int(self._ends[number]) - first,
            blocks=self._units.blocks_of(units),
            shuffle_name=("rows", settings.seed, self._epoch, number) if settings.shuffle else None,
        )


class Epochs:
    """The orders of a source's epochs, made when they are asked for; the last few are kept."""

    def __init__(self, units: Units, settings: OrderSettings) -> None:
        self.units, self.settings = units, settings
        self._made: dict[int, EpochOrder] = {}

    def order(self, epoch: int) -> EpochOrder:
        """The order of an epoch. Called from several threads at a time."""
        made = self._made.get(epoch)
        if made is None:
            made = EpochOrder(self.units, self.settings, epoch)
            self._made = {**dict(list(self._made.items())[-_KEPT:]), epoch: made}
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}


def _blocks_a_unit(blocks: Blocks, mode: str, length: int | None) -> int:
    """How many blocks make a unit."""
    if mode in ("padded", "packed") or length is None:
        return 1
    mean = max(float(blocks.tokens.sum()) / len(blocks.tokens), 1.0)
    return max(1, int(np.ceil(LEAST_LINES * length / mean)))


def _lines(blocks: Blocks, firsts: NDArray[np.int64], mode: str, length: int | None) -> NDArray[np.int64]:
    """How many lines each unit gives: int64 [units]. See `lay.py`, which lays them."""
    rows: NDArray[np.int64] = np.add.reduceat(blocks.rows, firsts)
    if mode in ("padded", "packed"):
        return rows
    assert length is not None
    tokens = np.add.reduceat(blocks.tokens, firsts)
    lines: NDArray[np.int64] = np.maximum(-(-tokens // length), 1)
    # No window of left-aligned lines needs more lines than it has rows.
    return lines if mode == "concat" else np.where(lines < rows, lines, rows)


def _interleaved(strata: Sequence[int], seed: int, epoch: int) -> NDArray[np.int64]:
    """The units of each stratum in random order, the strata spread evenly over the epoch."""
    firsts = np.cumsum([0, *strata])
    orders = [
        first + shuffled(size, "blocks", seed, epoch, number)
        for number, (first, size) in enumerate(zip(firsts[:-1].tolist(), strata, strict=True))
    ]
    # Unit r of the n of a stratum stands at (r + 1/2) / n of the epoch; equal places go by stratum.
    places = np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in strata])
    order: NDArray[np.int64] = np.concatenate(orders)[np.argsort(places, kind="stable")]
    return order
