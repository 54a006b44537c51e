"""The order of a corpus' rows in an epoch: a pure function of (blocks, seed, epoch).

Blocks (row groups) are permuted; consecutive ones form a window; the rows of a window are permuted among
themselves. So a reader holds one window in memory, and any position is found without reading what is
before it.

Where the blocks are of several datasets (strata), each dataset's are permuted and the datasets interleaved
evenly, so that every window holds about the mixture of the whole.

Worked example: blocks of 3, 3, 2 and 3 rows, 2 blocks a window. Epoch 0 may visit blocks 2, 0 | 3, 1: the
first window's 5 rows come in any order, then the second's 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.permutation import shuffled


@dataclass(frozen=True, kw_only=True)
class Window:
    """Some blocks, and the order in which their rows are visited."""

    blocks: NDArray[np.int64]  # which blocks, in this order
    rows: NDArray[np.int64]  # positions among the blocks' rows laid end to end


class EpochOrder:
    """The windows of one epoch."""

    def __init__(
        self,
        block_rows: NDArray[np.int64],
        *,
        seed: int,
        epoch: int,
        window_blocks: int,
        shuffle: bool = True,
        strata: Sequence[int] | None = None,
    ) -> None:
        """block_rows: int64 [blocks], how many rows each block has.

        strata: how many blocks each dataset has, which stand one after another (None: there is one).
        """
        count = len(block_rows)
        if not shuffle:
            order = np.arange(count, dtype=np.int64)
        elif strata is None or len(strata) == 1:
            order = shuffled(count, "blocks", seed, epoch)
        else:
            order = _interleaved(strata, seed, epoch)
        self._order, self._shuffle, self._window_blocks = order, shuffle, window_blocks
        self._seed, self._epoch = seed, epoch
        ends = np.cumsum(block_rows[order])
        last_blocks = np.append(np.arange(window_blocks, count, window_blocks), count) - 1
        self._window_ends = ends[last_blocks]  # rows of the epoch up to each window's end

    @property
    def rows(self) -> int:
        """Rows of the epoch."""
        return int(self._window_ends[-1])

    def windows_from(self, position: int) -> Iterator[Window]:
        """The windows from the one that holds row `position` of the epoch; its earlier rows left out."""
        first = int(np.searchsorted(self._window_ends, position, side="right"))
        for number in range(first, len(self._window_ends)):
            start = int(self._window_ends[number - 1]) if number else 0
            count = int(self._window_ends[number]) - start
            if self._shuffle:
                rows = shuffled(count, "rows", self._seed, self._epoch, number)
            else:
                rows = np.arange(count, dtype=np.int64)
            begin = number * self._window_blocks
            blocks = self._order[begin : begin + self._window_blocks]
            yield Window(blocks=blocks, rows=rows[max(position - start, 0) :])


def _interleaved(strata: Sequence[int], seed: int, epoch: int) -> NDArray[np.int64]:
    """The blocks of each stratum in random order, the strata spread evenly over the epoch."""
    firsts = np.cumsum([0, *strata])
    orders = [
        first + shuffled(size, "blocks", seed, epoch, number)
        for number, (first, size) in enumerate(zip(firsts[:-1].tolist(), strata, strict=True))
    ]
    # Block r of the n of a stratum stands at (r + 1/2) / n of the epoch; equal places go by stratum.
    places = np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in strata])
    order: NDArray[np.int64] = np.concatenate(orders)[np.argsort(places, kind="stable")]
    return order
