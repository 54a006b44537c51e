"""Promise 3, what is true of Brevo only: any order of the ancestors is right, and n need not be known."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from facts.brevo import VARIED, make
from facts.kinds import lists, replaced
from mutants import MUTANTS
from mutants.brevo import join, solve, split
from oracles.brevo_judge import parse, possible_sizes
from oracles.brevo_law import graphs, queries

from ostraca.tasks.brevo import check
from ostraca.tasks.brevo.validate import validate

verdicts, assert_same_verdicts = MUTANTS["brevo"].verdicts, MUTANTS["brevo"].assert_judged_alike


@pytest.mark.parametrize("name", [name for name in VARIED if name != "unary words"])
def test_any_order_of_the_ancestors_is_valid(name: str) -> None:
    """Not only the one that was drawn."""
    draw = random.Random(1)
    config, batch = make(VARIED[name], 100, seed=102)
    others, rows = 0, []
    for tokens in lists(batch["input_ids"]):
        edges, query, _ = split(config, tokens.tolist())
        rows.append(join(config, (edges, query, solve(draw, edges, query))))
        others += rows[-1] != tokens.tolist()
    assert verdicts(config, rows).all_valid
    assert others > 0 or config["max_in"] == 1 or config["N"] < 5


def test_exactly_the_strings_that_can_be_made_are_valid() -> None:
    """N = 3: of all lists of up to three edges, queries and answers, 60 are valid, and those are made."""
    config, batch = make({"N": 3}, 6000, seed=103)
    made = {tuple(row.tolist()) for row in lists(batch["input_ids"])}
    names = ([1], [2], [3])
    pairs = list(itertools.product(names, names))
    answers = [list(one) for size in range(4) for one in itertools.product(names, repeat=size)]
    rows = [
        join(config, (list(edges), query, answer))
        for size in range(4)
        for edges in itertools.product(pairs, repeat=size)
        for query in names
        for answer in answers
    ]
    said = verdicts(config, rows)
    valid = {tuple(row) for row, code in zip(rows, said.codes, strict=True) if code == 0}
    assert valid == made
    assert len(valid) == 60


@pytest.mark.parametrize("query", ["last", "last_quarter"])
@pytest.mark.parametrize("qa", [False, True])
def test_exactly_the_graphs_that_can_be_made_are_valid(qa: bool, query: str) -> None:
    """N = 5, max_in = 2: every graph on 1..5 in this order, every query; leaves may be hidden.

    A graph is made where the judge finds a size; that the sizes it finds are right is seen from the law
    (`test_brevo_laws`), whose graphs are exactly these.
    """
    config = check({"N": 5, "qa": qa, "query": query, "max_in": 2})
    makeable = set()
    for n in (5,) if qa else (3, 4, 5):
        for graph, _ in graphs(n, 2):
            edges = [(a, b) for b, parents in enumerate(graph) for a in parents]
            makeable |= {_shape(edges, asked) for asked in queries(n, query)}
    draw = random.Random(2)
    possible = [(a, b) for b in range(5) for a in range(b)]
    seen, rows, expected = set(), [], []
    for bits in range(1, 1 << len(possible)):
        edges = [edge for place, edge in enumerate(possible) if bits >> place & 1]
        for asked in sorted({b for _, b in edges}):
            words = [([a + 1], [b + 1]) for a, b in edges]
            rows.append(join(config, (words, [asked + 1], solve(draw, words, [asked + 1]))))
            expected.append(_shape(edges, asked) in makeable)
            seen.add(_shape(edges, asked))
    said = assert_same_verdicts(config, rows)
    assert (said.codes == 0).tolist() == expected
    assert makeable <= seen
    assert 20 < sum(expected) < len(expected) / 2


_SHAPES: dict[tuple[Any, ...], Any] = {}


def _shape(edges: list[tuple[int, int]], asked: int) -> Any:
    """The same for two graphs (and a node asked for) that differ in names only."""
    nodes = sorted({node for edge in edges for node in edge})
    rank = {node: place for place, node in enumerate(nodes)}
    key = (tuple(sorted((rank[a], rank[b]) for a, b in edges)), rank[asked])
    if key not in _SHAPES:
        orders = itertools.permutations(range(len(nodes)))
        _SHAPES[key] = min((sorted((o[a], o[b]) for a, b in key[0]), o[key[1]]) for o in orders)
    edges_of, asked_of = _SHAPES[key]
    return tuple(edges_of), asked_of


def test_large_ids_and_partial_words_stay_within_the_table() -> None:
    """Names that no word has (too large, too short, cut off) at every place a node may stand."""
    for varied in ({"N": 5}, VARIED["words"], VARIED["hashed table"], VARIED["long words"]):
        config = check(varied)
        bos, asked, answer = (config[name] for name in ("bos_token_id", "query_token_id", "answer_token_id"))
        for word in ([2**31 - 1], [-(2**31)], [1] * 70, [1, 2**31 - 1], [2**30] * 3, [0], []):
            rows = [
                [bos, *word],
                [bos, asked, *word],
                [bos, asked, *word, answer, *word],
                word,
                [bos, *word * 9],
            ]
            assert (verdicts(config, rows).codes > 0).all()


@pytest.mark.parametrize("name", VARIED)
def test_n_is_any_number_that_the_tokens_allow(name: str) -> None:
    """Isolated leaves are not shown: every n that some graph of these edges has is accepted, no other."""
    config, batch = make(VARIED[name], 30, seed=109)
    open_ones = 0
    for row, tokens in enumerate(lists(batch["input_ids"])):
        parts = parse(config, tokens.tolist())
        assert parts is not None
        sizes = possible_sizes(config, parts[0], parts[1])
        assert batch["n"][row].as_py() in sizes
        open_ones += len(sizes) > 1
        for n in range(-1, config["N"] + 3):
            said = validate(replaced(batch.slice(row, 1), "n", [n]), config)
            assert said.all_valid == (n in sizes), (n, sizes)
    assert open_ones == 0 if config["qa"] or config["N"] == 3 else open_ones > 0
