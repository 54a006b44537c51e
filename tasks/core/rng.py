"""Random streams: one per example, keyed by its address, equal to NumPy's.

An example's address is (task, task version, config, seed, split, index). All but the index are hashed to
the 128-bit *stream key* (BLAKE2b); one Philox4x64-10 block, keyed by it at counter (index + 1, attempt),
is the initial state of the example's SFC64 stream. So anyone can replay an example with plain NumPy
(`numpy_generator`), and `integers` and `uniform53` draw what `Generator.integers` and `Generator.random`
of NumPy draw: Lemire's bounded integers, which have no modulo bias.

Sources: Salmon et al., SC 2011 (Philox); Doty-Humphrey, PractRand (SFC64); Lemire, TOMACS 2019.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import inlined

BLOCK = 16  # words of SFC64 made at a time
STATE_WORDS = 5 + BLOCK  # SFC64's a, b, c, counter; halves read of the block; the block

_M0 = np.uint64(0xD2E7470EE14C6C93)
_M1 = np.uint64(0xCA5A826395121157)
_W0 = np.uint64(0x9E3779B97F4A7C15)
_W1 = np.uint64(0xBB67AE8584CAA73B)
_LOW32 = np.uint64(0xFFFFFFFF)
_TWO32 = np.uint64(1 << 32)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FIRST = np.uint64(5)
_END = np.uint64(2 * BLOCK)
_S3, _S5, _S11, _S24, _S32, _S40 = (np.uint64(shift) for shift in (3, 5, 11, 24, 32, 40))


def canonical_json(value: Any) -> str:
    """The one text of a plain value: sorted keys, no spaces, ASCII. What digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stream_key(
    task: str, version: int, config: Mapping[str, Any], seed: int, split: str, attempt: int = 0
) -> NDArray[np.uint64]:
    """Hash everything of an address but its index to the stream's key: uint64 [2].

    attempt: over 0 of examples that were redrawn because their first draw was a duplicate.
    """
    address = [task, version, dict(config), seed, split]
    text = canonical_json([*address, attempt] if attempt else address)
    digest = hashlib.blake2b(text.encode(), digest_size=16, person=b"ostraca stream").digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def numpy_generator(key: NDArray[np.uint64], index: int, attempt: int = 0) -> np.random.Generator:
    """The stream of one example as a plain NumPy generator: the published way to replay it."""
    state = np.random.Philox(key=key, counter=np.array([index, attempt, 0, 0], np.uint64))
    bits = np.random.SFC64()
    bits.state = {
        "bit_generator": "SFC64",
        "state": {"state": state.random_raw(4)},
        "has_uint32": 0,
        "uinteger": 0,
    }
    return np.random.Generator(bits)


@inlined
def _high_product(x, y):
    """The upper 64 bits of the 128-bit product of two uint64."""
    x0, x1 = x & _LOW32, x >> _S32
    y0, y1 = y & _LOW32, y >> _S32
    middle = x1 * y0 + ((x0 * y0) >> _S32)
    other = x0 * y1 + (middle & _LOW32)
    return x1 * y1 + (middle >> _S32) + (other >> _S32)


@inlined
def seed_stream(state, key, index, attempt):
    """Set `state` (uint64 [STATE_WORDS]) to the beginning of the stream of (`key`, `index`, `attempt`)."""
    # NumPy's Philox adds one to the counter before its first block.
    x0, x1, x2, x3 = np.uint64(index) + _ONE, np.uint64(attempt), _ZERO, _ZERO
    k0, k1 = key[0], key[1]
    for _ in range(10):
        high0, low0 = _high_product(_M0, x0), _M0 * x0
        high1, low1 = _high_product(_M1, x2), _M1 * x2
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0 += _W0
        k1 += _W1
    state[0], state[1], state[2], state[3] = x0, x1, x2, x3
    state[4] = _END


@inlined
def _refill(state):
    """Make the next BLOCK words of SFC64 and begin to read them."""
    a, b, c, counter = state[0], state[1], state[2], state[3]
    for place in range(5, STATE_WORDS):
        word = a + b + counter
        counter += _ONE
        a = b ^ (b >> _S11)
        b = c + (c << _S3)
        c = ((c << _S24) | (c >> _S40)) + word
        state[place] = word
    state[0], state[1], state[2], state[3] = a, b, c, counter
    state[4] = _ZERO


@inlined
def next_uint32(state):
    """The next 32 bits, as uint64: the lower half of a word, then its upper half."""
    if state[4] == _END:
        _refill(state)
    at = state[4]
    state[4] = at + _ONE
    return (state[_FIRST + (at >> _ONE)] >> ((at & _ONE) << _S5)) & _LOW32


@inlined
def integers(state, bound):
    """A uniform integer in 0..bound-1 (1 <= bound < 2^32), as int64; bound 1 draws nothing."""
    result = np.int64(0)
    if bound > 1:
        limit = np.uint64(bound)
        product = next_uint32(state) * limit
        if (product & _LOW32) < limit:
            threshold = (_TWO32 - limit) % limit
            while (product & _LOW32) < threshold:
                product = next_uint32(state) * limit
        result = np.int64(product >> _S32)
    return result


@inlined
def uniform53(state):
    """A uniform integer in 0..2^53-1, as int64, of two draws: `Generator.random()` times 2^53."""
    low = next_uint32(state)
    return np.int64((next_uint32(state) << _S32 | low) >> _S11)
