"""A set of 128-bit fingerprints: open addressing in one array, which is also how it is kept on disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....tasks.core.kernels import kernel
from ...store.folder import Folder

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
LOAD = 2 / 3  # of the slots at most; a table beyond is doubled
SLOT_BYTES = 16
_BLOCK = 1 << 24  # bytes read or written at a time


class Table:
    """A set of fingerprints uint64 [n, 2]."""

    def __init__(self, slots: NDArray[np.uint64], used: int) -> None:
        self.slots = slots  # [power of two, 2]; (0, 0) is empty
        self.used = used

    @staticmethod
    def of_size(count: int) -> Table:
        """An empty set with room for `count`."""
        return Table(np.zeros((slots_for(count), 2), np.uint64), 0)

    @staticmethod
    def read(folder: Folder, path: str) -> Table:
        """The table that `write` wrote: it is never in memory twice."""
        words = np.empty((folder.size(path) or 0) // 8, "<u8")
        view, place = words.data.cast("B"), 0
        with closing(folder.open(path)) as file:
            while block := file.read(_BLOCK):
                view[place : place + len(block)] = block
                place += len(block)
        return Table._of(words)

    @staticmethod
    def mapped(path: Path) -> Table:
        """The table in a file, to look up only: its bytes are read where they are needed."""
        # Copy-on-write: of the same type to Numba as any other table.
        return Table._of(np.memmap(path, "<u8", mode="c").view(np.ndarray))

    @staticmethod
    def _of(words: NDArray[np.uint64]) -> Table:
        return Table(words[1:].reshape(-1, 2), int(words[0]))

    def write(self, folder: Folder, path: str) -> None:
        """Write how many there are, then the slots."""
        view = np.ascontiguousarray(self.slots, "<u8").data.cast("B")
        with folder.create(path) as file:
            file.write(np.array([self.used], "<u8").tobytes())
            for place in range(0, len(view), _BLOCK):
                file.write(view[place : place + _BLOCK].tobytes())

    def insert(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add each in turn; bool [n]: whether it was new."""
        slots = slots_for(self.used + len(prints))
        if slots > len(self.slots):
            larger = np.zeros((slots, 2), np.uint64)
            old = self.slots[self.slots.any(axis=1)]
            _insert(larger, _plain(old), np.zeros(len(old), np.uint8))
            self.slots = larger
        new = np.zeros(len(prints), np.uint8)
        self.used += int(_insert(self.slots, _plain(prints), new))
        return new.astype(bool)

    def contains(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool [n]: whether each is in the set."""
        present = np.zeros(len(prints), np.uint8)
        if self.used:
            _contains(self.slots, _plain(prints), present)
        return present.astype(bool)


def _plain(prints: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """In one piece and read-only, wherever they came from: Numba would compile kernels once for each kind."""
    plain = np.ascontiguousarray(prints).view()
    plain.flags.writeable = False
    return plain


def slots_for(count: int) -> int:
    """Slots of a table that has room for `count`."""
    return 1 << max(4, int(count / LOAD).bit_length())


@kernel
def _insert(slots, prints, new):
    """Add prints uint64 [n, 2]; new uint8 [n] is 1 where it was not there. Returns how many were new."""
    mask = np.uint64(len(slots) - 1)
    added = 0
    for row in range(len(prints)):
        high, low = prints[row, 0], prints[row, 1]
        if high == _EMPTY and low == _EMPTY:
            low = _ONE  # (0, 0) means empty
        at = low & mask
        while (slots[at, 0] != high or slots[at, 1] != low) and (
            slots[at, 0] != _EMPTY or slots[at, 1] != _EMPTY
        ):
            at = (at + _ONE) & mask
        if slots[at, 0] != high or slots[at, 1] != low:
            slots[at, 0], slots[at, 1] = high, low
            new[row] = 1
            added += 1
    return added


@kernel
def _contains(slots, prints, present):
    """found uint8 [n] is 1 where a print is in the table."""
    mask = np.uint64(len(slots) - 1)
    for row in range(len(prints)):
        high, low = prints[row, 0], prints[row, 1]
        if high == _EMPTY and low == _EMPTY:
            low = _ONE
        at = low & mask
        while (slots[at, 0] != high or slots[at, 1] != low) and (
            slots[at, 0] != _EMPTY or slots[at, 1] != _EMPTY
        ):
            at = (at + _ONE) & mask
        present[row] = slots[at, 0] == high and slots[at, 1] == low
