"""The order of a corpus' rows in an epoch: a pure function of (blocks, seed, epoch).

Blocks (row groups) are permuted; consecutive ones form a window; the rows of a window are permuted among
themselves. So a reader holds one window in memory, and any position is found without reading what is
before it.

Worked example: blocks of 3, 3, 2 and 3 rows, 2 blocks a window. Epoch 0 may visit blocks 2, 0 | 3, 1: the
first window's 5 rows come in any order, then the second's 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.permutation import permutation_key, permute


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
    ) -> None:
        """block_rows: int64 [blocks], how many rows each block has."""
        count = len(block_rows)
        order = np.arange(count, dtype=np.int64)
        if shuffle:
            order = permute(order, count, permutation_key("blocks", seed, epoch))
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
            rows = np.arange(max(position - start, 0), self._window_ends[number] - start)
            if self._shuffle:
                key = permutation_key("rows", self._seed, self._epoch, number)
                rows = permute(rows, int(self._window_ends[number]) - start, key)
            begin = number * self._window_blocks
            yield Window(blocks=self._order[begin : begin + self._window_blocks], rows=rows)
