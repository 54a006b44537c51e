"""Permutations, each a pure function of its size and of what names it.

`shuffled` gives a whole order at once. A `Permutation` gives the place of any one number, and back, at the
same cost for the first and the last: up to TABLE_SIZE numbers it is such an order; beyond, a keyed Feistel
network over ceil(log2 size) bits, applied again while it leads outside of the size (cycle walking: 2 times
at most on average), so nothing is stored and sizes go up to 2^62.

Source: Black and Rogaway, CT-RSA 2002 (ciphers with arbitrary finite domains).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import OstracaError
from .kernels import inlined, kernel
from .rng import STATE_WORDS, canonical_json, integers, seed_stream

TABLE_SIZE = 1 << 20  # up to here an exactly uniform order in a table
ROUNDS = 12  # of the Feistel network; an even number
MAX_SIZE = 1 << 62

_ONE = np.uint64(1)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = (np.uint64(shift) for shift in (27, 30, 31))


def shuffled(size: int, *name: object) -> NDArray[np.int64]:
    """The numbers 0..size-1 (size < 2^32) in the order that `name` (plain values) stands for.

    Every order is equally likely: Fisher and Yates's shuffle with a stream of `tasks.core.rng`.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Permutation:
    """A bijection of 0..size-1, one number at a time."""

    size: int
    low_bits: int  # the network's halves: the lower bits of a number, and the others
    high_bits: int
    keys: NDArray[np.uint64]  # [ROUNDS], one a round
    order: NDArray[np.int64]  # [size] up to TABLE_SIZE, else empty: what a number becomes
    places: NDArray[np.int64]  # the way back

    def forward(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """What `numbers` (int64, each in 0..size-1) become."""
        if len(self.order):
            return self.order[numbers]
        return self._walked(_forward, numbers)

    def backward(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers that become `numbers`."""
        if len(self.order):
            return self.places[numbers]
        return self._walked(_backward, numbers)

    def _walked(self, walk: Callable[..., None], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        given = np.array(numbers, dtype=np.int64)
        bits = np.uint64(self.low_bits), np.uint64(self.high_bits)
        walk(given, self.size, self.keys, *bits, np.arange(len(given)))
        return given


def permutation(size: int, *name: object) -> Permutation:
    """The permutation of 0..size-1 (1 <= size <= 2^62) that `name` (plain values) stands for."""
    return _permutation(size, canonical_json(list(name)))


@lru_cache(maxsize=8)
def _permutation(size: int, name: str) -> Permutation:
    if not 1 <= size <= MAX_SIZE:
        raise OstracaError(f"{size} things cannot be permuted (1 to 2^62)")
    bits = max(2, (size - 1).bit_length())
    digest = hashlib.blake2b(name.encode(), digest_size=16, person=b"ostraca permute").digest()
    words = np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64)).random_raw(ROUNDS)
    order = shuffled(size, "permutation", name) if size <= TABLE_SIZE else np.empty(0, np.int64)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    for array in (order, places):
        array.flags.writeable = False
    return Permutation(
        size=size, low_bits=bits // 2, high_bits=bits - bits // 2, keys=words, order=order, places=places
    )


@inlined
def _mixed(half, key):
    """64 well-mixed bits of a half and a round's key (the finaliser of SplitMix64)."""
    word = half + key
    word = (word ^ (word >> _S30)) * _M1
    word = (word ^ (word >> _S27)) * _M2
    return word ^ (word >> _S31)


@kernel
def _forward(numbers, size, keys, low_bits, high_bits, waiting):
    """Replace each of numbers (int64 [n]) by what it becomes; waiting int64 [n] is 0..n-1."""
    low_mask, high_mask = (_ONE << low_bits) - _ONE, (_ONE << high_bits) - _ONE
    left = len(numbers)
    while left > 0:
        # All that are still outside of the size take one step; no branch depends on where it leads.
        steps, left = left, 0
        for step in range(steps):
            place = waiting[step]
            number = np.uint64(numbers[place])
            low, high = number & low_mask, number >> low_bits
            for turn in range(0, ROUNDS, 2):
                high ^= _mixed(low, keys[turn]) & high_mask
                low ^= _mixed(high, keys[turn + 1]) & low_mask
            number = high << low_bits | low
            numbers[place] = np.int64(number)
            waiting[left] = place
            left += 1 if number >= np.uint64(size) else 0


@kernel
def _backward(numbers, size, keys, low_bits, high_bits, waiting):
    """Undo `_forward`: the rounds in reverse."""
    low_mask, high_mask = (_ONE << low_bits) - _ONE, (_ONE << high_bits) - _ONE
    left = len(numbers)
    while left > 0:
        steps, left = left, 0
        for step in range(steps):
            place = waiting[step]
            number = np.uint64(numbers[place])
            low, high = number & low_mask, number >> low_bits
            for turn in range(ROUNDS - 2, -2, -2):
                low ^= _mixed(high, keys[turn + 1]) & low_mask
                high ^= _mixed(low, keys[turn]) & high_mask
            number = high << low_bits | low
            numbers[place] = np.int64(number)
            waiting[left] = place
            left += 1 if number >= np.uint64(size) else 0
