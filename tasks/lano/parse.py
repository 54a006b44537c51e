"""Exact parsing of Lano's sentences: membership, trees, ancestors, next-token distributions, probabilities.

Sentences come as a batch, tokens and offsets int [rows + 1] as in an Arrow list column (offsets[0] need not
be 0; `as_batch` makes both from lists), without <bos> and <eos>. Any ids may come: a token that is no
terminal is in no sentence. A sentence has a few spans per token under grammars like the published ones, and
takes time and memory as it has tokens. Under very ambiguous ones, where nearly everything spans nearly
everything, it has as many as the square of its tokens, and takes time as their cube.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.kernels import kernel
from ..errors import ConfigError, OstracaError
from .grammar import Grammar
from .spans import MEMBER, NO_ROOM, TOO_MANY, find_spans, read_word
from .tables import tables_of
from .trees import Node, lines_of, parse_rows
from .weights import Weights, chart, first_room, more_room, read_only

_EXACT = 2.0**53  # whole numbers below are exact in a double
_MOST = 1e280
_PATIENCE = 1 << 34  # pairs of spans, at most: some seconds a sentence
_PATIENT_ROOM = 1 << 28  # spans: 1 GiB


def as_batch(sentences: Iterable[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """tokens int32 and offsets int32 [rows + 1] of some sentences; -1 for ids beyond 32 bits."""
    rows = [_within_32_bits(np.asarray(sentence)) for sentence in sentences]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64).astype(np.int32)
    return np.concatenate([*rows, np.empty(0, np.int32)]), offsets


def _within_32_bits(ids: NDArray[Any]) -> NDArray[np.int32]:
    """Ids as int32, -1 (which is not a terminal) for those that do not fit."""
    return np.where((ids >= -1) & (ids < 2**31), ids, -1).astype(np.int32)


def in_language(grammar: Grammar, tokens: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.bool_]:
    """Which sentences the grammar has: bool [rows], exact."""
    tokens, begins, lengths = _rows(tokens, offsets)
    return np.asarray(furthest_tiled(grammar, tokens, begins, lengths) == MEMBER)


def furthest_tiled(
    grammar: Grammar,
    tokens: NDArray[np.int32],
    begins: NDArray[np.int64],
    lengths: NDArray[np.int64],
    give_up: bool = False,
) -> NDArray[np.int64]:
    """-1 for each row that is a sentence, else the token up to which the symbols of some level reach.

    begins and lengths int64 [rows]: each row's place in `tokens`. A row longer than the longest sentence gets
    that one's length, and takes no time. With `give_up` a sentence too ambiguous to parse in some seconds
    gets TOO_MANY; without, OstracaError where it has over 2^30 spans.
    """
    tables = tables_of(grammar)
    n = min(int(lengths.max(initial=0)), tables.longest)
    furthest = np.empty(len(begins), dtype=np.int64)
    word, cells, stamps, reach = chart(tables, n)
    prefixes = np.empty((len(tables.prefix_left), 2), dtype=np.int32)
    room = first_room(tables, n)
    row = 0
    while row < len(begins):
        ends = np.empty(room, dtype=np.int32)
        row = _recognize(
            read_only(tokens),
            begins,
            lengths,
            row,
            tables,
            furthest,
            word,
            cells,
            ends,
            prefixes,
            stamps,
            reach,
            _PATIENCE if give_up else 1 << 62,
        )
        if row < len(begins) and give_up and room >= _PATIENT_ROOM:
            furthest[row] = TOO_MANY
            row += 1
        elif row < len(begins):
            room = more_room(room)
    return furthest


@kernel
def _recognize(
    tokens, begins, lengths, row, tables, furthest, word, cells, ends, prefixes, stamps, reach, patience
):
    """Results from `row` on; returns the first row that has no room in `ends`."""
    while row < len(begins):
        if lengths[row] > tables.longest:
            furthest[row] = tables.longest
        else:
            read_word(tokens, begins[row], lengths[row], tables, word)
            furthest[row] = find_spans(
                word, lengths[row], tables, cells, ends, prefixes, stamps, reach, patience
            )
            if furthest[row] == NO_ROOM:
                return row
        row += 1
    return row


def ancestors(
    grammar: Grammar, tokens: NDArray[Any], offsets: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Every token's ancestor at every level: labels for probing what a model knows of the structure.

    Returns symbols int32 [levels of rules, tokens], the start's level first, and starts bool of the same
    shape: where a token is the first one of its ancestor. Column 0 is the token at offsets[0]. Rows that
    are no sentence have -1 and False. A sentence with several parses gets one of them, not necessarily the
    derivation it was made by: every node takes the first of its alternatives that can be, and its children
    end as early as can be, the first child before the second.
    """
    tables = tables_of(grammar)
    tokens, begins, lengths = _rows(tokens, offsets)
    total = int(lengths.sum())
    n = min(int(lengths.max(initial=0)), tables.longest)
    symbols = np.empty((tables.levels, total), dtype=np.int32)
    starts = np.empty((tables.levels, total), dtype=np.uint8)
    word, cells, stamps, reach = chart(tables, n)
    prefixes = np.empty((len(tables.prefix_left), 2), dtype=np.int32)
    dead = np.zeros((tables.widest, n + 1), dtype=np.int64)
    dead_stamp = np.zeros(1, dtype=np.int64)
    stack = np.empty((tables.widest, 3), dtype=np.int32)
    room = first_room(tables, n)
    row = 0
    while row < len(begins):
        ends = np.empty(room, dtype=np.int32)
        row = parse_rows(
            read_only(tokens),
            begins,
            lengths,
            row,
            tables,
            begins - begins[0],
            symbols,
            starts,
            word,
            cells,
            ends,
            prefixes,
            stamps,
            reach,
            dead,
            dead_stamp,
            stack,
        )
        room = room if row == len(begins) else more_room(room)
    return symbols, starts.view(np.bool_)


def parse_tree(grammar: Grammar, sentence: Sequence[int]) -> Node | None:
    """The tree of a sentence that `ancestors` describes; None where it is not a sentence of the grammar."""
    tokens, offsets = as_batch([sentence])
    symbols, starts = ancestors(grammar, tokens, offsets)
    if not len(tokens) or symbols[0, 0] < 0:
        return None
    nodes = [Node(int(token), at, at + 1) for at, token in enumerate(tokens)]
    for line in range(len(symbols) - 1, -1, -1):
        bounds = [*np.flatnonzero(starts[line]).tolist(), len(tokens)]
        above = []
        child = 0
        for begin, end in pairwise(bounds):
            first = child
            while child < len(nodes) and nodes[child].begin < end:
                child += 1
            above.append(Node(int(symbols[line, begin]), begin, end, tuple(nodes[first:child])))
        nodes = above
    return nodes[0]


def tree_lines(tree: Node, width: int = 100) -> list[str]:
    """A tree as lines of at most `width` characters: a line a level, each symbol over its tokens.

    Where the sentence is too long for the width, blocks of such lines follow each other.
    """
    return lines_of(tree, width)


def tree_text(tree: Node, width: int = 100) -> str:
    """`tree_lines` as one text."""
    return "\n".join(lines_of(tree, width))


def log_probability(grammar: Grammar, tokens: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.float64]:
    """Natural logarithm of each sentence's probability, summed over its parses: float64 [rows].

    -inf where it is not a sentence.
    """
    logs, _ = _weigh(grammar, tokens, offsets, _rule_probabilities(grammar))
    return logs


def parse_counts(
    grammar: Grammar, tokens: NDArray[Any], offsets: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """How many parses each sentence has: counts uint64 [rows] and log2 of them, float64 [rows].

    Counts are exact below 2^53 and stand as 2^53 from there on, where the logarithm still says how many there
    are; 0 and -inf where it is not a sentence.
    """
    tables = tables_of(grammar)
    logs, totals = _weigh(grammar, tokens, offsets, np.ones(tables.bases[-1]))
    counts = np.minimum(totals, _EXACT).astype(np.uint64)
    return counts, logs / math.log(2)


def next_token_distribution(
    grammar: Grammar, tokens: NDArray[Any], offsets: NDArray[Any]
) -> NDArray[np.float64]:
    """The exact distribution of what follows every prefix: float64 [tokens + rows, terminals + 1].

    A row of t tokens has t + 1 positions: before each token, and at its end. Columns are the terminals in
    ascending order, then the end of the sentence; a position sums to 1. From the first prefix on that
    begins no sentence of the grammar all is NaN. Shares are exact to 1e-13, and to 1e-11 in rows whose parses
    differ too much in probability for doubles: those are computed with logarithms, and slower.
    """
    tokens, begins, lengths = _rows(tokens, offsets)
    places = np.cumsum(lengths + 1) - (lengths + 1)
    shares = np.empty((int((lengths + 1).sum()), len(grammar.terminals) + 1))
    scratch = Weights(grammar, _rule_probabilities(grammar), tokens, begins, lengths)
    row = 0
    while row < len(begins):
        row, healthy = scratch.predict(row, len(begins), False, places, shares)
        if not healthy:
            row, healthy = scratch.predict(row, row + 1, True, places, shares)
            if not healthy:
                raise _lost(row)
    return shares


def _weigh(
    grammar: Grammar,
    tokens: NDArray[Any],
    offsets: NDArray[Any],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Natural logarithms of each sentence's weight over its parses, and the weights (inf: too large)."""
    tokens, begins, lengths = _rows(tokens, offsets)
    members = np.flatnonzero(furthest_tiled(grammar, tokens, begins, lengths) == MEMBER)
    logs, plain = np.full(len(begins), -np.inf), np.zeros(len(begins))
    begins, lengths = begins[members], lengths[members]
    scratch = Weights(grammar, weights, tokens, begins, lengths)
    totals = np.empty(len(begins))
    exponents = scratch.typical()
    if (weights == 1.0).all():  # counts are whole, and may stay so
        exponents[:] = 0
    scratch.weigh(0, len(begins), exponents, totals)
    shifts = exponents[lengths]
    odd = ~((totals > 1 / _MOST) & (totals < _MOST))  # NaN too
    totals[odd] = 1.0
    natural_logs = np.log(totals) - shifts * math.log(2)
    for row in np.flatnonzero(odd).tolist():
        scratch.weigh(row, row + 1, None, natural_logs)
        if not math.isfinite(natural_logs[row]):
            raise _lost(row)
    logs[members] = natural_logs
    with np.errstate(over="ignore", under="ignore"):
        plain[members] = np.where(odd, np.exp(natural_logs), np.ldexp(totals, (-shifts).astype(np.int64)))
    return logs, plain


def _lost(row: int) -> OstracaError:
    return OstracaError(f"row {row}: the weights of the sentence's parses cannot be held; use a shorter one")


def _rows(tokens: NDArray[Any], offsets: NDArray[Any]) -> tuple[NDArray[np.int32], Any, Any]:
    """tokens as int32, begins and lengths int64 [rows]."""
    wide = np.asarray(offsets).astype(np.int64)
    tokens = np.asarray(tokens)
    if not len(wide) or wide[0] < 0 or (np.diff(wide) < 0).any() or wide[-1] > len(tokens):
        raise ConfigError(
            f"offsets must be rows + 1 numbers that rise from 0 or more to at most {len(tokens)}, the tokens "
            "there are"
        )
    if tokens.dtype != np.int32:
        tokens = _within_32_bits(tokens)
    return tokens, wide[:-1], np.diff(wide)


def _rule_probabilities(grammar: Grammar) -> NDArray[np.float64]:
    """The probability of each rule of a symbol: float64 [symbols of levels 1 and up]."""
    return np.asarray(1.0 / np.diff(tables_of(grammar).rule_bases))
