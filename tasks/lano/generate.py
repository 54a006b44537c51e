"""How Lano's sentences are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..core.batch import column, list_type, ragged
from ..core.kernels import kernel
from ..core.rng import STATE_WORDS, integers, seed_stream
from .config import max_tokens, mean_tokens
from .grammar import Derivations, Grammar, grammar_of

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("length", pa.int32()),  # terminals
    ]
)


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    return _made(config, key, indices, derive=False)[0]


def derive(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> tuple[pa.RecordBatch, Derivations]:
    """The same examples, and the derivation of each sentence: what `tasks.lano.derived` checks."""
    return _made(config, key, indices, derive=True)


def _made(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64], derive: bool
) -> tuple[pa.RecordBatch, Derivations]:
    """The examples, and their derivations where asked for (else nobody's)."""
    grammar = grammar_of(config)
    choices, rules = _rule_table(grammar)
    width = rules.shape[1] - 1
    longest, largest = max_tokens(config) + width, grammar.max_nodes
    # Mostly enough for all rows; where not, the kernel stops before a row and goes on with more.
    tokens = np.empty(_room(len(indices), longest, mean_tokens(config)), dtype=np.int32)
    nodes = np.empty(_room(len(indices), largest, grammar.mean_nodes) if derive else largest, dtype=np.uint16)
    offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    node_offsets = np.zeros(len(indices) + 1 if derive else 1, dtype=np.int64)
    scratch = [np.empty(grammar.max_length + width, dtype=np.int32) for _ in range(2)]
    state = np.empty(STATE_WORDS, dtype=np.uint64)
    row = 0
    while row < len(indices):
        if len(tokens) > INT32_MAX:
            raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
        row = _generate(
            key,
            indices,
            row,
            len(grammar.rules),
            choices,
            rules,
            config["bos_token_id"] if config["bos"] else -1,
            config["eos_token_id"] if config["eos"] else -1,
            longest,
            largest,
            tokens,
            offsets,
            nodes,
            node_offsets,
            state,
            *scratch,
        )
        if row < len(indices):
            tokens = np.concatenate([tokens, np.empty(len(tokens), dtype=np.int32)])
            if derive:
                nodes = np.concatenate([nodes, np.empty(len(nodes), dtype=np.uint16)])
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(np.ones(used, dtype=np.uint8), offsets),
        pa.array(indices),
        pa.array(np.diff(offsets) - np.int32(config["bos"] + config["eos"])),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
    return batch, Derivations(rules=nodes[: node_offsets[-1]], offsets=node_offsets)


def _room(rows: int, longest: int, mean: float) -> int:
    return min(rows * longest, int(1.05 * rows * mean)) + 2 * longest


def _rule_table(grammar: Grammar) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """choices int32 [symbols, 2]: a non-terminal's first rule and how many it has, the start's first.

    rules int32 [rules, 1 + longest rule, at least 3]: a rule's length, then its symbols: non-terminals as
    rows of `choices`, terminals as they are.
    """
    width = max(3, max(len(one) for level in grammar.rules for all_of in level for one in all_of))
    choices: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    after = 0
    for level, below in zip(grammar.rules, grammar.levels[1:], strict=True):
        after += len(level)
        last = below == grammar.terminals
        number = {symbol: symbol if last else after + place for place, symbol in enumerate(below)}
        for alternatives in level:
            choices.append((len(rows), len(alternatives)))
            for one in alternatives:
                rows.append([len(one), *(number[symbol] for symbol in one), *[0] * (width - len(one))])
    return np.array(choices, dtype=np.int32), np.array(rows, dtype=np.int32)


@kernel
def _generate(
    key,
    indices,
    row,
    levels,
    choices,
    rules,
    bos,
    eos,
    longest,
    largest,
    tokens,
    offsets,
    nodes,
    node_offsets,
    state,
    symbols,
    others,
):
    """Write examples from `row` on, one after another; returns the first one that has no room in `tokens`.

    An example's draws: one of `integers(number of rules)` for every non-terminal, level by level from the
    start, left to right: the derivation, which goes to `nodes`; where `node_offsets` has no place for all
    rows, each one's is written over by the next. A whole row of `rules` is copied whatever the rule's length,
    which is random: the next rule overwrites what is too much. Scratch: symbols, others int32 [longest
    sentence + a rule].
    """
    width = rules.shape[1] - 1
    keep = len(node_offsets) > len(indices)
    at = int(offsets[row])
    made = node_offsets[row] if keep else 0
    while row < len(indices) and len(tokens) - at >= longest and len(nodes) - made >= largest:
        seed_stream(state, key, indices[row], 0)
        if bos >= 0:
            tokens[at] = bos
            at += 1
        symbols[0] = 0
        count = 1
        for _ in range(levels - 1):
            drawn = 0
            for place in range(count):
                symbol = symbols[place]
                rule = choices[symbol, 0] + integers(state, choices[symbol, 1])
                nodes[made + place] = rule
                others[drawn] = rules[rule, 1]
                others[drawn + 1] = rules[rule, 2]
                others[drawn + 2] = rules[rule, 3]
                for more in range(3, width):
                    others[drawn + more] = rules[rule, 1 + more]
                drawn += rules[rule, 0]
            made += count
            symbols, others = others, symbols
            count = drawn
        for place in range(count):
            symbol = symbols[place]
            rule = choices[symbol, 0] + integers(state, choices[symbol, 1])
            nodes[made + place] = rule
            tokens[at] = rules[rule, 1]
            tokens[at + 1] = rules[rule, 2]
            tokens[at + 2] = rules[rule, 3]
            for more in range(3, width):
                tokens[at + more] = rules[rule, 1 + more]
            at += rules[rule, 0]
        made += count
        if eos >= 0:
            tokens[at] = eos
            at += 1
        row += 1
        offsets[row] = at
        if keep:
            node_offsets[row] = made
        else:
            made = 0
    return row
