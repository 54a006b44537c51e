"""Keyed permutations: a shuffle as a pure map from index to index, without a table.

A balanced Feistel network over the smallest even number of bits that holds the size, walked along its
cycle until it lands inside. Source: Black and Rogaway, CT-RSA 2002.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tasks.kernels import inlined, kernel
from tasks.rng import canonical_json

_ROUNDS = 6
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_ONE = np.uint64(1)
_S29, _S32 = np.uint64(29), np.uint64(32)


def permutation_key(*parts: object) -> NDArray[np.uint64]:
    """The key of a permutation from anything that names it: uint64 [6], one a round."""
    text = canonical_json(list(parts)).encode()
    digest = hashlib.blake2b(text, digest_size=8 * _ROUNDS, person=b"ostraca permute").digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def permute(positions: NDArray[np.int64], size: int, key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each of `positions` (int64, in 0..size-1) goes in a permutation of 0..size-1."""
    result = np.empty(len(positions), dtype=np.int64)
    half_bits = (max(size - 1, 1).bit_length() + 1) // 2
    _permute(positions, np.uint64(size), np.uint64(half_bits), key, result)
    return result


@inlined
def _feistel(value, half_bits, key):
    mask = (_ONE << half_bits) - _ONE
    left, right = value >> half_bits, value & mask
    for place in range(len(key)):
        mixed = (right + key[place]) * _MULTIPLIER
        mixed = (mixed ^ (mixed >> _S32)) * _MIX
        left, right = right, left ^ ((mixed >> _S29) & mask)
    return (left << half_bits) | right


@kernel
def _permute(positions, size, half_bits, key, result):
    for place in range(len(positions)):
        value = _feistel(np.uint64(positions[place]), half_bits, key)
        while value >= size:
            value = _feistel(value, half_bits, key)
        result[place] = np.int64(value)
