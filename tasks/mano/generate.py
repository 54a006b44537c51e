"""How Mano's examples are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..core.batch import column, list_type, ragged
from ..core.kernels import kernel
from ..core.rng import STATE_WORDS, integers, next_uint32, seed_stream
from .config import FIRST_VALUE, LETTERS, is_prime, lengths_of

if TYPE_CHECKING:
    pass


SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("length", pa.int32()),  # operators
        column("answer", pa.int32()),  # the value, not its id
    ]
)


# x mod m = x - (x * ceil(2^47 / m) >> 47) * m for 0 <= x <= m * m, m <= 2^15, without an overflow.
_SHIFT = np.int64(47)
_NONE, _DIVISION = np.uint64(0), np.uint64(3)  # the value, and the operator


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens."""
    return 2 * lengths_of(config)[-1] + 5


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example."""
    lengths = lengths_of(config)
    return float(lengths[0] + lengths[-1] + 5)


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    rows, lengths = len(indices), lengths_of(config)
    room = rows * max_tokens(config)
    if room > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    modulus, longest = config["value_mod"], lengths[-1]
    written = np.empty(room, dtype=np.int32)  # what stays unused is never touched, and costs no memory
    offsets = np.zeros(rows + 1, dtype=np.int32)
    sizes, answers = (np.empty(rows, dtype=np.int32) for _ in range(2))
    factors, addends = operator_tables(modulus)
    _generate(
        key,
        indices,
        lengths[0],
        len(lengths),
        np.array([LETTERS.index(letter) for letter in config["ttype"]], dtype=np.int64),
        modulus,
        factors,
        addends,
        config["knowledge_augment"],
        config["bos_token_id"],
        written,
        offsets,
        sizes,
        answers,
        np.empty(STATE_WORDS, dtype=np.uint64),
        np.empty((longest, 3), dtype=np.int64),
        np.empty((longest + 2, 2), dtype=np.int64),
        np.empty(longest + 2, dtype=np.int64),
        np.empty(2 * longest + 1, dtype=np.int64),
        np.zeros((longest + 34) // 32, dtype=np.uint64),
    )
    used = int(offsets[-1])
    columns = [
        ragged(written[:used], offsets),
        ragged(np.ones(used, dtype=np.uint8), offsets),
        pa.array(indices),
        pa.array(sizes),
        pa.array(answers),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@lru_cache(maxsize=16)
def operator_tables(modulus: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """f, g with (a op b) mod m = (a * f[op, b] + g[op, b]) mod m: int64 [4, m] each, op in "+-*/".

    Division by what has no inverse has f = 0; `check` lets it be used with a prime modulus only.
    """
    values = np.arange(modulus)
    inverses = np.zeros(modulus, dtype=np.int64)
    inverses[1] = 1
    for value in range(2, modulus if is_prime(modulus) else 0):
        inverses[value] = -(modulus // value) * int(inverses[modulus % value]) % modulus
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    tables = np.array(
        [[ones, ones, values, inverses], [values, modulus - values, zeros, zeros]], dtype=np.int64
    )
    tables.flags.writeable = False
    return tables[0], tables[1]


@kernel
def _generate(
    key,
    indices,
    least,
    choices,
    operators,
    modulus,
    factors,
    addends,
    augment,
    bos,
    tokens,
    offsets,
    lengths,
    answers,
    state,
    nodes,
    stack,
    leaves,
    values,
    coins,
):
    """Write all examples one after another; draws come in the order of the code.

    From `state` on all is scratch: a kernel allocates nothing. An expression of n operators has 2n + 1
    tokens, so where an inner node stands says where its operands do. What a random tree decides is
    written without a branch, which could not be predicted. Places have no sign: what has one might count from
    an array's end, and costs a question each.
    """
    kinds = len(operators)
    by_kinds = ((1 << 20) + kinds - 1) // kinds  # n // kinds = n * by_kinds >> 20, for any n drawn here
    by_modulus = ((np.int64(1) << _SHIFT) + modulus - 1) // modulus
    at = 0
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        length = least + integers(state, choices)
        whole = False
        while not whole:
            # The inner nodes in prefix order. Of a node's subtrees that are no leaf the left one comes next.
            stack[0, 0] = 0
            stack[0, 1] = length
            waiting = 1
            taken = 0
            for node in range(np.uint64(length)):
                waiting -= 1
                top = np.uint64(waiting)
                place, count = stack[top, 0], stack[top, 1]
                drawn = integers(state, count * kinds)
                left = (drawn * by_kinds) >> 20
                right = count - 1 - left
                beyond = place + 2 + 2 * left
                nodes[node, 0] = place
                nodes[node, 1] = beyond
                nodes[node, 2] = operators[np.uint64(drawn - left * kinds)]
                stack[top, 0] = beyond
                stack[top, 1] = right
                waiting += right > 0
                top = np.uint64(waiting)
                stack[top, 0] = place + 1
                stack[top, 1] = left
                waiting += left > 0
                leaves[np.uint64(taken)] = place + 1
                taken += left == 0
                leaves[np.uint64(taken)] = beyond
                taken += right == 0
            for leaf in range(np.uint64(length + 1)):
                value = integers(state, modulus)
                values[np.uint64(leaves[leaf])] = value
                tokens[np.uint64(at + 2 + leaves[leaf])] = FIRST_VALUE + value
            whole = True
            for node in range(length - 1, -1, -1):
                inner = np.uint64(node)
                place, operator = nodes[inner, 0], np.uint64(nodes[inner, 2])
                other = np.uint64(values[np.uint64(nodes[inner, 1])])
                value = values[np.uint64(place + 1)] * factors[operator, other] + addends[operator, other]
                values[np.uint64(place)] = value - ((value * by_modulus) >> _SHIFT) * modulus
                whole &= (operator != _DIVISION) | (other != _NONE)
        if augment:
            for word in range((length + 34) >> 5):
                coins[word] = next_uint32(state)
        # Coin 0 is of <bos>, 1 of <len>, 2 of <ans>, 3 + i of the operator that comes i-th.
        for node in range(length):
            inner = np.uint64(node)
            coin = coins[np.uint64((node + 3) >> 5)] >> np.uint64((node + 3) & 31)
            tokens[np.uint64(at + 2 + nodes[inner, 0])] = 1 + nodes[inner, 2] + (np.int64(coin) & 1) * 4
        first = np.int64(coins[0])
        tokens[at] = bos - (first & 1)
        tokens[at + 1] = 10 * length + ((first >> 1) & 1)
        tokens[at + 2 * length + 3] = 10 * length + 4 + ((first >> 2) & 1)
        tokens[at + 2 * length + 4] = FIRST_VALUE + values[0]
        at += 2 * length + 5
        offsets[row + 1] = at
        lengths[row] = length
        answers[row] = values[0]
