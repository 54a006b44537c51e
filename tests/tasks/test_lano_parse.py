"""Membership, parse counts, trees and ancestors are exact: against textbook CYK and enumeration."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from facts.lano import GRAMMARS, sentences
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.lano import damage_spans
from oracles.lano import Rules, derive, rules_of
from oracles.lano import published as published_rules
from oracles.lano_cyk import Chart, cyk, enumerate_language

from ostraca.tasks.errors import ConfigError
from ostraca.tasks.lano.grammar import PUBLISHED, Grammar, published, random_grammar
from ostraca.tasks.lano.parse import (
    ancestors,
    as_batch,
    in_language,
    log_probability,
    next_token_distribution,
    parse_counts,
    parse_tree,
    tree_lines,
    tree_text,
)
from ostraca.tasks.lano.tables import tables_of
from ostraca.tasks.lano.trees import Node


def is_in(grammar: Grammar, rows: list[list[int]]) -> list[bool]:
    said: list[bool] = in_language(grammar, *as_batch(rows)).tolist()
    return said


def all_words(terminals: tuple[int, ...], longest: int) -> list[list[int]]:
    return [
        list(word) for length in range(longest + 1) for word in itertools.product(terminals, repeat=length)
    ]


# ---- membership


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_short_word_is_judged_as_the_enumerated_language_says(name: str) -> None:
    """All words over the terminals and one other id: those of the language are in, no other is."""
    grammar, rules = Grammar.from_text(GRAMMARS[name]), rules_of(GRAMMARS[name])
    language, _ = enumerate_language(rules)
    alphabet = (*grammar.terminals, 77)
    longest = max(length for length in range(12) if len(alphabet) ** length <= 20_000)
    words = all_words(alphabet, longest)
    words += [list(word) for word in itertools.islice(language, 5000)]
    assert is_in(grammar, words) == [tuple(word) in language for word in words]


def test_thousands_of_damaged_sentences_are_judged_as_cyk_does() -> None:
    """Random grammars with unary, ambiguous and long rules; hundreds of the mutants are sentences still."""
    inside = 0
    for seed in range(24):
        draw = random.Random(seed)
        grammar = random_grammar(draw.randint(1, 4), (2, 4), (1, 4), 1, draw.randint(2, 4), seed)
        rules = rules_of(grammar.to_text())
        rows = []
        while len(rows) < 130:
            sentence = derive(rules, _Draws(draw))
            if len(sentence) <= 40:
                rows += [
                    sentence,
                    *(damage_spans(draw, sentence, [*grammar.terminals, 0, -1]) for _ in range(4)),
                ]
            elif grammar.min_length > 30:
                break
        expected = [cyk(rules, row) for row in rows]
        assert is_in(grammar, rows) == expected
        inside += sum(expected)
    assert inside > 1000


class _Draws:
    """`integers` of a Python generator."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def integers(self, bound: int) -> int:
        return self._draw.randrange(bound)


@pytest.mark.parametrize("name", ["cfg3b", "cfg3f"])
def test_full_sentences_are_judged_as_cyk_does(name: str) -> None:
    """Whole sentences of published grammars, and single-token changes of them."""
    draw = random.Random(5)
    rows = sentences({"config_name": name}, 1, seed=5)
    for row in list(rows):
        for _ in range(3):
            at = draw.randrange(len(row))
            rows.append([*row[:at], row[at] % 3 + 1, *row[at + 1 :]])
    assert is_in(published(name), rows) == [cyk(published_rules(name), row) for row in rows]


# Single-token changes of a random token that stay in the language, as measured (percent): low, high.
STAY = {"cfg3b": (0.2, 2.5), "cfg3f": (5, 11), "cfg3j": (5, 11), "cfg3k": (5, 11)}


@pytest.mark.parametrize("name", STAY)
def test_the_published_share_of_single_changes_stays_in_the_language(name: str) -> None:
    draw = random.Random(6)
    rows = []
    for row in sentences({"config_name": name}, 200, seed=6):
        for _ in range(15):
            at = draw.randrange(len(row))
            rows.append([*row[:at], (row[at] + draw.randint(0, 1)) % 3 + 1, *row[at + 1 :]])
    low, high = STAY[name]
    assert low < 100 * np.mean(is_in(published(name), rows)) < high


def test_any_tokens_may_come() -> None:
    """Ids far off, no tokens, rows of more tokens than the longest sentence, other integer types."""
    grammar = published("cfg3f")
    (sentence,) = sentences({"config_name": "cfg3f"}, 1)
    odd = [[], [0], [-1], [-(2**31)], [2**31 - 1], [4], [1] * 100_000, sentence * 50, [*sentence, -5]]
    assert is_in(grammar, [*odd, sentence]) == [False] * len(odd) + [True]
    wide = np.array([*sentence, 2**40, *sentence[1:], 2**32 + 1], np.int64)
    offsets = np.array([0, len(sentence), len(sentence), len(wide)], np.int64)
    assert in_language(grammar, wide, offsets).tolist() == [True, False, False]
    assert in_language(grammar, np.empty(0, np.int32), np.array([0], np.int32)).shape == (0,)


def test_a_batch_may_begin_anywhere_and_rows_do_not_touch_each_other() -> None:
    grammar = Grammar.from_text(GRAMMARS["ambiguous"])
    words = all_words((1, 2), 6)
    tokens, offsets = as_batch(words)
    alone = [bool(in_language(grammar, *as_batch([word]))[0]) for word in words]
    assert in_language(grammar, tokens, offsets).tolist() == alone
    assert in_language(grammar, tokens, offsets[40:90]).tolist() == alone[40:89]
    whole = ancestors(grammar, tokens, offsets)
    part = ancestors(grammar, tokens, offsets[40:90])
    for one, other in zip(whole, part, strict=True):
        assert (one[:, offsets[40] : offsets[89]] == other).all()


def test_huge_ids_and_wrong_offsets_are_told() -> None:
    grammar = Grammar.from_text(GRAMMARS["ambiguous"])
    assert parse_tree(grammar, [2**40]) is None
    assert parse_tree(grammar, [1, -(2**70)]) is None
    tokens = np.ones(4, np.int32)
    for offsets in ([], [-1, 2], [0, 3, 2], [0, 5], [5, 5]):
        for function in (in_language, ancestors, log_probability, parse_counts, next_token_distribution):
            with pytest.raises(ConfigError, match=r"offsets must be rows \+ 1 numbers that rise"):
                function(grammar, tokens, np.array(offsets, np.int64))  # type: ignore[operator]


def test_trees_of_long_sentences_are_made_and_printed() -> None:
    """65,536 tokens, under whose many nodes each is looked at once."""
    grammar = Grammar.from_text("\n".join(f"{k} -> {k - 1} {k - 1}" for k in range(16, 0, -1)))
    tree = parse_tree(grammar, [0] * 2**16)
    assert tree is not None
    assert (tree.begin, tree.end, len(tree.children)) == (0, 2**16, 2)
    lines = tree_lines(tree, 80)
    assert sum(line.split().count("0") for line in lines) == 2**16
    assert max(map(len, lines)) <= 80


def test_the_longest_rules_cost_what_they_have_symbols() -> None:
    """1,000 rules of 1,024 symbols, as terminals and as non-terminals: no list of all their beginnings."""
    draw = random.Random(0)
    rules = [[draw.randint(1, 3) for _ in range(1024)] for _ in range(1000)]
    text = "9 -> " + " | ".join(" ".join(map(str, rule)) for rule in rules)
    flat = Grammar.from_text(text)
    assert len(tables_of(flat).prefix_left) == 0
    assert is_in(flat, [rules[-1], rules[5][:-1], [*rules[7][:-1], 4]]) == [True, False, False]
    high = Grammar.from_text(f"{text}\n1 -> 11\n2 -> 12 | 13 13\n3 -> 13\n")
    assert len(tables_of(high).node_parent) < 1000 * 1024 + 10
    row = [child + 10 for child in rules[-1]]
    assert is_in(high, [row, row[:-1], [*row[:-1], 14]]) == [True, False, False]


def test_dense_spans_get_the_room_they_need() -> None:
    """Where everything spans everything the chart grows past its first room, whatever the function."""
    levels = [f"{k} -> {k - 1} | {k - 1} {k - 1} | {k - 1} {k - 1} {k - 1}" for k in (8, 7, 6)]
    text = "\n".join(["9 -> 8 | 8 8", *levels, "5 -> 1 | 1 1 | 1 1 1"])
    grammar = Grammar.from_text(text)
    rows = [[1] * length for length in (1, 60, 100, 162, 163)]
    batch = as_batch(rows)
    assert in_language(grammar, *batch).tolist() == [True] * 4 + [False]
    symbols, _ = ancestors(grammar, *batch)
    assert (symbols >= 0).all(axis=0).sum() == 1 + 60 + 100 + 162
    assert np.isfinite(log_probability(grammar, *batch)).tolist() == [True] * 4 + [False]
    exact = [Chart(rules_of(text), row, 1, weigh=False).total() for row in rows[:3]]
    logs = parse_counts(grammar, *batch)[1]
    assert logs == pytest.approx(np.array([*np.log2([float(n) for n in exact]), 0, -np.inf]), abs=1e-9)
    sums = next_token_distribution(grammar, *batch).sum(axis=1)
    assert np.allclose(sums[:-1], 1, rtol=1e-13)
    assert np.isnan(sums[-1])


# ---- counts


@pytest.mark.parametrize("name", GRAMMARS)
def test_parse_counts_are_those_of_all_derivations(name: str) -> None:
    _, counts = enumerate_language(rules_of(GRAMMARS[name]))
    words = [list(word) for word in itertools.islice(counts, 3000)]
    found, logs = parse_counts(Grammar.from_text(GRAMMARS[name]), *as_batch([*words, [77], []]))
    expected = [counts[tuple(word)] for word in words]
    assert found.tolist() == [*expected, 0, 0]
    assert found.dtype == np.uint64
    assert np.allclose(logs[:-2], np.log2(expected), atol=1e-12)
    assert logs[-2:].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 52), (1, 53), (1, 60), (40, 40), (60, 1000)])
def test_counts_beyond_what_a_double_holds_keep_their_logarithm(first: int, second: int) -> None:
    """Two parses a token: 2^52 is exact, 2^53 is where it ends, 2^60000 is known by its logarithm."""
    rows = [f"6 -> {'5 ' * first}", f"5 -> {'4 ' * second}", "4 -> 2 | 3", "2 -> 1", "3 -> 1"]
    length = first * second
    found, logs = parse_counts(Grammar.from_text("\n".join(rows)), *as_batch([[1] * length]))
    assert logs[0] == pytest.approx(length, rel=1e-12)
    assert int(found[0]) == 2 ** min(length, 53)


@pytest.mark.parametrize("name", ["cfg3f", "cfg3k"])
def test_counts_of_full_sentences_are_exact(name: str) -> None:
    rows = sentences({"config_name": name}, 4, seed=9)
    found, _ = parse_counts(published(name), *as_batch(rows))
    rules = published_rules(name)
    assert found.tolist() == [Chart(rules, row, 1, weigh=False).total() for row in rows]


# ---- trees


def check_node(node: Node, rules: Rules, word: list[int]) -> None:
    """Every node follows a rule over its own tokens."""
    if not node.children:
        assert word[node.begin : node.end] == [node.symbol]
        return
    assert tuple(child.symbol for child in node.children) in rules[node.symbol]
    at = node.begin
    for child in node.children:
        assert child.begin == at
        check_node(child, rules, word)
        at = child.end
    assert at == node.end


def first_tree(rules: Rules, chart: Chart, symbol: int, begin: int, end: int) -> Any:
    """The documented tree: the first alternative, then the earliest ends; by trying all in that order."""
    if symbol not in rules:
        return Node(symbol, begin, end)

    def cut(children: tuple[int, ...], at: int) -> list[tuple[int, int]] | None:
        if not children:
            return [] if at == end else None
        for to in sorted(chart.spans(children[0], at)):
            rest = cut(children[1:], to) if to <= end else None
            if rest is not None:
                return [(at, to), *rest]
        return None

    for one in rules[symbol]:
        spans = cut(one, begin)
        if spans is not None:
            parts = zip(one, spans, strict=True)
            return Node(symbol, begin, end, tuple(first_tree(rules, chart, s, a, b) for s, (a, b) in parts))
    raise AssertionError("not a span")


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_tree_is_the_first_one_in_the_documented_order(name: str) -> None:
    grammar, rules = Grammar.from_text(GRAMMARS[name]), rules_of(GRAMMARS[name])
    language, _ = enumerate_language(rules)
    for sentence in itertools.islice(language, 0, 4000, 20):
        word = list(sentence)
        tree = parse_tree(grammar, word)
        assert tree is not None
        check_node(tree, rules, word)
        assert tree == first_tree(rules, Chart(rules, word, 1, weigh=False), grammar.start, 0, len(word))
    assert parse_tree(grammar, [77]) is None
    assert parse_tree(grammar, []) is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_ancestors_are_those_of_the_tree(name: str) -> None:
    """Symbols and boundaries of every level, for whole sentences in one batch with rows that are none."""
    grammar, rules = published(name), published_rules(name)
    rows = sentences({"config_name": name}, 4, seed=10)
    rows.insert(2, [1, 1, 1])
    symbols, starts = ancestors(grammar, *as_batch(rows))
    assert symbols.dtype == np.int32
    assert starts.dtype == np.bool_
    assert symbols.shape == starts.shape == (len(grammar.rules), sum(map(len, rows)))
    at = 0
    for number, row in enumerate(rows):
        mine, begun = symbols[:, at : at + len(row)], starts[:, at : at + len(row)]
        at += len(row)
        if number == 2:
            assert (mine == -1).all()
            assert not begun.any()
            continue
        tree = parse_tree(grammar, row)
        assert tree is not None
        check_node(tree, rules, row)
        level = [tree]
        for line in range(len(grammar.rules)):
            assert mine[line].tolist() == [node.symbol for node in level for _ in range(node.begin, node.end)]
            assert np.flatnonzero(begun[line]).tolist() == [node.begin for node in level]
            level = [child for node in level for child in node.children]


def test_a_tree_is_printed_with_a_line_a_level() -> None:
    tree = parse_tree(Grammar.from_text(GRAMMARS["ambiguous"]), [1, 1, 2])
    assert tree is not None
    assert tree_text(tree) == "7────\n5 6──\n1 1 2"
    assert tree_lines(tree, width=4) == ["7───", "5 6─", "1 1", "", "─", "─", "2"]
    assert tree_lines(tree, width=1)[:4] == ["7─", "5", "1", ""]


def test_no_number_of_a_tree_is_cut_in_two() -> None:
    """A symbol of more digits than a block has room for at its end stands in the next block."""
    grammar = Grammar.from_text("12345 -> 1000 1000\n1000 -> 1 2 1\n")
    tree = parse_tree(grammar, [1, 2, 1, 1, 2, 1])
    assert tree is not None
    for width in range(1, 20):
        text = " ".join(tree_lines(tree, width))
        assert text.replace("─", " ").split().count("1000") == 2
        assert set(text.replace("─", " ").split()) <= {"12345", "1000", "1", "2"}
        assert all(len(line) <= max(width, 5) for line in tree_lines(tree, width))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**63 - 1))
def test_random_grammars_are_parsed_as_they_are_derived(
    depth: int, symbols: int, rules: int, longest: int, seed: int
) -> None:
    """What is derived is in the language, has a count, a tree, a probability; all as exact charts say."""
    try:
        grammar = random_grammar(depth, symbols, rules, 1, longest, seed)
    except ConfigError:
        return
    productions = rules_of(grammar.to_text())
    word = derive(productions, np.random.default_rng(seed % 1000))
    if len(word) > 60:
        return
    batch = as_batch([word])
    assert in_language(grammar, *batch).all()
    assert parse_counts(grammar, *batch)[0][0] == Chart(productions, word, 1, weigh=False).total()
    expected = float(Chart(productions, word, 1.0).total())
    assert np.exp(log_probability(grammar, *batch)[0]) == pytest.approx(expected, rel=1e-12)
    tree = parse_tree(grammar, word)
    assert tree is not None
    check_node(tree, productions, word)
    at = seed % (len(word) + 1)
    begun = Chart(productions, word[:at], 1.0)
    law = [Chart(productions, [*word[:at], t], 1.0).prefix() for t in grammar.terminals] + [begun.total()]
    found = next_token_distribution(grammar, *batch)[at]
    assert found == pytest.approx(np.array(law) / begun.prefix(), rel=1e-12)
