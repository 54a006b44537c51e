"""Fingerprints of sequences and of sets: what the tasks and the pipeline mix words with.

All is SipHash-1-3 with 128 bits of output: keyed, an addition-rotation-xor permutation of a state of 256
bits, one round a word and three before each half of the output. Sequences are hashed whole. A set or
multiset is the sum of its members' hashes in two lanes of 64 bits, whatever their order: where the hashes
are random, the sums of two different multisets agree with a chance of 2^-128.

Sources: Aumasson and Bernstein, INDOCRYPT 2012 (SipHash; the 128-bit variant of its reference code);
Aumasson, "Too Much Crypto", 2019 (that 1 and 3 rounds suffice); Clarke et al., ASIACRYPT 2003 (multisets).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import inlined, kernel
from .rng import canonical_json

_0, _1, _2, _4, _8 = (np.uint64(number) for number in (0, 1, 2, 4, 8))
_V0 = np.uint64(0x736F6D6570736575)
_V1 = np.uint64(0x646F72616E646F6D ^ 0xEE)
_V2 = np.uint64(0x6C7967656E657261)
_V3 = np.uint64(0x7465646279746573)
_SECOND = np.uint64(0xEE)
_THIRD = np.uint64(0xDD)
_S13, _S16, _S17, _S21, _S32, _S43, _S47, _S48, _S51, _S56 = (
    np.uint64(shift) for shift in (13, 16, 17, 21, 32, 43, 47, 48, 51, 56)
)
_LAST_BYTE = np.uint64(0xFF)
_SIXTEEN_BYTES = np.uint64(16 << 56)


def content_key(*parts: Any) -> NDArray[np.uint64]:
    """The key of the fingerprints of one kind of thing: uint64 [2].

    parts: plain values, the task's name first, then whatever else two things must share to be compared.
    """
    text = canonical_json(list(parts))
    digest = hashlib.blake2b(text.encode(), digest_size=16, person=b"ostraca content").digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def hash_tokens(
    tokens: NDArray[np.int32],
    offsets: NDArray[np.int32],
    key: NDArray[np.uint64],
    head: int = 0,
    tail: int = 0,
) -> NDArray[np.uint64]:
    """SipHash-1-3-128 of each row's tokens as little-endian int32: uint64 [rows, 2].

    head, tail: how many tokens at the beginning and the end of every row are left out.
    """
    fingerprints = np.empty((len(offsets) - 1, 2), dtype=np.uint64)
    _hash_tokens(tokens.view(np.uint32), offsets, head, tail, key, fingerprints)
    return fingerprints


def hash_bytes(
    values: NDArray[np.uint8], offsets: NDArray[np.int32], key: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """SipHash-1-3-128 of each row's bytes: uint64 [rows, 2]."""
    fingerprints = np.empty((len(offsets) - 1, 2), dtype=np.uint64)
    _hash_bytes(values, offsets, key, fingerprints)
    return fingerprints


@inlined
def sip_round(v0, v1, v2, v3):
    """One round of SipHash."""
    v0 += v1
    v2 += v3
    v1 = ((v1 << _S13) | (v1 >> _S51)) ^ v0
    v3 = ((v3 << _S16) | (v3 >> _S48)) ^ v2
    v0 = (v0 << _S32) | (v0 >> _S32)
    v2 += v1
    v0 += v3
    v1 = ((v1 << _S17) | (v1 >> _S47)) ^ v2
    v3 = ((v3 << _S21) | (v3 >> _S43)) ^ v0
    v2 = (v2 << _S32) | (v2 >> _S32)
    return v0, v1, v2, v3


@inlined
def sip_begin(key0, key1):
    """The state of SipHash with 128 bits of output before its first word."""
    return _V0 ^ key0, _V1 ^ key1, _V2 ^ key0, _V3 ^ key1


@inlined
def take_in(v0, v1, v2, v3, word):
    """SipHash-1-3's state after one word more."""
    v3 ^= word
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@inlined
def last_word(length, rest):
    """The word that ends a message of `length` bytes: the 0 to 7 bytes left over, and the length."""
    return ((np.uint64(length) & _LAST_BYTE) << _S56) | rest


@inlined
def finish(v0, v1, v2, v3):
    """The two halves of SipHash-1-3-128 after the last word."""
    v2 ^= _SECOND
    for _ in range(3):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= _THIRD
    for _ in range(3):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return first, v0 ^ v1 ^ v2 ^ v3


@inlined
def hash_pair(key0, key1, one, other):
    """SipHash-1-3-128 of two words, in their order."""
    v0, v1, v2, v3 = sip_begin(key0, key1)
    v0, v1, v2, v3 = take_in(v0, v1, v2, v3, one)
    v0, v1, v2, v3 = take_in(v0, v1, v2, v3, other)
    v0, v1, v2, v3 = take_in(v0, v1, v2, v3, _SIXTEEN_BYTES)
    return finish(v0, v1, v2, v3)


@kernel
def _hash_tokens(tokens, offsets, head, tail, key, fingerprints):
    # Places have no sign: what has one might count from an array's end, and costs a question each.
    for row in range(np.uint64(len(fingerprints))):
        place, count = np.uint64(offsets[row]) + np.uint64(head), _0
        end = np.uint64(max(np.int64(offsets[row + _1]) - tail, 0))
        if end > place:
            count = end - place
        v0, v1, v2, v3 = sip_begin(key[0], key[1])
        for _ in range(count >> _1):
            word = np.uint64(tokens[place]) | np.uint64(tokens[place + _1]) << _S32
            v0, v1, v2, v3 = take_in(v0, v1, v2, v3, word)
            place += _2
        rest = np.uint64(tokens[end - _1]) if count & _1 else _0
        v0, v1, v2, v3 = take_in(v0, v1, v2, v3, last_word(_4 * count, rest))
        fingerprints[row, _0], fingerprints[row, _1] = finish(v0, v1, v2, v3)


@kernel
def _hash_bytes(values, offsets, key, fingerprints):
    for row in range(np.uint64(len(fingerprints))):
        place, end = np.uint64(offsets[row]), np.uint64(offsets[row + _1])
        count = end - place
        v0, v1, v2, v3 = sip_begin(key[0], key[1])
        while place + _8 <= end:
            word = _0
            for part in range(_8):
                word |= np.uint64(values[place + part]) << (_8 * part)
            v0, v1, v2, v3 = take_in(v0, v1, v2, v3, word)
            place += _8
        rest = _0
        for part in range(end - place):
            rest |= np.uint64(values[place + part]) << (_8 * part)
        v0, v1, v2, v3 = take_in(v0, v1, v2, v3, last_word(count, rest))
        fingerprints[row, _0], fingerprints[row, _1] = finish(v0, v1, v2, v3)
