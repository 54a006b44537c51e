"""The law of n in Depo and Brevo: n in 3..N, P(n) proportional to 1 / (n + sqrt(N)).

Made of integers alone, so that the thresholds are the same on every machine.
Source: Physics of Language Models, Part 4.1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .kernels import inlined
from .rng import uniform53

MIN_SIZE = 3
_SCALE = 1 << 64


@lru_cache(maxsize=64)
def size_thresholds(largest: int) -> NDArray[np.int64]:
    """Upper bounds of u in 0..2^53-1 for each n in 3..largest: int64 [largest - 2].

    n is MIN_SIZE + the number of thresholds that are <= u; the last is 2^53.
    """
    root = math.isqrt(largest * _SCALE * _SCALE)  # sqrt(largest) * 2^64
    weights = [(_SCALE << 96) // (n * _SCALE + root) for n in range(MIN_SIZE, largest + 1)]
    total = sum(weights)
    running, thresholds = 0, []
    for weight in weights:
        running += weight
        thresholds.append((running << 53) // total)
    return np.array(thresholds, dtype=np.int64)


def size_probabilities(largest: int) -> NDArray[np.float64]:
    """P(n) for n = 3..largest exactly as drawn (to 2^-53): float64 [largest - 2]."""
    return np.diff(size_thresholds(largest), prepend=0) / 2.0**53


@inlined
def draw_size(state, thresholds):
    """Draw n; one 64-bit draw of the stream. thresholds: see `size_thresholds`."""
    drawn = uniform53(state)
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if thresholds[middle] <= drawn:
            low = middle + 1
        else:
            high = middle
    return MIN_SIZE + low
