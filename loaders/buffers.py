"""Memory of batches used again: fresh memory costs more to touch for the first time than to fill.

A piece of memory comes back here by itself once nobody holds an array, or a tensor, that lies in it.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 27  # kept without being in use


class Buffers:
    """Pieces of memory, each of which is in use or waits to be. Threads may share it."""

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = {}

    def take(self, size: int) -> Any:
        """Something that holds `size` bytes, whatever they are, for `np.frombuffer`."""
        try:
            memory = self._free[size].pop()
        except (KeyError, IndexError):
            memory = np.empty(size, np.uint8)
        lease = _lease(size).from_buffer(memory)
        back = weakref.finalize(lease, self._back, memory)
        back.atexit = False
        return lease

    def _back(self, memory: NDArray[np.uint8]) -> None:
        free = self._free.setdefault(len(memory), [])
        if len(memory) * len(free) < MOST_BYTES:
            free.append(memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return Buffers, ()


@lru_cache(maxsize=64)
def _lease(size: int) -> Any:
    """A type of ctypes for so many bytes; a subclass, since only those can be watched."""
    return type("Lease", (ctypes.c_char * size,), {})
