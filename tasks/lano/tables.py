"""A grammar as flat arrays, the way the parsing kernels of Lano read it.

Levels are numbered from the terminals (0) up to the start (`levels`); a symbol is known by its place in its
level, or over all levels of rules by `bases[level] + place`. Rules of more than two symbols are cut into
prefixes: a prefix of two or more symbols that some rule goes on from is listed once per level, so that
rules which begin alike share the work. Rules of level 1 are compared with the tokens, and have no prefixes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .grammar import Grammar

UNARY = -1  # as `left`: nothing stands before the last symbol
# left >= 0: a symbol of the level below; left < -1: the prefix -2 - left


class Tables(NamedTuple):
    """Arrays are int32 where nothing else is said; see the module's docstring for the numbering."""

    levels: int  # levels of rules
    longest: int  # terminals of the longest sentence
    widest: int  # symbols of the longest rule
    list_room: NDArray[Any]  # int64 [levels + 1]: most ends of one start in a level, over all lists
    sizes: NDArray[Any]  # [levels + 1]: symbols of each level
    bases: NDArray[Any]  # [levels + 2]: number of a level's first symbol, over levels 1 and up
    numbers: NDArray[Any]  # [symbols of levels 1 and up]: what the grammar calls them
    lowest: int  # smallest terminal
    terminal_of: NDArray[Any]  # [largest - smallest terminal + 1]: the terminal's place, or sizes[0]
    prefix_bases: NDArray[Any]  # [levels + 2]: a level's first prefix; none below level 2
    prefix_left: NDArray[Any]  # [prefixes]
    prefix_right: NDArray[Any]  # [prefixes]: its last symbol
    rule_bases: NDArray[Any]  # [symbols + 1]: a symbol's first rule, in the grammar's order
    rule_left: NDArray[Any]  # [rules]: what stands before the last symbol, see UNARY; not of level 1
    rule_right: NDArray[Any]  # [rules]: the last symbol
    rule_starts: NDArray[Any]  # [rules + 1]: where its symbols begin in `rule_symbols`
    rule_symbols: NDArray[Any]
    group_bases: NDArray[Any]  # [(terminals + 1) * sizes[1] + 1]: rules of level 1 by first terminal, symbol
    group_starts: NDArray[Any]  # [rules of level 1 + 1]: where the rest of such a rule begins in `letters`
    letters: NDArray[Any]  # the terminals after a rule's first one
    node_bases: NDArray[Any]  # [levels + 2]: a level's first node of the tree of all its rules' beginnings
    node_parent: NDArray[Any]  # [nodes]: the node one symbol shorter, or -1; parents come first
    node_left: NDArray[Any]  # [nodes]: as rule_left, of what stands before its last symbol; not of level 1
    node_symbol: NDArray[Any]  # [nodes]: its last symbol
    rule_node: NDArray[Any]  # [rules]: the node that is the whole rule


def _ints(values: Any) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


@lru_cache(maxsize=16)
def tables_of(grammar: Grammar) -> Tables:
    """The arrays of a grammar."""
    symbols = grammar.levels[::-1]
    places = [{symbol: place for place, symbol in enumerate(level)} for level in symbols]
    levels = len(symbols) - 1
    bases, prefix_bases, node_bases = [0, 0], [0, 0], [0, 0]
    prefix_left: list[int] = []
    prefix_right: list[int] = []
    rule_bases, rule_left, rule_right, rule_starts = [0], [], [], [0]
    rule_symbols: list[int] = []
    node_parent: list[int] = []
    node_left: list[int] = []
    node_symbol: list[int] = []
    rule_node: list[int] = []
    shortest = longest = [1] * len(symbols[0])
    list_room = [0]
    for level in range(1, levels + 1):
        below = places[level - 1]
        trie: dict[tuple[int, int], int] = {}  # (node one symbol shorter or -1, symbol) -> node
        node_prefix: dict[int, int] = {}
        least: list[int] = []
        most: list[int] = []
        room = 0
        for alternatives in grammar.rules[levels - level]:
            lengths = []
            for rule in alternatives:
                node, left, short, long = -1, UNARY, 0, 0
                for place, child in enumerate(rule):
                    symbol = below[child]
                    short += shortest[symbol]
                    long += longest[symbol]
                    if (node, symbol) not in trie:
                        trie[node, symbol] = len(node_parent)
                        node_parent.append(node)
                        node_left.append(left)
                        node_symbol.append(symbol)
                    node = trie[node, symbol]
                    rule_symbols.append(symbol)
                    if place == len(rule) - 1:
                        break
                    # Some rule goes on from here; rules of level 1 are compared with the tokens.
                    if place and level > 1 and node not in node_prefix:
                        node_prefix[node] = len(prefix_left)
                        prefix_left.append(left)
                        prefix_right.append(symbol)
                        room += long - short + 1
                    left = -2 - node_prefix[node] if node in node_prefix else symbol
                rule_left.append(left)
                rule_right.append(symbol)
                rule_starts.append(len(rule_symbols))
                rule_node.append(node)
                lengths.append((short, long))
            rule_bases.append(len(rule_left))
            least.append(min(short for short, _ in lengths))
            most.append(max(long for _, long in lengths))
            room += most[-1] - least[-1] + 1
        list_room.append(room)
        shortest, longest = least, most
        bases.append(bases[-1] + len(symbols[level]))
        prefix_bases.append(len(prefix_left))
        node_bases.append(len(node_parent))
    group_bases, group_starts, letters = _groups(grammar, places)
    terminals = grammar.terminals
    terminal_of = np.full(terminals[-1] - terminals[0] + 1, len(terminals), dtype=np.int32)
    terminal_of[np.array(terminals) - terminals[0]] = np.arange(len(terminals))
    sizes = [len(level) for level in symbols]
    return Tables(
        levels=levels,
        longest=grammar.max_length,
        widest=max(len(one) for level in grammar.rules for all_of in level for one in all_of),
        list_room=np.array(list_room, dtype=np.int64),
        sizes=_ints(sizes),
        bases=_ints(bases),
        numbers=_ints([symbol for level in symbols[1:] for symbol in level]),
        lowest=terminals[0],
        terminal_of=terminal_of,
        prefix_bases=_ints(prefix_bases),
        prefix_left=_ints(prefix_left),
        prefix_right=_ints(prefix_right),
        rule_bases=_ints(rule_bases),
        rule_left=_ints(rule_left),
        rule_right=_ints(rule_right),
        rule_starts=_ints(rule_starts),
        rule_symbols=_ints(rule_symbols),
        group_bases=_ints(group_bases),
        group_starts=_ints(group_starts),
        letters=_ints(letters),
        node_bases=_ints(node_bases),
        node_parent=_ints(node_parent),
        node_left=_ints(node_left),
        node_symbol=_ints(node_symbol),
        rule_node=_ints(rule_node),
    )


def _groups(grammar: Grammar, places: list[dict[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """The rules of level 1 by first terminal, then symbol: group_bases, group_starts, letters."""
    size = len(grammar.rules[-1])
    rows = []
    for place, alternatives in enumerate(grammar.rules[-1]):
        for rule in alternatives:
            first, *rest = (places[0][terminal] for terminal in rule)
            rows.append((first * size + place, rest))
    rows.sort(key=lambda pair: pair[0])
    # The last group of each kind is of what is no terminal, and has none.
    counts = np.bincount([group for group, _ in rows], minlength=(len(places[0]) + 1) * size)
    bases = [0, *np.cumsum(counts).tolist()]
    starts = [0, *np.cumsum([len(rest) for _, rest in rows]).tolist()]
    return bases, starts, [letter for _, rest in rows for letter in rest]
