"""What makes two examples of Mano the same problem, and how many different ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.batch import unragged
from ..core.kernels import inlined, kernel
from ..core.mixing import content_key, finish, last_word, sip_begin, take_in
from .config import FIRST_VALUE, lengths_of

_PER_WORD = 4  # symbols of 16 bits: 1 to 4 an operator, 5 + v the value v


def content(batch: pa.RecordBatch, config: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Fingerprints of the expression and its modulus: uint64 [rows, 2].

    Which alias stands for an operator, the length, the answer and <bos> does not count. Examples of two
    configs agree where the expression and `value_mod` do.
    """
    tokens, offsets = unragged(batch.column("input_ids"))
    fingerprints = np.empty((batch.num_rows, 2), dtype=np.uint64)
    _content(tokens, offsets, content_key("mano", config["value_mod"]), fingerprints)
    return fingerprints


@inlined
def _symbol(token):
    value = token >= FIRST_VALUE
    return np.uint64(token - FIRST_VALUE + 5 if value else ((token - 1) & 3) + 1)


@kernel
def _content(tokens, offsets, key, fingerprints):
    """SipHash-1-3-128 of the symbols of each row's expression, as little-endian uint16."""
    for row in range(len(fingerprints)):
        place, end = np.int64(offsets[row]) + 2, np.int64(offsets[row + 1]) - 2
        count = end - place
        v0, v1, v2, v3 = sip_begin(key[0], key[1])
        while place + _PER_WORD <= end:
            word = np.uint64(0)
            for part in range(_PER_WORD):
                word |= _symbol(np.int64(tokens[place + part])) << np.uint64(16 * part)
            v0, v1, v2, v3 = take_in(v0, v1, v2, v3, word)
            place += _PER_WORD
        rest = np.uint64(0)
        for part in range(end - place):
            rest |= _symbol(np.int64(tokens[place + part])) << np.uint64(16 * part)
        v0, v1, v2, v3 = take_in(v0, v1, v2, v3, last_word(2 * count, rest))
        fingerprints[row, 0], fingerprints[row, 1] = finish(v0, v1, v2, v3)


def distinct(config: Mapping[str, Any], by_content: bool) -> int:
    """How many different examples there are, exactly; by tokens with the aliases of every expression."""
    modulus, letters = config["value_mod"], config["ttype"]
    lengths = lengths_of(config)
    if "d" in letters:
        expressions = _with_division(modulus, letters, lengths[-1])
    else:
        # Catalan's number of trees, an operator at each inner node, a value at each leaf.
        expressions = [
            comb(2 * length, length) // (length + 1) * len(letters) ** length * modulus ** (length + 1)
            for length in range(lengths[-1] + 1)
        ]
    # <bos>, <len>, <ans> and each operator have a second id.
    aliases = 0 if by_content or not config["knowledge_augment"] else 1
    return sum(expressions[length] << (aliases * (length + 3)) for length in lengths)


def _with_division(modulus: int, letters: str, longest: int) -> list[int]:
    """Expressions of 0..longest operators without a division by zero, modulo a prime.

    Of each number, `zero` have the value 0 and `other` each other value. By induction these are equally many:
    where x and y run over the values other than 0, so do x * y and x / y, each equally often; and x + y (or
    x - y) is 0 for modulus - 1 pairs of them and any v other than 0 for modulus - 2.
    """
    units = modulus - 1
    zero, other = [1], [1]
    for length in range(1, longest + 1):
        splits = [(zero[i], other[i], zero[-1 - i], other[-1 - i]) for i in range(length)]
        both = sum(z * z2 for z, _, z2, _ in splits)
        left = sum(z * o2 for z, _, _, o2 in splits)  # also those with the right operand 0, by symmetry
        none = sum(o * o2 for _, o, _, o2 in splits)
        zeros = {"a": both + units * none, "m": both + 2 * units * left, "d": units * left}
        others = {"a": 2 * left + (units - 1) * none, "m": units * none, "d": units * none}
        zeros["s"], others["s"] = zeros["a"], others["a"]
        zero.append(sum(zeros[letter] for letter in letters))
        other.append(sum(others[letter] for letter in letters))
    return [z + units * o for z, o in zip(zero, other, strict=True)]
