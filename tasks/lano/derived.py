"""Lano's derivations, checked: a proof that a sentence is in the language, without parsing it.

A build asks this of every row instead of `validate`, which finds a derivation itself. It shares with the
generator only what a grammar is and how a derivation is written down (`Derivations`): one that holds up here
is a tree of the grammar whose leaves are the tokens, whoever made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.kernels import kernel
from .grammar import Derivations, Grammar, grammar_of
from .validate import MESSAGES, check_columns, framed

DERIVED_MESSAGES = (*MESSAGES, "the derivation that came with the tokens is not theirs")
_NONE, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_FEW = np.uint64(3)  # symbols of a rule that are compared without asking whether it has so many
_LENGTH, _SYMBOLS = 0, 1  # columns of `_Law.rules`
_NUMBERS = 1 << 16  # that can stand in a derivation


def check_derived(batch: pa.RecordBatch, proof: Derivations, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch against its derivation, and all else that `validate` looks at.

    Whatever `proof` holds, no row is found valid that is not.
    """
    rows, law = framed(batch, config), _law_of(grammar_of(config))
    refused = len(DERIVED_MESSAGES) - 1
    if proof.rules.dtype == np.uint16 and len(proof.offsets) == batch.num_rows + 1:
        _check_derived(
            proof.rules,
            proof.offsets,
            rows.tokens,
            rows.begins,
            rows.lengths,
            *law,
            refused,
            rows.codes,
        )
    else:
        rows.codes[rows.codes == 0] = refused
    check_columns(batch, rows)
    return Verdicts(codes=rows.codes, positions=rows.positions, messages=DERIVED_MESSAGES)


class _Law(NamedTuple):
    """The rules by their numbers in a derivation; non-terminals are numbered over all levels, the start 0."""

    owners: NDArray[np.int32]  # [_NUMBERS]: whose rule it is, -1 where there is no such rule
    # [rules, 8]: how many symbols, where they begin in `symbols`; the first three of them, then for each a
    # mask of all bits, of none where the rule is shorter.
    rules: NDArray[np.int32]
    symbols: NDArray[np.int32]  # of all rules
    last: int  # rules from this one on give terminals


@lru_cache(maxsize=16)
def _law_of(grammar: Grammar) -> _Law:
    numbers: dict[int, int] = {}
    for level in grammar.levels[:-1]:
        for symbol in level:
            numbers[symbol] = len(numbers)
    owners = np.full(_NUMBERS, -1, dtype=np.int32)
    table: list[list[int]] = []
    symbols: list[int] = []
    last = 0
    for level, rules in zip(grammar.levels, grammar.rules, strict=False):
        last = len(table)
        for owner, alternatives in zip(level, rules, strict=True):
            for one in alternatives:
                right = [numbers.get(symbol, symbol) for symbol in one]
                few = [*right, 0, 0, 0][:3]
                masks = [-1 if place < len(one) else 0 for place in range(3)]
                owners[len(table)] = numbers[owner]
                table.append([len(one), len(symbols), *few, *masks])
                symbols += right
    return _Law(owners, np.array(table, dtype=np.int32), np.array(symbols, dtype=np.int32), last)


@kernel
def _check_derived(
    nodes, node_offsets, tokens, begins, lengths, owners, rules, symbols, last, refused, codes
):
    """Read each derivation once, from its first node: the symbols of its rule are those whose rules the next
    nodes in line are, or, in the last level, the next tokens. Just this is true of a tree, level by level.

    What lies behind a row may be looked at, but counts for nothing, and a row whose nodes or tokens are not
    used up exactly is refused. Nothing is read outside of the arrays.
    """
    for row in range(len(codes)):
        if codes[row] != 0:
            continue
        first, end = node_offsets[row], node_offsets[row + 1]
        start, stop = begins[row], begins[row] + lengths[row]
        # Whose rule the first node is: the start's.
        good = 0 <= first < end <= len(nodes) and owners[nodes[first]] == 0
        if good:
            # Places without a sign: what has one might count from an array's end, and costs a question each.
            node, past = np.uint64(first), np.uint64(end)
            child, at = node + _ONE, np.uint64(start)
            differ = np.int32(0)
            while node < past:
                rule = nodes[node]
                if rule >= last:
                    break
                length = np.uint64(rules[rule, _LENGTH])
                done = _NONE
                if child + _FEW <= np.uint64(len(nodes)):
                    differ |= (owners[nodes[child]] ^ rules[rule, 2]) & rules[rule, 5]
                    differ |= (owners[nodes[child + _ONE]] ^ rules[rule, 3]) & rules[rule, 6]
                    differ |= (owners[nodes[child + _TWO]] ^ rules[rule, 4]) & rules[rule, 7]
                    done = _FEW
                if length > done:
                    if child + length > np.uint64(len(nodes)):
                        good = False
                        break
                    letter = np.uint64(rules[rule, _SYMBOLS])
                    for place in range(done, length):
                        differ |= owners[nodes[child + place]] ^ symbols[letter + place]
                child += length
                node += _ONE
            while good and node < past:
                rule = nodes[node]
                if rule < last or rule >= len(rules):
                    good = False
                    break
                length = np.uint64(rules[rule, _LENGTH])
                done = _NONE
                if at + _FEW <= np.uint64(len(tokens)):
                    differ |= (tokens[at] ^ rules[rule, 2]) & rules[rule, 5]
                    differ |= (tokens[at + _ONE] ^ rules[rule, 3]) & rules[rule, 6]
                    differ |= (tokens[at + _TWO] ^ rules[rule, 4]) & rules[rule, 7]
                    done = _FEW
                if length > done:
                    if at + length > np.uint64(len(tokens)):
                        good = False
                        break
                    letter = np.uint64(rules[rule, _SYMBOLS])
                    for place in range(done, length):
                        differ |= tokens[at + place] ^ symbols[letter + place]
                at += length
                node += _ONE
            good = good and differ == 0 and child == past and at == np.uint64(stop)
        if not good:
            codes[row] = refused
