"""Shuffles: uniform permutations, each a pure function of its size and of what names it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tasks.errors import OstracaError
from tasks.kernels import kernel
from tasks.rng import STATE_WORDS, canonical_json, integers, seed_stream


def shuffled(size: int, *name: object) -> NDArray[np.int64]:
    """The numbers 0..size-1 (size < 2^32) in the order that `name` (plain values) stands for.

    Every order is equally likely: Fisher and Yates's shuffle with a stream of `tasks.rng`.
    """
    if size >= 1 << 32:
        raise OstracaError(f"{size} things cannot be shuffled at once (at most 2^32 - 1)")
    digest = hashlib.blake2b(canonical_json(list(name)).encode(), digest_size=16, person=b"ostraca shuffle")
    key = np.frombuffer(digest.digest(), dtype="<u8").astype(np.uint64)
    order = np.arange(size, dtype=np.int64)
    _shuffle(order, key, np.empty(STATE_WORDS, dtype=np.uint64))
    return order


@kernel
def _shuffle(order, key, state):
    seed_stream(state, key, 0, 0)
    for place in range(len(order) - 1, 0, -1):
        chosen = integers(state, place + 1)
        order[place], order[chosen] = order[chosen], order[place]
