"""The exact laws that tasks declare for `ostraca audit`, against oracles that find them in other ways."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from facts.lano import GRAMMARS
from oracles import capo as oracle
from oracles.brevo_law import ancestors, graphs, queries
from oracles.lano import rules_of
from oracles.lano_cyk import enumerate_language
from oracles.mano_law import expressions

from ostraca.tasks import get_task
from ostraca.tasks.brevo.laws import graph_laws, listed_laws
from ostraca.tasks.examples import complete_config, stream_of
from ostraca.tasks.lano.grammar import Grammar, published
from ostraca.tasks.lano.laws import can_follow, sentence_laws
from ostraca.tasks.mano.laws import SHAPES, distinct_law, expression_laws


def depth_of(prefix: tuple[Any, ...]) -> int:
    """Levels of operators, by a reader of prefixes."""

    def read(at: int) -> tuple[int, int]:
        if not isinstance(prefix[at], str):
            return at + 1, 0
        middle, left = read(at + 1)
        end, right = read(middle)
        return end, 1 + max(left, right)

    return read(0)[1]


def end_of(prefix: tuple[Any, ...], at: int) -> int:
    missing = 1
    while missing:
        missing += 1 if isinstance(prefix[at], str) else -1
        at += 1
    return at


@pytest.mark.parametrize(
    ("letters", "modulus", "longest"), [("asmd", 3, 3), ("asm", 4, 2), ("md", 5, 2), ("d", 2, 4)]
)
def test_manos_laws_are_those_of_all_expressions(letters: str, modulus: int, longest: int) -> None:
    """Every expression with its probability: each feature, its place and the answer, added up."""
    known = expression_laws(modulus, letters, longest)
    symbols = ["+-*/"["asmd".index(letter)] for letter in letters]
    for length in range(longest + 1):
        wanted: dict[str, Any] = defaultdict(lambda: defaultdict(float))
        for prefix, probability, value in expressions(length, modulus, letters):
            if value is None:
                continue
            operands = [each for each in prefix if not isinstance(each, str)]
            found: dict[str, Any] = {
                "answer": (),
                "first": (operands[0],),
                "last": (operands[-1],),
                "depth": (depth_of(prefix),),
            }
            if length:
                found["left"] = ((end_of(prefix, 1) - 2) // 2,)
            if length <= 4:
                found["shape"] = (int("".join("01"[isinstance(each, str)] for each in prefix), 2),)
            if length <= 2:
                found["distinct"] = (len(set(operands)),)
            for which, symbol in enumerate(symbols):
                found[f"counts {which}"] = (prefix.count(symbol),)
            for name, key in found.items():
                wanted[name][(*key, value)] += float(probability)
            for at, each in enumerate(prefix):
                token = symbols.index(each) if isinstance(each, str) else len(symbols) + each
                wanted["token"][at, token, value] += float(probability)
                wanted["size"][at, (end_of(prefix, at) - at - 1) // 2, value] += float(probability)
        for name, masses in wanted.items():
            kind, _, which = name.partition(" ")
            law = getattr(known, kind)
            table = law[int(which)][length] if which else law[length]
            filled = np.zeros_like(table)
            for key, probability in masses.items():
                filled[key] = probability
            np.testing.assert_allclose(table, filled, atol=1e-13, err_msg=f"{name}, {length} operators")
    assert known.shape[-1].shape == (SHAPES, modulus)


def test_the_law_of_different_operands_is_that_of_all_draws() -> None:
    for modulus, operands in ((2, 3), (4, 1), (3, 5), (5, 4)):
        drawn = np.stack(np.meshgrid(*[np.arange(modulus)] * operands)).reshape(operands, -1)
        counts = np.bincount([len(set(column)) for column in drawn.T.tolist()], minlength=8)
        np.testing.assert_allclose(distinct_law(modulus, operands, 8), counts / counts.sum(), atol=1e-14)


@pytest.mark.parametrize("name", GRAMMARS)
def test_lanos_laws_are_those_of_all_sentences(name: str) -> None:
    """Every sentence with its probability: lengths, places from both ends, ends, counts, added up."""
    grammar = Grammar.from_text(GRAMMARS[name])
    assert can_follow(grammar)
    known = sentence_laws(grammar)
    wanted = {
        field: np.zeros_like(getattr(known, field))
        for field in known.__dataclass_fields__
        if field != "width"
    }
    size, width = len(grammar.terminals), known.width

    def number(string: list[int]) -> int:
        return sum(each * size**place for place, each in enumerate(reversed(string)))

    for sentence, chance in enumerate_language(rules_of(GRAMMARS[name]))[0].items():
        p, places = float(chance), [grammar.terminals.index(each) for each in sentence]
        wanted["length"][len(places)] += p
        padded = places + [size] * (len(known.token) + 1 - len(places))
        for at in range(len(known.token)):
            wanted["token"][at, padded[at]] += p
            wanted["token_back"][at, (places[::-1] + padded[len(places) :])[at]] += p
            if padded[at] < size:
                wanted["following"][at, padded[at], padded[at + 1]] += p
        if len(places) >= width:
            begin, end = number(places[:width]), number(places[-width:])
            wanted["ends"][begin, end] += p
            wanted["begin_length"][begin, len(places)] += p
            wanted["end_length"][end, len(places)] += p
        for one in range(size):
            wanted["counts"][one, places.count(one)] += p
            for other in range(size):
                side_by_side = sum(pair == (one, other) for pair in pairwise(places))
                wanted["pairs"][one, other, side_by_side] += p
    for field, law in wanted.items():
        np.testing.assert_allclose(getattr(known, field), law, atol=1e-13, err_msg=field)


def test_lanos_mean_length_is_the_known_one() -> None:
    for name in ("cfg3b", "cfg3k"):
        grammar = published(name)
        length = sentence_laws(grammar).length
        assert length @ np.arange(len(length)) == pytest.approx(grammar.mean_length, rel=1e-12)


@pytest.mark.parametrize(
    ("max_in", "kind"), [(4, "last"), (4, "last_quarter"), (2, "last_quarter"), (1, "last")]
)
def test_brevos_laws_are_those_of_all_graphs(max_in: int, kind: str) -> None:
    """Edges, the query's parents, its depth and answer, and nodes that are in an edge, graph by graph."""
    most = 6 if max_in < 4 else 5
    edges, parents = graph_laws(most, max_in, kind != "last")
    length, depth, shown = listed_laws(max_in, kind != "last")
    for n in range(3, most + 1):
        wanted = [np.zeros(size) for size in (edges.shape[1], max_in + 1, *[length.shape[1]] * 3)]
        for graph, fraction in graphs(n, max_in):
            asked = queries(n, kind)
            wanted[0][sum(map(len, graph))] += float(fraction)
            wanted[4][sum(bool(graph[x]) or any(x in y for y in graph) for x in range(n))] += float(fraction)
            for query in asked:
                share = float(fraction) / len(asked)
                wanted[1][len(graph[query])] += share
                wanted[2][len(ancestors(graph, query))] += share
                steps, reached = 0, {query}
                while all(graph[each] for each in reached):
                    steps, reached = steps + 1, set().union(*(graph[each] for each in reached))
                wanted[3][steps] += share
        for found, law in zip((edges, parents, length, depth, shown), wanted, strict=True):
            np.testing.assert_allclose(found[n], law, atol=1e-13)


@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_what_is_read_of_capos_paragraphs_is_what_was_drawn(bio: str) -> None:
    """Order, templates and facts of 300 paragraphs, against the draws replayed with NumPy."""
    task = get_task("capo")
    config = complete_config(task, {"num_people": 30, "exposures": 10, "bio": bio}, 5)
    key = stream_of(task, config, 5, "train")
    assert task.audit is not None
    batch = task.generate(config, key, np.arange(300, dtype=np.int64))
    table = task.audit(config).tables(batch)["text"]
    people = batch.column("person").to_pylist()
    for row, number in enumerate(people):
        stream = oracle.draws(oracle.stream_key(config, 5, "train"), row)
        order = list(range(6))
        for last in range(5, 0, -1):
            chosen = int(stream.integers(last + 1))
            order[last], order[chosen] = order[chosen], order[last]
        templates = [
            int(stream.integers(len(oracle.templates(config, oracle.SENTENCES[which])))) for which in order
        ]
        turn = int(table["turn"][row])
        assert table["sentence"][row] == order[turn]
        assert table["template"][row] == templates[turn]
        assert table["opening"][row] == templates[0]
        if turn < 5:
            assert (table["next_sentence"][row], table["next_template"][row]) == (
                order[turn + 1],
                templates[turn + 1],
            )
        place = sorted(permutations(range(6))).index(tuple(order)) if row < 40 else table["order"][row]
        assert table["order"][row] == place
        told = oracle.person(config, number)
        assert oracle.pool(config, "cities")[table["birth_city"][row]] == told["birth_city"]
        assert oracle.pool(config, "employers")[table["employer"][row]].split("\t")[0] == told["employer"]
        assert table["number"][row] == number % 16
