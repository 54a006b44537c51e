"""The law of every random choice in Brevo, against the exact one worked out by `oracles.brevo_law`.

Chi-square tests with fixed seeds: p > 1e-5, and at least 10 expected in every cell.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, getcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from facts.brevo import make
from mutants.brevo import split
from numpy.typing import NDArray
from oracles.brevo_law import answers, graphs, queries
from scipy import stats

from ostraca.tasks.core.batch import rows_of

Example = tuple[list[tuple[int, int]], int, list[int]]  # edges, query, answer


def chi_square(observed: Counter[Any], law: dict[Any, Any]) -> None:
    """The counts follow the law with these probabilities; cells with few expected are taken together."""
    assert set(observed) <= set(law), "something that cannot be"
    assert abs(float(sum(law.values())) - 1) < 1e-9
    total = sum(observed.values())
    cells = sorted((float(p) * total, observed[key]) for key, p in law.items())
    small = [cell for cell in cells if cell[0] < 10]
    cells = cells[len(small) :] + ([tuple(map(sum, zip(*small, strict=True)))] if small else [])  # type: ignore[misc]
    if small and cells[-1][0] < 10:
        cells = [*cells[:-2], (cells[-2][0] + cells[-1][0], cells[-2][1] + cells[-1][1])]
    if len(cells) > 1:
        expected, counts = zip(*cells, strict=True)
        p = stats.chisquare(counts, np.array(expected) * (sum(counts) / sum(expected))).pvalue
        assert p > 1e-5, f"p = {p:.2e} over {len(cells)} cells"


def uniform(outcomes: Any) -> dict[Any, Fraction]:
    keys = list(outcomes)
    return dict.fromkeys(keys, Fraction(1, len(keys)))


def examples(given: dict[str, Any], rows: int, seed: int) -> Iterator[tuple[int, Example]]:
    """n, and edges, query and answer with nodes as numbers, of examples of one-token nodes."""
    config, batch = make(given, rows, seed=seed)
    for row in rows_of(batch):
        edges, (query,), answer = split(config, row["input_ids"])
        yield row["n"], ([(a, b) for (a,), (b,) in edges], query, [node for (node,) in answer])


# ---- n and the names


def exact_sizes(largest: int) -> dict[int, float]:
    getcontext().prec = 40
    weights = {n: 1 / (Decimal(n) + Decimal(largest).sqrt()) for n in range(3, largest + 1)}
    return {n: float(weight / sum(weights.values())) for n, weight in weights.items()}


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("largest", [3, 30, 110])
def test_sizes_follow_their_law(largest: int, multi: bool) -> None:
    _, batch = make({"N": largest, "multi": multi}, 30_000, seed=1)
    chi_square(Counter(batch["n"].to_pylist()), exact_sizes(largest))


@pytest.mark.parametrize(("largest", "published"), [(110, 38), (50, 20)])
def test_mean_sizes_are_the_published_ones(largest: int, published: int) -> None:
    """Those are rounded to a whole number (0.5) and rest on a sample: 0.7 in all."""
    assert abs(sum(n * p for n, p in exact_sizes(largest).items()) - published) < 0.7


def test_qa_takes_the_largest_size() -> None:
    assert set(make({"N": 31, "qa": True}, 300)[1]["n"].to_pylist()) == {31}


def test_names_are_distinct_and_uniform() -> None:
    """N = 6 and n = 3: all 6 * 5 * 4 names of a chain of three nodes are as likely."""
    seen: Counter[Any] = Counter()
    for n, (edges, _, answer) in examples({"N": 6, "max_in": 1}, 40_000, seed=2):
        if n == 3:
            assert len(edges) == 2
            seen[tuple(answer)] += 1
    chi_square(seen, uniform(itertools.permutations(range(1, 7), 3)))


# ---- the graph, the query, the answer


def shape(edges: list[tuple[int, int]], answer: list[int]) -> Any:
    """The same for examples that differ only in the names of nodes: the answer's nodes are 0, 1, ..."""
    name = {node: at for at, node in enumerate(answer)}
    rest = sorted({node for edge in edges for node in edge} - set(answer))
    forms = []
    for order in itertools.permutations(range(len(answer), len(answer) + len(rest))):
        name |= dict(zip(rest, order, strict=True))
        forms.append(sorted((name[a], name[b]) for a, b in edges))
    return len(answer), tuple(min(forms))


def exact_shapes(n: int, max_in: int, kind: str) -> dict[Any, Fraction]:
    law: dict[Any, Fraction] = {}
    for graph, chance in graphs(n, max_in):
        edges = [(a, b) for b, parents in enumerate(graph) for a in parents]
        for query in queries(n, kind):
            for answer, share in answers(graph, query).items():
                key = shape(edges, list(answer))
                law[key] = law.get(key, Fraction(0)) + chance * share / len(queries(n, kind))
    return law


@pytest.mark.parametrize("kind", ["last", "last_quarter"])
@pytest.mark.parametrize(("n", "max_in"), [(3, 4), (4, 4), (5, 2), (6, 1), (5, 4)])
def test_graph_query_and_answer_follow_their_exact_law(n: int, max_in: int, kind: str) -> None:
    """Every graph (up to names) with the node asked for and the order of the answer, all at once.

    n = 5 has one or two leaves, of which one may be hidden; max_in = 1 and 2 use up nodes' room.
    """
    law = exact_shapes(n, max_in, kind)
    given = {"N": n, "qa": True, "max_in": max_in, "query": kind}
    seen = Counter(shape(edges, answer) for _, (edges, _, answer) in examples(given, 12_000, seed=4))
    chi_square(seen, law)


def test_larger_graphs_have_the_exact_number_of_edges() -> None:
    """n = 7, max_in = 2: the joint law of the edges, of the nodes shown and of those without children."""
    law: dict[Any, Fraction] = {}
    for graph, chance in graphs(7, 2):
        edges = [(a, b) for b, parents in enumerate(graph) for a in parents]
        law[key_of_degrees(edges)] = law.get(key_of_degrees(edges), Fraction(0)) + chance
    given = {"N": 7, "qa": True, "max_in": 2}
    chi_square(Counter(key_of_degrees(edges) for _, (edges, _, _) in examples(given, 20_000, seed=5)), law)


def key_of_degrees(edges: list[tuple[int, int]]) -> Any:
    nodes = {node for edge in edges for node in edge}
    degrees = [(sum(b == node for _, b in edges), sum(a == node for a, _ in edges)) for node in nodes]
    return tuple(sorted(degrees))


@pytest.mark.parametrize("n", [5, 8, 9, 13, 40])
def test_leaves_are_uniform_up_to_a_quarter(n: int) -> None:
    """The leaves are n less the nodes with parents: floor((n-1)/4) + 1 numbers, each as likely."""
    seen: Counter[int] = Counter()
    for _, (edges, _, _) in examples({"N": n, "qa": True}, 6000, seed=6):
        seen[n - len({child for _, child in edges})] += 1
    chi_square(seen, uniform(range(1, (n - 1) // 4 + 2)))


def test_a_node_has_any_number_of_parents() -> None:
    """The last node of 40 finds 4 earlier ones with room, but for a chance far below 1 in 20,000."""
    seen: Counter[int] = Counter()
    for _, (edges, query, _) in examples({"N": 40, "qa": True}, 20_000, seed=7):
        seen[sum(child == query for _, child in edges)] += 1
    chi_square(seen, uniform([1, 2, 3, 4]))


def test_the_order_of_the_edges_is_uniform() -> None:
    """n = 4 with max_in = 1 is a chain: all 3! orders of its edges, and with n = 6 all 5!."""
    for n in (4, 6):
        seen: Counter[Any] = Counter()
        for _, (edges, _, answer) in examples({"N": n, "qa": True, "max_in": 1}, 20_000, seed=8):
            if len(answer) == n:
                seen[tuple(answer.index(child) for _, child in edges)] += 1
        chi_square(seen, uniform(itertools.permutations(range(1, n))))


def test_every_place_of_a_long_list_gets_every_edge() -> None:
    """n = 60: where the first edge of the chain that ends in the query stands among all edges, in tenths."""
    seen: Counter[int] = Counter()
    for _, (edges, query, _) in examples({"N": 60, "qa": True}, 10_000, seed=9):
        places = [at for at, (_, child) in enumerate(edges) if child == query]
        seen[10 * places[0] // len(edges)] += len(places) == 1
    total = sum(seen.values())
    assert all(abs(count / total - 0.1) < 5 * math.sqrt(0.09 / total) + 0.005 for count in seen.values())


def test_last_quarter_asks_for_each_of_its_nodes_as_often() -> None:
    """max_in = 1: where the graph is one chain of 12, the answer's length is the query's place."""
    seen: Counter[int] = Counter()
    given = {"N": 12, "qa": True, "max_in": 1, "query": "last_quarter"}
    for _, (edges, _, answer) in examples(given, 20_000, seed=10):
        if len(edges) == 11:
            seen[len(answer)] += 1
    chi_square(seen, uniform([10, 11, 12]))


def test_neighbouring_indices_and_seeds_are_independent() -> None:
    """n at (seed, index) with n at the next index and at the next seed, in quarters of the sizes."""
    one, other = (make({"N": 50}, 20_001, seed=seed)[1]["n"].to_numpy() for seed in (11, 12))
    law = exact_sizes(50)
    running: NDArray[Any] = np.cumsum([law[n] for n in range(3, 51)]) - np.array(list(law.values())) / 2
    part = np.minimum(running * 4, 3).astype(int)
    shares = np.bincount(part, weights=list(law.values()))
    expected = {(a, b): shares[a] * shares[b] for a in range(4) for b in range(4)}
    for left, right in ((one[:-1], one[1:]), (one, other), (one[1:], other[:-1])):
        chi_square(Counter(zip(part[left - 3].tolist(), part[right - 3].tolist(), strict=True)), expected)


def test_no_two_seeds_splits_or_indices_share_an_example() -> None:
    """Trap 5 (seed + index): 6 streams of 2,000 test examples of Brevo1, all different."""
    seen = set()
    for seed, split_name in itertools.product((0, 1, 2), ("train", "test")):
        _, batch = make({"N": 70, "qa": True}, 2000, seed=seed, split=split_name)
        seen |= {tuple(row) for row in batch["input_ids"].to_pylist()}
    assert len(seen) == 6 * 2000
