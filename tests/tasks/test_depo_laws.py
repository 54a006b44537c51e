"""The law of every random choice in Depo, against the exact one worked out here.

Chi-square tests with fixed seeds. A right generator fails one at p < 1e-4 for one seed in 10,000; the seeds
are fixed, so these pass for good. Expected counts are at least 20 a cell everywhere (`chi_square` checks).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
from facts.depo import DEPO1, DEPO2, PRESETS, key_of, make
from facts.kinds import lists
from numpy.typing import NDArray
from scipy import stats

from ostraca.tasks.core.batch import unragged
from ostraca.tasks.core.sizes import size_probabilities, size_thresholds
from ostraca.tasks.depo import check, hop_choices
from ostraca.tasks.depo.generate import generate

Edges = list[tuple[Any, Any]]


def chi_square(observed: Any, expected: Any) -> None:
    """The counts follow the law with these probabilities, p > 1e-4."""
    counts, law = np.asarray(observed, float), np.asarray(expected, float)
    assert counts.shape == law.shape
    assert abs(law.sum() - 1) < 1e-9
    cells = law * counts.sum()
    assert cells.min() >= 20, "too few draws for a chi-square test"
    p = stats.chisquare(counts, cells * (counts.sum() / cells.sum())).pvalue
    assert p > 1e-4, f"p = {p:.2e}: observed {counts.tolist()}, expected {cells.tolist()}"


def chi_square_uniform(observed: Counter[Any], cells: int) -> None:
    """All of `cells` outcomes occur, and equally often."""
    assert len(observed) == cells
    if cells > 1:
        chi_square(list(observed.values()), np.full(cells, 1 / cells))


def parse(tokens: NDArray[np.int32], config: dict[str, Any]) -> tuple[Edges, list[tuple[int, Any, Any]]]:
    """Edges and questions (hop, start, answer) with words as tuples of tokens (no separator)."""
    words: list[tuple[int, ...]] = []
    hops: list[int] = []
    word: list[int] = []
    for token in tokens.tolist():
        if 1 <= token <= 2 * config["mini_vocab"]:
            word.append(token)
            if token > config["mini_vocab"]:
                words.append(tuple(word))
                word = []
        elif token > config["query_token_base"] and token != config["answer_token_id"]:
            hops.append(token - config["query_token_base"])
    edges = words[: len(words) - 2 * len(hops)]
    asked = words[len(edges) :]
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    return pairs, list(zip(hops, asked[::2], asked[1::2], strict=True))


def parsed(given: dict[str, Any], rows: int, seed: int = 0) -> Any:
    """Each of the examples 0..rows-1 as `parse` gives it."""
    config, batch = make(given, rows, seed=seed)
    for tokens in lists(batch["input_ids"]):
        yield parse(tokens, config)


def binned(values: NDArray[Any], law: NDArray[Any], low: int, bins: int) -> tuple[Any, Any, Any]:
    """Counts and probabilities in about equally likely bins of low, low + 1, ..., and each value's bin."""
    bin_of = np.minimum((np.cumsum(law) - law / 2) * bins, bins - 1).astype(int)
    which = bin_of[values - low]
    return np.bincount(which, minlength=bins), np.bincount(bin_of, weights=law, minlength=bins), which


# ---- n


def exact_law(largest: int) -> NDArray[np.float64]:
    """P(n) for n = 3..N, proportional to 1 / (n + sqrt(N)), to 50 digits."""
    getcontext().prec = 50
    root = Decimal(largest).sqrt()
    weights = [1 / (Decimal(n) + root) for n in range(3, largest + 1)]
    return np.array([float(weight / sum(weights)) for weight in weights])


@pytest.mark.parametrize("largest", [3, 4, 10, 75, 225, 376])
def test_size_probabilities_are_the_exact_law(largest: int) -> None:
    """To 1e-12, and the integer thresholds rise to 2^53 (so no draw can fall beyond the last n)."""
    thresholds = size_thresholds(largest)
    assert thresholds[-1] == 2**53
    assert (np.diff(thresholds, prepend=0) > 0).all()
    assert np.abs(size_probabilities(largest) - exact_law(largest)).max() < 1e-12


def test_thresholds_are_the_exact_law_to_one_unit() -> None:
    """floor(2^53 * P(n' <= n)) within one unit in 2^53: in exact decimals, not in floats."""
    getcontext().prec = 60
    root = Decimal(225).sqrt()
    weights = [1 / (Decimal(n) + root) for n in range(3, 226)]
    running = list(itertools.accumulate(weights))
    exact = [value / running[-1] * 2**53 for value in running]
    assert all(abs(int(t) - e) <= 1 for t, e in zip(size_thresholds(225).tolist(), exact, strict=True))


@pytest.mark.parametrize(
    ("largest", "published"), [(225, 70), (375, 110), (75, 28), (125, 42), (110, 38), (50, 20)]
)
def test_mean_size_is_the_published_one(largest: int, published: int) -> None:
    """E[n] of the exact law against means measured on the published generator.

    Those are rounded to a whole number (0.5) and rest on a sample: 0.7 in all.
    """
    assert abs(exact_law(largest) @ np.arange(3, largest + 1) - published) < 0.7


@pytest.mark.parametrize("largest", [12, 225])
def test_sizes_follow_their_law(largest: int) -> None:
    _, batch = make({**DEPO1, "N": largest}, 60_000, seed=1)
    sizes = batch["n"].to_numpy()
    assert sizes.min() == 3
    assert sizes.max() == largest
    counts, law, _ = binned(sizes, exact_law(largest), 3, 10 if largest == 12 else 50)
    kept = law > 0
    assert counts[~kept].sum() == 0
    chi_square(counts[kept], law[kept])


def test_qa_takes_the_largest_size() -> None:
    _, batch = make({**DEPO1, "N": 31, "qa": True}, 500)
    assert set(batch["n"].to_pylist()) == {31}


# ---- the words


def test_word_lengths_and_tokens_are_uniform() -> None:
    """In a space of 10^8 words (three of them distinct by chance all but surely): per length, per place.

    The last token is drawn like the others and shifted by mini_vocab.
    """
    low, high, vocab = 8, 10, 7
    examples = parsed({"N": 3, "mini_vocab": vocab, "min_tlen": low, "max_tlen": high}, 6000, seed=2)
    words = [source for edges, _ in examples for source, _ in edges]
    chi_square_uniform(Counter(map(len, words)), high - low + 1)
    for length in range(low, high + 1):
        of_length = np.array([word for word in words if len(word) == length])
        assert of_length[:, :-1].max() <= vocab
        assert of_length[:, -1].min() > vocab
        of_length[:, -1] -= vocab
        for place in range(length):
            chi_square_uniform(Counter(of_length[:, place].tolist()), vocab)
        chi_square_uniform(Counter(zip(*of_length[:, :2].T.tolist(), strict=True)), vocab**2)
        chi_square_uniform(Counter(zip(*of_length[:, -2:].T.tolist(), strict=True)), vocab**2)


# ---- the cycle and the edges

NAMED = {"qa": True, "K": 1, "M": 1, "mini_vocab": 9, "min_tlen": 1, "max_tlen": 1}


def by_name(edges: Edges) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order of the edges as ranks of their sources' names, and the cycle from the least name on."""
    rank = {name: place for place, name in enumerate(sorted(source for source, _ in edges))}
    after = {rank[source]: rank[target] for source, target in edges}
    cycle = [0]
    while after[cycle[-1]] != 0:
        cycle.append(after[cycle[-1]])
    assert len(cycle) == len(edges), "the edges are not one cycle"
    return tuple(rank[source] for source, _ in edges), tuple(cycle)


def test_the_cycle_is_uniform() -> None:
    """All 4! = 24 directed cycles of five named nodes are equally likely."""
    cycles = Counter(by_name(edges)[1] for edges, _ in parsed({**NAMED, "N": 5}, 20_000, seed=4))
    chi_square_uniform(cycles, 24)


def test_the_order_of_the_edges_is_uniform_and_independent_of_the_cycle() -> None:
    """n = 4: every one of 4! orders with every one of 3! cycles."""
    joint = Counter(by_name(edges) for edges, _ in parsed({**NAMED, "N": 4}, 20_000, seed=5))
    chi_square_uniform(joint, math.factorial(4) * math.factorial(3))


def test_every_place_of_a_long_list_gets_every_edge() -> None:
    """n = 30: where the least name's edge stands, and how far its successor's edge stands from it."""
    config = {**NAMED, "N": 30, "mini_vocab": 30}
    places, distances = Counter(), Counter()
    for edges, _ in parsed(config, 6000, seed=6):
        sources = [source for source, _ in edges]
        place = sources.index(min(sources))
        places[place] += 1
        distances[(sources.index(edges[place][1]) - place) % 30] += 1
    chi_square_uniform(places, 30)
    chi_square_uniform(distances, 29)


# ---- the questions


def test_starts_and_hops_are_uniform_and_independent() -> None:
    """Two questions of four nodes, three hops: all 4 * 3 (distinct starts) * 3 * 3 outcomes, by edge rank."""
    seen: Counter[Any] = Counter()
    for edges, questions in parsed({**NAMED, "N": 4, "K": 3, "M": 2, "qa": False}, 60_000, seed=7):
        if len(edges) == 4:
            sources = [source for source, _ in edges]
            seen[tuple((sources.index(start), hop) for hop, start, _ in questions)] += 1
    assert all(one[0] != other[0] for one, other in seen), "a node was asked twice"
    chi_square_uniform(seen, 4 * 3 * 3 * 3)


def test_starts_are_uniform_on_the_cycle() -> None:
    """Three questions of six nodes: how far the second and third start stand from the first, 5 * 4 ways.

    Their places in the list of edges would look uniform for any choice, since that list is shuffled.
    """
    seen: Counter[Any] = Counter()
    for edges, questions in parsed({**NAMED, "N": 6, "M": 3}, 6000, seed=12):
        after = dict(edges)
        distance, node = {}, questions[0][1]
        for steps in range(6):
            distance[node] = steps
            node = after[node]
        seen[tuple(distance[start] for _, start, _ in questions[1:])] += 1
    chi_square_uniform(seen, 5 * 4)


def test_answers_are_the_node_hop_steps_on() -> None:
    """Walked one edge at a time, with hops beyond the cycle's length too."""
    beyond = 0
    for edges, questions in parsed({"N": 12, "K": 40, "mini_vocab": 20, "max_tlen": 1}, 500):
        after = dict(edges)
        assert len(questions) == min(10, len(edges))
        for hop, start, answer in questions:
            node = start
            for _ in range(hop):
                node = after[node]
            assert node == answer
            beyond += hop > len(edges)
    assert beyond > 1000


@pytest.mark.parametrize(
    ("given", "hops"),
    [
        ({"K": 8}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"K": 1}, [1]),
        ({"K": 8, "qa": True}, [1, 2, 4, 8]),
        ({"K": 12, "qa": True}, [1, 2, 4, 8, 12]),
        ({"K": 16, "qa": True}, [1, 2, 4, 8, 16]),
        ({"K": 32, "qa": True}, [1, 2, 4, 8, 16, 24, 32]),
        ({"K": 33, "qa": True}, [1, 2, 4, 8, 16, 32, 33]),
        ({"K": 1, "qa": True}, [1]),
        ({"K": 8, "fixed_k": 5}, [5]),
        ({"K": 32, "qa": True, "fixed_k": 7}, [7]),
    ],
)
def test_hops_are_uniform_on_the_published_set(given: dict[str, Any], hops: list[int]) -> None:
    config, batch = make({"N": 10, "mini_vocab": 9, **given}, 3000, seed=8)
    assert hop_choices(config).tolist() == hops
    chi_square_uniform(Counter(unragged(batch["query_hops"])[0].tolist()), len(hops))


@pytest.mark.parametrize(("preset", "published"), [("depo1-225", 0.05), ("depo2-75", 0.21)])
def test_share_of_hops_beyond_the_cycle_is_the_published_one(preset: str, published: float) -> None:
    """k >= n in 5% (Depo1 N=225) and 21% (Depo2 N=75) of the draws of (n, k); the figures are rounded."""
    config, batch = make(PRESETS[preset], 20_000, seed=9)
    values, offsets = unragged(batch["query_hops"])
    measured = (values[offsets[:-1]] >= batch["n"].to_numpy()).mean()
    sizes = np.arange(3, config["N"] + 1)
    exact = exact_law(config["N"]) @ (np.maximum(0, config["K"] - sizes + 1) / config["K"])
    assert abs(exact - published) < 0.005
    assert abs(measured - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)


# ---- independence


def joint_sizes(one: NDArray[Any], other: NDArray[Any], config: dict[str, Any]) -> None:
    """n of two examples: independent, in a table of 5 x 5 about equally likely bins."""
    law = exact_law(config["N"])
    _, marginal, first = binned(one, law, 3, 5)
    _, _, second = binned(other, law, 3, 5)
    table = np.bincount(first * 5 + second, minlength=25)
    chi_square(table, np.outer(marginal, marginal).ravel())


def test_neighbouring_indices_and_seeds_are_independent() -> None:
    """n at (seed, index) with n at (seed, index + 1), (seed + 1, index) and (seed + 1, index - 1)."""
    config = check({**DEPO1, "N": 50})
    rows = np.arange(20_001, dtype=np.int64)
    one, other = (generate(config, key_of(config, seed), rows)["n"].to_numpy() for seed in (10, 11))
    joint_sizes(one[:-1], one[1:], config)
    joint_sizes(one, other, config)
    joint_sizes(one[1:], other[:-1], config)


def test_no_two_seeds_splits_or_indices_share_an_example() -> None:
    """Trap 5 (seed + index): 8 streams of 2,500 Depo2 examples, all different.

    Two Depo2 examples are equal with a chance below 1e-12, by the three words of the shortest alone.
    """
    seen = set()
    for seed in (0, 1, 2, 3):
        for split in ("train", "test"):
            _, batch = make({**DEPO2, "N": 75}, 2500, seed=seed, split=split)
            seen |= {row.tobytes() for row in lists(batch["input_ids"])}
    assert len(seen) == 4 * 2 * 2500
