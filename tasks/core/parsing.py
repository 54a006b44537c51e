"""Steps of the validators of graphs: the word at a place, and where it stands in a hash map.

No generator uses them. A slot of a map (int64 [slots, 2]) is a word's name, and its node's number with the
row (counted from 1) that it belongs to as a stamp, so that a map is never cleared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import inlined

NODE = np.int64(0xFFFFFFFF)
STAMP = ~NODE
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def no_values(dtype: Any) -> NDArray[Any]:
    """No values, read-only as Arrow's are: Numba would compile the kernel once more for the other kind."""
    array = np.empty(0, dtype)
    array.flags.writeable = False
    return array


@inlined
def read_word(tokens, at, end, inner, last, min_tlen, max_tlen):
    """The length of the word that begins at `at` (0 where none does), and its name as a number.

    A word is tokens of 1..inner and one of inner + 1..inner + last that ends it. The number is the word in
    bijective base `last`: words of any length have different ones, and they fit into int64, since a config
    with more words is refused. It means nothing where the length is 0.
    """
    length = np.int64(0)
    name = np.int64(0)
    place = at
    stop = min(end, at + max_tlen)
    while place < stop:
        token = np.int64(tokens[np.uint64(place)])
        place += 1
        if token > inner:
            name = name * last + token - inner
            if token <= inner + last and place - at >= min_tlen:
                length = place - at
            break
        if token < 1:
            break
        name = name * last + token
    return length, name


@inlined
def slot_of(table, shift, stamp, name):
    """The slot of the node called `name`, or the free one where it would go; shift 0: each has its own.

    It has no sign: what has one might count from an array's end, and costs a question each.
    """
    slot = np.uint64(name)
    if shift:
        slot = (np.uint64(name) * _MULTIPLIER) >> shift
        while table[slot, _ONE] & STAMP == stamp and table[slot, _ZERO] != name:
            slot = (slot + _ONE) & np.uint64(len(table) - 1)
    return slot
