"""Grammars: their notation, what is refused and where, exact facts, random ones."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts.lano import GRAMMARS
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.lano import published as published_rules
from oracles.lano import rules_of
from oracles.lano_cyk import enumerate_language

from ostraca.tasks.errors import ConfigError
from ostraca.tasks.lano.grammar import MAX_LENGTH, PUBLISHED, Grammar, published, random_grammar
from ostraca.tasks.lano.notation import MAX_LEVELS, MAX_RULE_LENGTH, MAX_SYMBOL

# Published: name -> (symbols per level, rules of a symbol, mean tokens, bits a token of derivations).
FACTS = {
    "cfg3b": (7, {2}, 275, 0.62),
    "cfg3i": (7, {2}, 309, 0.61),
    "cfg3h": (7, {2, 3}, 237, 0.86),
    "cfg3g": (7, {3}, 254, 1.06),
    "cfg3f": (7, {3, 4}, 250, 1.07),
    "cfg3j": (8, {3}, 544, 1.14),
    "cfg3k": (8, {3, 4}, 518, 1.17),
}


def refusal(read: Callable[[], Any]) -> str:
    """The one line that refuses it."""
    with pytest.raises(ConfigError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- the published grammars


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_grammars_have_the_published_facts(name: str) -> None:
    levels, alternatives, mean, bits = FACTS[name]
    grammar = published(name)
    assert [len(level) for level in grammar.levels] == [1] + [3] * (levels - 1)
    assert grammar.terminals == (1, 2, 3)
    assert {len(all_of) for level in grammar.rules for all_of in level} == alternatives
    assert {len(one) for level in grammar.rules for all_of in level for one in all_of} == {2, 3}
    assert grammar.mean_length == pytest.approx(mean, rel=0.01)
    assert grammar.derivation_bits / grammar.mean_length == pytest.approx(bits, abs=0.02)
    assert grammar.start == (25 if levels == 8 else 22)


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_are_read_as_a_plain_reader_reads_them(name: str) -> None:
    grammar = published(name)
    found = {
        symbol: list(all_of)
        for level, rules in zip(grammar.levels, grammar.rules, strict=False)
        for symbol, all_of in zip(level, rules, strict=True)
    }
    assert found == published_rules(name)
    assert published(name) is grammar


# ---- facts


@pytest.mark.parametrize("name", GRAMMARS)
def test_facts_are_those_of_the_enumerated_language(name: str) -> None:
    grammar = Grammar.from_text(GRAMMARS[name])
    language, counts = enumerate_language(rules_of(GRAMMARS[name]))
    assert grammar.min_length == min(map(len, language))
    assert grammar.max_length == max(map(len, language))
    mean = sum((chance * len(sentence) for sentence, chance in language.items()), Fraction(0))
    assert grammar.mean_length == float(mean)
    assert sum(grammar.expected_counts[terminal] for terminal in grammar.terminals) == mean
    entropy = -sum(float(chance) * np.log2(float(chance)) for chance in language.values())
    if set(counts.values()) == {1}:  # unambiguous: a derivation is a sentence
        assert grammar.derivation_bits == pytest.approx(entropy, abs=1e-9)
    else:
        assert grammar.derivation_bits > entropy


def test_long_sentences_are_counted_exactly_and_refused() -> None:
    """Doubling 16 times makes 2^16 tokens; once more is too much, and 60 times does not overflow."""

    def doubling(levels: int) -> str:
        return "".join(f"{level} -> {level - 1} {level - 1}\n" for level in range(levels, 0, -1))

    assert Grammar.from_text(doubling(16)).max_length == MAX_LENGTH == 2**16
    for levels in (17, 60):
        text = refusal(lambda levels=levels: Grammar.from_text(doubling(levels), "g"))  # type: ignore[misc]
        assert text.startswith(f"g: the longest sentence has over {MAX_LENGTH} terminals")


# ---- the notation


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_canonical_text_reads_back(name: str) -> None:
    grammar = Grammar.from_text(GRAMMARS[name])
    assert Grammar.from_text(grammar.to_text()) == grammar
    assert Grammar.from_text(grammar.to_text()).to_text() == grammar.to_text()


def test_spaces_comments_and_the_order_of_lines_mean_nothing() -> None:
    """But the first line is the start's, and the order of alternatives stays."""
    plain = "9 -> 7 8 | 8\n7 -> 1 | 2 1\n8 -> 2\n"
    odd = "# a comment\n\n 9->7   8|8 # start\n\t8 ->2\r\n7  ->  1| 2 1\n   # end"
    assert Grammar.from_text(odd).to_text() == plain
    assert Grammar.from_text("9 -> 8 | 7 8\n7 -> 1 | 2 1\n8 -> 2\n").to_text() != plain


TWO = "5 -> 3 4\n3 -> 1 2\n"
MALFORMED = {
    "5 = 3 4": r"line 1: '5 = 3 4' is not of the form 'X -> A B | C D'",
    "5 -> 3\n3 > 1": r"line 2: '3 > 1' is not of the form",
    "-> 3": r"line 1: '-> 3' is not of the form",
    "5 6 -> 3": r"line 1: '5 6 -> 3' is not of the form",
    "5 ->": r"line 1: an alternative is empty",
    "5 -> 3 | ": r"line 1: an alternative is empty",
    "5 -> 3 || 4": r"line 1: an alternative is empty",
    "5 -> a b": r"line 1: the symbol 'a' must be a number from 0 to 1000000",
    "x -> 1": r"line 1: the symbol 'x' must be a number",
    "5 -> -1": r"line 1: the symbol '-1' must be a number",
    "5 -> 1.5": r"line 1: the symbol '1.5' must be a number",
    "5 -> ٣": r"line 1: the symbol '٣' must be a number",
    f"5 -> {MAX_SYMBOL + 1}": r"line 1: the symbol '1000001' must be a number",
    "5 -> 1" + "0" * 5000: r"line 1: the symbol '1000.*\.\.\. must be a number",
    "5 -> 3 -> 4": r"line 1: the symbol '->' must be a number",
    "5 -> 3 4 | 4 | 3 4": r"line 1: the alternative '3 4' stands there twice",
    "5 -> 3\n3 -> 1\n5 -> 3": r"line 3: 5 has rules already",
    "5 -> 3\n3 -> 5": r"line 2: produces 5, the start symbol",
    "5 -> 5": r"line 1: produces 5, the start symbol",
    TWO: r"line 1: 4 has no rules, but 3, of the same level, has",
    "5 -> 3 4\n3 -> 1 2\n4 -> 1 3": r"line 3: 3 is of a level above already",
    "5 -> 3\n3 -> 2 1\n2 -> 1": r"line 2: 1 has no rules, but 2, of the same level, has",
    "5 -> 4\n4 -> 3\n3 -> 4": r"line 3: 4 is of a level above already",
    "5 -> 4\n4 -> 4 1": r"line 2: 4 is of a level above already",
    "5 -> 3\n3 -> 1\n4 -> 1": r"line 3: 4 cannot be reached from the start symbol 5",
    "5 -> 3\n3 -> 1\n7 -> 8\n8 -> 7": r"line 3: 7 cannot be reached from the start symbol 5",
    "": r"no rules; write lines like",
    "# nothing\n\n": r"no rules; write lines like",
    "5 -> " + "1 " * (MAX_RULE_LENGTH + 1): r"line 1: an alternative of over 1024 symbols",
    "".join(f"{k + 1} -> {k}\n" for k in range(MAX_LEVELS, 0, -1)): r"more than 64 levels",
    "9999 -> " + " | ".join(f"{k}" for k in range(5000)): r"5001 symbols are more than 4096",
    "9 -> "
    + " | ".join("1 " * 1000 + f"{k + 10}" for k in range(1050)): r"1051050 symbols in all rules together",
}


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:24])
def test_malformed_texts_are_refused_with_their_line(text: str, tmp_path: Path) -> None:
    """One line that names the file, the line and what is wrong."""
    expected = MALFORMED[text]
    separator = ", " if expected.startswith("line") else ": "
    assert re.match(f"here{separator}{expected}", refusal(lambda: Grammar.from_text(text, "here")))
    file = tmp_path / "g.txt"
    file.write_text(text, encoding="utf-8")
    assert re.match(
        re.escape(str(file)) + separator + expected, refusal(lambda: Grammar.from_file(str(file)))
    )


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.txt")
    assert (
        refusal(lambda: Grammar.from_file(missing))
        == f"{missing}: cannot be read (No such file or directory)"
    )
    assert refusal(lambda: Grammar.from_file(str(tmp_path))).startswith(f"{tmp_path}: cannot be read (")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert (
        refusal(lambda: Grammar.from_file(str(binary))) == f"{binary}: cannot be read (not a text in UTF-8)"
    )


# ---- JSON


def graph_of(grammar: Grammar, positions: bool = True, firsts: bool = False) -> dict[str, Any]:
    """The JSON graph of a grammar, as others publish theirs."""
    nodes: list[list[dict[str, Any]]] = []
    for level, rules in zip(grammar.levels, grammar.rules, strict=False):
        below = grammar.levels[len(nodes) + 1]
        nodes.append([])
        for symbol, alternatives in zip(level, rules, strict=True):
            children = [[below.index(child) if positions else child for child in one] for one in alternatives]
            nodes[-1].append({"depth": len(nodes) - 1, "id": symbol, "name": "X", "children": children})
    nodes.append([{"id": terminal, "name": "T", "children": None} for terminal in grammar.terminals])
    return {
        "depth": len(grammar.rules),
        "sizes": [len(level) for level in grammar.levels],
        "idx": [level[0] if firsts else list(level) for level in grammar.levels],
        "all": nodes,
        "vocab_size": 3,
    }


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_json_graph_is_read_as_its_text(name: str, positions: bool, tmp_path: Path) -> None:
    """Children as places in the next level or as numbers; idx as numbers or the first one of each level."""
    grammar = published(name)
    for firsts in (True, False):
        text = json.dumps(graph_of(grammar, positions, firsts))
        assert Grammar.from_json(text) == grammar
    file = tmp_path / "graph.json"
    file.write_text(text)
    assert Grammar.from_file(str(file)) == grammar


@pytest.mark.parametrize("name", GRAMMARS)
def test_small_json_graphs_are_read_as_their_texts(name: str) -> None:
    grammar = Grammar.from_text(GRAMMARS[name])
    assert Grammar.from_json(json.dumps(graph_of(grammar))) == grammar


def _changed(**change: Any) -> str:
    graph = graph_of(Grammar.from_text("5 -> 3 4 | 4\n3 -> 1 2\n4 -> 2\n"))
    return json.dumps(graph | change)


LEAVES = [{"children": None}, {"children": None}]
BAD_JSON = {
    "{": r"g: is not readable JSON: ",
    "[1]": r"g: is not a JSON object; a JSON grammar is an object",
    '{"depth": 1}': r"g: sizes is missing",
    _changed(depth=0): r"g: depth=0 must be an integer from 1 to 63",
    _changed(depth=True): r"g: depth=True must be",
    _changed(depth=3): r"g: sizes=\[1, 2, 2\] must be 4 numbers",
    _changed(sizes=[1, 2, 0]): r"g: sizes=\[1, 2, 0\] must be 3 numbers",
    _changed(sizes=[2, 2, 2]): r"g: sizes\[0\]=2 must be 1",
    _changed(idx=5): r"g: idx must be a list of 3 levels",
    _changed(idx=[5, [3], [1, 2]]): r"g: idx\[1\] must be 2 numbers",
    _changed(idx=[5, [3, -4], [1, 2]]): r"g: idx\[1\] must be 2 numbers",
    _changed(idx=[5, 3, 1]): "",
    _changed(idx=[5, 3, 2]): r"g: idx has the symbol 3 twice",
    _changed(idx=[4, 3, 1]): r"g: idx has the symbol 4 twice",
    _changed(all=[]): r"g: all must be a list with the nodes of 2 levels",
    _changed(all=[[], []]): r"g: all\[0\] must be a list of 1 nodes",
    _changed(all=[[{"children": [[0]]}], [{"children": [[0]]}, 5]]): r"g, all\[1\]\[1\]: children must be",
    _changed(all=[[{"children": []}], LEAVES]): r"g, all\[0\]\[0\]: children must be a list",
    _changed(all=[[{"children": [5]}], LEAVES]): r"g, all\[0\]\[0\]: an alternative must be a list",
    _changed(all=[[{"children": [["a"]]}], LEAVES]): r"g, all\[0\]\[0\]: an alternative must be a list",
    _changed(
        all=[[{"children": [[]]}], [{"children": [[0]]}] * 2]
    ): r"g, all\[0\]\[0\]: an alternative is empty",
    _changed(
        all=[[{"children": [[9]]}], [{"children": [[1]]}] * 2]
    ): r"g, all\[0\]\[0\]: the child 9 is not a symbol",
    _changed(all=[[{"children": [[0]]}], [{"children": [[0]]}] * 2]): "",
    _changed(all=[[{"children": [[3]]}], [{"children": [[1]]}, {"children": [[2]]}]]): "",
    _changed(ptb=None): "",
    _changed(double_data_layer=2): r"g: double_data_layer=2 makes other sentences",
    _changed(multi_vocab="disjoint"): r"g: multi_vocab='disjoint' makes other sentences",
    _changed(
        all=[[{"children": [[0, 1], [0, 1]]}], [{"children": [[0, 1]]}] * 2]
    ): r"g, all\[0\]\[0\]: the alternative",
}


@pytest.mark.parametrize("text", BAD_JSON, ids=lambda text: text[:60])
def test_bad_json_graphs_are_refused_with_their_place(text: str) -> None:
    if BAD_JSON[text]:
        assert re.match(BAD_JSON[text], refusal(lambda: Grammar.from_json(text, "g")))
    else:
        Grammar.from_json(text, "g")


@pytest.mark.parametrize(
    ("symbols", "children", "text"),
    [
        ([1, 2, 3], [[1, 2], [3, 1]], "9 -> 1 2 | 3 1\n"),
        ([1, 2, 3], [[0, 1], [2, 1]], "9 -> 1 2 | 3 2\n"),
        ([1, 2], [[0, 1], [1]], "9 -> 1 2 | 2\n"),
        ([0, 2, 1], [[0, 2], [2, 1]], "9 -> 0 1 | 1 2\n"),  # both readings fit: places
        ([2, 1, 5, 0], [[0, 1], [2, 5]], "9 -> 0 1 | 2 5\n"),
        ([1, 2, 0, 3], [[1, 2], [0, 3]], "9 -> 2 0 | 1 3\n"),
        ([4, 5, 6], [[0, 2]], "9 -> 4 6\n"),  # 5 is in no sentence
        ([4, 5, 6], [[4, 6]], "9 -> 4 6\n"),
        ([0, 2, 1, 7], [[0, 2], [1, 1]], None),
        ([1, 2, 3], [[1, 2], [2, 1]], None),
    ],
)
def test_children_are_read_in_the_one_way_they_can_be(
    symbols: list[int], children: list[list[int]], text: str | None
) -> None:
    """What they can be both ways produces every symbol in one, or the file is refused."""
    graph = {"depth": 1, "sizes": [1, len(symbols)], "idx": [[9], symbols], "all": [[{"children": children}]]}
    if text is not None:
        assert Grammar.from_json(json.dumps(graph)).to_text() == text
        return
    said = refusal(lambda: Grammar.from_json(json.dumps(graph), "g"))
    assert re.match(r"g: children can be places .* \(as places \d of level 1\)", said)


@pytest.mark.parametrize(
    "sizes",
    [[1, 3, 9, 27, 81, 27, 9], [1, 3, 9, 27, 27, 9, 4], [1, 2, 40, 2, 40, 2]],
    ids=["cfg3e1", "cfg3e2", "most lead nowhere"],
)
def test_graphs_of_many_symbols_give_the_sentences_of_all_they_say(sizes: list[int]) -> None:
    """As published: three rules a symbol, of two or three random ones below, some of which none produces.

    The law of a walk from the start symbol over the graph itself, symbols left out or not.
    """
    for seed in range(20):
        rng = random.Random(seed)
        last = [sum(sizes[level + 1 :]) + 3 for level in range(len(sizes))]
        idx = [[low + place for place in range(size)] for low, size in zip(last, sizes, strict=True)]
        nodes = []
        for level, size in enumerate(sizes[:-1]):
            below = range(sizes[level + 1])
            rules: list[set[tuple[int, ...]]] = [set() for _ in range(size)]
            for one in rules:
                while len(one) < 3:
                    one.add(tuple(rng.choices(below, k=rng.choice((2, 3)))))
            nodes.append([{"children": sorted(one)} for one in rules])
        counts: dict[int, Fraction] = {idx[0][0]: Fraction(1)}  # of a symbol in a sentence's tree, on average
        for level, of_level in enumerate(nodes):
            for symbol, node in zip(idx[level], of_level, strict=True):
                for child in (child for one in node["children"] for child in one):
                    below_it = idx[level + 1][child]
                    counts[below_it] = counts.get(below_it, 0) + counts.get(symbol, Fraction(0)) / 3
        grammar = Grammar.from_json(
            json.dumps({"depth": len(nodes), "sizes": sizes, "idx": idx, "all": nodes})
        )
        assert grammar.expected_counts == {symbol: count for symbol, count in counts.items() if count}
        for level, symbols in enumerate(grammar.levels[:-1]):
            for symbol, alternatives in zip(symbols, grammar.rules[level], strict=True):
                own = nodes[level][idx[level].index(symbol)]["children"]
                assert alternatives == tuple(tuple(idx[level + 1][child] for child in one) for one in own)


# ---- random grammars


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.integers(1, 5),
    st.tuples(st.integers(1, 6), st.integers(0, 4)),
    st.tuples(st.integers(1, 5), st.integers(0, 3)),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 2**63 - 1),
)
def test_random_grammars_are_as_asked_or_refused_in_one_line(
    depth: int, symbols: tuple[int, int], rules: tuple[int, int], shortest: int, more: int, seed: int
) -> None:
    """Every level's size, every symbol's rules and every rule's length are in the ranges asked for."""
    asked = (depth, (symbols[0], sum(symbols)), (rules[0], sum(rules)), shortest, shortest + more, seed)
    try:
        grammar = random_grammar(*asked)
    except ConfigError:
        assert refusal(lambda: random_grammar(*asked))
        return
    assert random_grammar(*asked) == grammar
    assert Grammar.from_text(grammar.to_text()) == grammar
    assert len(grammar.rules) == depth
    assert all(symbols[0] <= len(level) <= sum(symbols) for level in grammar.levels[1:])
    numbers = [symbol for level in reversed(grammar.levels) for symbol in level]
    assert numbers == list(range(1, len(numbers) + 1))
    for level in grammar.rules:
        for alternatives in level:
            assert rules[0] <= len(alternatives) <= sum(rules)
            assert all(shortest <= len(one) <= shortest + more for one in alternatives)


def test_random_grammars_are_fixed() -> None:
    """Whoever drew a grammar can draw it again: these texts may not change."""
    assert random_grammar(2, 2, 2, 1, 2, seed=0).to_text() == RANDOM_SMALL
    assert random_grammar(3, (2, 3), (1, 3), 1, 2, seed=3).to_text() == GRAMMARS["drawn"]
    assert random_grammar(3, (2, 3), (1, 3), 1, 2, seed=3).to_text() == RANDOM_RANGES


RANDOM_SMALL = "5 -> 4 | 3 4\n3 -> 1 | 2\n4 -> 2 | 2 1\n"
RANDOM_RANGES = """8 -> 6 | 7 5
5 -> 4 | 3 3 | 3
6 -> 4 4 | 3
7 -> 4 3 | 3 4 | 3 3
3 -> 2 2 | 2 | 1 1
4 -> 2 1 | 2 2 | 1 1
"""


def test_all_rules_that_exist_can_be_asked_for() -> None:
    """Nothing is tried for ever: all 6 rules of one or two of two symbols; one more is refused."""
    for seed in range(20):
        grammar = random_grammar(2, 2, 6, 1, 2, seed)
        assert all(len(set(all_of)) == 6 for level in grammar.rules for all_of in level)
    text = refusal(lambda: random_grammar(2, 2, 7, 1, 2, 0))
    assert text.startswith("rules=7: only 6 different rules of 1 to 2 symbols exist over 2 symbol(s)")


def test_impossible_random_grammars_are_refused_in_one_line() -> None:
    for arguments, expected in {
        (0, 3, 2, 2, 3, 0): "depth=0 must be an integer from 1 to 63",
        (2, 0, 2, 2, 3, 0): "symbols=0 must be",
        (2, (3, 2), 2, 2, 3, 0): "symbols=3 must be an integer from 1 to 2",
        (2, (1, 2, 3), 2, 2, 3, 0): "symbols=(1, 2, 3) must be a number or a range (low, high)",
        (2, 3, "2", 2, 3, 0): "rules='2' must be",
        (2, 3, 2, 4, 3, 0): "min_length=4 must be an integer from 1 to 3",
        (2, 3, 2, 0, 3, 0): "min_length=0 must be",
        (2, 3, 2, 2, 3, -1): "seed=-1 must be",
        (
            2,
            7,
            2,
            2,
            3,
            0,
        ): "symbols=(7, 7): the 1 symbol(s) of level 0 with 2 rules of up to 3 can produce only 6",
        (30, 3, 2, 3, 3, 0): "random grammar: the longest sentence has over 65536 terminals",
    }.items():
        assert refusal(lambda arguments=arguments: random_grammar(*arguments)).startswith(expected)  # type: ignore[misc]


def test_random_grammars_too_large_for_any_are_refused_before_they_are_drawn() -> None:
    """By what is asked for at least, or as soon as the levels drawn so far are too many."""
    for arguments, expected in {
        (
            3,
            64,
            4096,
            2,
            2,
            0,
        ): "rules=4096: levels 0 to 2 need 528384 rules, at most 65536; ask for fewer symbols or rules",
        (40, 200, 1, 2, 2, 0): "symbols=200: levels 0 to 39 need 8001 symbols, at most 4096",
        (2, 40, 40, 1000, 1024, 0): "min_length=1000: levels 0 to 1 need 1640000 symbols in their rules",
        (
            5,
            (1, 64),
            (64, 4096),
            4,
            4,
            1,
        ): r"rules=\(64, 4096\): levels 0 to \d need \d+ rules, at most 65536",
        (8, (400, 900), (600, 800), 2, 2, 0): r"rules=\(600, 800\): levels 0 to 7 need 1680600 rules",
        (9, (40, 4000), (40, 60), 2, 2, 1): r"symbols=\(40, 4000\): levels 0 to \d need \d+ symbols, at most",
        (2, 60, 1000, 1, 1024, 0): "max_length=1024: far over 1048576 symbols in all rules together",
    }.items():
        said = refusal(lambda arguments=arguments: random_grammar(*arguments))  # type: ignore[misc]
        assert re.match(expected, said), said


def test_rules_of_random_grammars_are_drawn_evenly() -> None:
    """Lengths half and half, symbols a third each, over 4,000 rules; seeds give different grammars."""
    rules = [
        one
        for seed in range(100)
        for all_of in random_grammar(2, 3, 10, 3, 4, seed).rules[1]
        for one in all_of
    ]
    assert len(rules) == 3000
    assert np.mean([len(one) == 3 for one in rules]) == pytest.approx(0.5, abs=0.04)
    symbols = np.bincount([symbol for one in rules for symbol in one], minlength=4)[1:]
    assert np.abs(symbols / symbols.sum() - 1 / 3).max() < 0.02
    assert len({random_grammar(2, 3, 3, 2, 3, seed) for seed in range(50)}) == 50
