"""Fingerprints of examples: of all of a row for the content digest, of its tokens to find duplicates.

For the content digest each row of a batch is hashed with SipHash-2-4-128 over its address (stream key,
index) and every column in canonical words, but for those that only say again what the others do; a content
digest is the sum of its rows' hashes in two lanes of 64 bits. It depends on the logical content alone: not on
the file format, the sizes of batches and shards or a library's version; and digests of parts built apart add
up in any order. It guards against error; the files' sha256 guard bytes.

A column's canonical words: the number of values of the row, then its values at their Arrow width,
little-endian, padded with zeros to whole 64-bit words.

Source: Aumasson and Bernstein, INDOCRYPT 2012 (SipHash; the 128-bit variant of its reference code).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import unragged
from ...tasks.core.kernels import inlined, kernel
from ...tasks.core.mixing import hash_bytes, hash_tokens, sip_begin, sip_round
from ...tasks.errors import OstracaError

_KEY = np.frombuffer(b"ostraca content1", dtype="<u8").astype(np.uint64)
_TOKENS_KEY = np.frombuffer(b"ostraca tokens 1", dtype="<u8").astype(np.uint64)
_LAST_BYTE = np.uint64(0xFF)
_SECOND = np.uint64(0xEE)
_THIRD = np.uint64(0xDD)
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(number) for number in range(9))
_S16, _S24, _S32, _S40, _S48, _S56 = (np.uint64(shift) for shift in range(16, 64, 8))
_LANE = 1 << 64


@dataclass(frozen=True)
class ContentDigest:
    """The sum of the hashes of some rows: two lanes modulo 2^64."""

    lanes: tuple[int, int] = (0, 0)

    def __add__(self, other: ContentDigest) -> ContentDigest:
        first, second = ((a + b) % _LANE for a, b in zip(self.lanes, other.lanes, strict=True))
        return ContentDigest((first, second))

    def __str__(self) -> str:
        return f"{self.lanes[0]:016x}{self.lanes[1]:016x}"

    @staticmethod
    def parse(text: str) -> ContentDigest:
        """The digest that `str` wrote; OstracaError where it is not one."""
        try:
            if len(text) != 32:
                raise ValueError
            return ContentDigest((int(text[:16], 16), int(text[16:], 16)))
        except (TypeError, ValueError):
            raise OstracaError(f"{text!r} is not a content digest (32 hexadecimal digits)") from None


def content_digest(batch: pa.RecordBatch, key: NDArray[np.uint64]) -> ContentDigest:
    """The digest of a batch with a column `index`, of the stream `key` (uint64 [2])."""
    states = row_states(batch, key)
    lanes = np.zeros(2, dtype=np.uint64)
    _finish_and_sum(states, lanes)
    return ContentDigest((int(lanes[0]), int(lanes[1])))


def token_fingerprints(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """Fingerprints of the rows' tokens (or texts), the first column, and of nothing else: uint64 [rows, 2].

    SipHash-1-3-128 of a row's tokens as little-endian int32, or of its bytes: it depends neither on the
    address nor on how rows are batched. It is enough to tell duplicates exactly: two different rows agree
    with a chance of 2^-128, any two of 10^12 different rows with one of 1.5e-15. Its one round a word and
    three before each half are what Python and Rust trust against inputs that were chosen to collide, at which
    examples are not.
    """
    column = batch.column(0)
    values, offsets = unragged(column)
    if pa.types.is_string(column.type):
        return hash_bytes(values, offsets, _TOKENS_KEY)
    return hash_tokens(values, offsets, _TOKENS_KEY)


def row_states(batch: pa.RecordBatch, key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SipHash's state of every row after its address and columns: uint64 [rows, 5]."""
    states = np.empty((batch.num_rows, 5), dtype=np.uint64)  # v0..v3 and the words taken in
    _begin(states, _KEY, key)
    # By name, so that the order of a file's columns does not matter; the index is part of the address.
    _absorb_flat(states, batch.column("index").to_numpy().view(np.uint64), np.int64(1))
    for name in sorted(set(batch.schema.names) - {"index"} - _said_again(batch.schema)):
        data_type = batch.schema.field(name).type
        if pa.types.is_list(data_type) or pa.types.is_string(data_type):
            values, offsets = unragged(batch.column(name))
            _absorb_ragged(states, _unsigned(values), offsets, 8 // values.dtype.itemsize)
        else:
            values = batch.column(name).to_numpy()
            _absorb_flat(states, _unsigned(values), np.int64(1))
    return states


def _said_again(schema: pa.Schema) -> set[str]:
    """Columns of texts other than the example itself (Capo's attributes, where they are asked for).

    They follow from the example and its other columns, and the content is the same with them and without.
    """
    return {field.name for field in schema if pa.types.is_string(field.type)} - {"text"}


def _unsigned(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return values.view(f"u{values.dtype.itemsize}")


@inlined
def _absorb(v0, v1, v2, v3, word):
    v3 ^= word
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@kernel
def _begin(states, sip_key, stream):
    """Start every row's hash and take in the stream's key."""
    v0, v1, v2, v3 = sip_begin(sip_key[0], sip_key[1])
    v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, stream[0])
    v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, stream[1])
    for row in range(len(states)):
        states[row, 0], states[row, 1] = v0, v1
        states[row, 2], states[row, 3] = v2, v3
        states[row, 4] = np.uint64(2)


@kernel
def _absorb_flat(states, values, count):
    """Take in one value a row, as the number 1 and the value."""
    for row in range(np.uint64(len(states))):
        v0, v1, v2, v3 = states[row, _0], states[row, _1], states[row, _2], states[row, _3]
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, np.uint64(count))
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, np.uint64(values[row]))
        states[row, _0], states[row, _1], states[row, _2], states[row, _3] = v0, v1, v2, v3
        states[row, _4] += _2


@kernel
def _absorb_ragged(states, values, offsets, per_word):
    """Take in a list a row: its length, then its values, `per_word` of them in a word.

    Places have no sign: what has one might count from an array's end, and costs a question each. Words of two
    and of eight values, which are nearly all, are written out, so that each is loaded at once.
    """
    per = np.uint64(per_word)
    width = np.uint64(64) // per
    for row in range(np.uint64(len(states))):
        v0, v1, v2, v3 = states[row, _0], states[row, _1], states[row, _2], states[row, _3]
        place, end = np.uint64(offsets[row]), np.uint64(offsets[row + _1])
        words = _1 + (end - place + per - _1) // per
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, end - place)
        while place + per <= end:
            if per == _2:
                word = np.uint64(values[place]) | np.uint64(values[place + _1]) << _S32
            elif per == _8:
                word = (
                    np.uint64(values[place])
                    | np.uint64(values[place + _1]) << _8
                    | np.uint64(values[place + _2]) << _S16
                    | np.uint64(values[place + _3]) << _S24
                    | np.uint64(values[place + _4]) << _S32
                    | np.uint64(values[place + _5]) << _S40
                    | np.uint64(values[place + _6]) << _S48
                    | np.uint64(values[place + _7]) << _S56
                )
            else:
                word = _0
                for part in range(per):
                    word |= np.uint64(values[place + part]) << (part * width)
            v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, word)
            place += per
        if place < end:
            word = _0
            for part in range(end - place):
                word |= np.uint64(values[place + part]) << (part * width)
            v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, word)
        states[row, _0], states[row, _1], states[row, _2], states[row, _3] = v0, v1, v2, v3
        states[row, _4] += words


@kernel
def _finish_and_sum(states, lanes):
    """Finish every row's hash and add it to lanes uint64 [2]."""
    for row in range(len(states)):
        v0, v1, v2, v3 = states[row, 0], states[row, 1], states[row, 2], states[row, 3]
        # SipHash ends with the number of bytes, modulo 256, in the highest byte of a last word.
        last = ((states[row, 4] << np.uint64(3)) & _LAST_BYTE) << _S56
        v0, v1, v2, v3 = _absorb(v0, v1, v2, v3, last)
        v2 ^= _SECOND
        for _ in range(4):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        lanes[0] += v0 ^ v1 ^ v2 ^ v3
        v1 ^= _THIRD
        for _ in range(4):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        lanes[1] += v0 ^ v1 ^ v2 ^ v3
