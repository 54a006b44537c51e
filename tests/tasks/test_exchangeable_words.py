"""The words of Depo and Brevo2 are exchangeable over the nodes: none tells its node's place or role.

Distinct words in the order in which they were drawn are not: short ones run out, so late ones are long.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from facts import brevo as brevo_configs
from facts import depo as depo_configs
from mutants.brevo import split
from scipy import stats
from test_depo_laws import Edges, parsed

from ostraca.tasks.core.batch import rows_of

Word = tuple[int, ...]
# Anything of a word: what must not differ by place.
FEATURES: dict[str, Callable[[Word], float]] = {
    "length": len,
    "first token": lambda word: word[0],
    "last token": lambda word: word[-1],
}


def around(edges: Edges) -> list[Word]:
    """The words around the cycle."""
    after = dict(edges)
    cycle = [edges[0][0]]
    while len(cycle) < len(edges):
        cycle.append(after[cycle[-1]])
    return cycle


def successor_excess(words: list[Word], feature: Callable[[Word], float], steps: int) -> float:
    """Sum over the cycle of f(word) * f(word `steps` on), less what it is on average over all orders."""
    values = np.array([feature(word) for word in words], float)
    together = values.sum() ** 2 - (values**2).sum()
    return float(values @ np.roll(values, -steps) - together / (len(words) - 1))


def role_excess(
    edges: list[tuple[Word, Word]], query: Word, answer: list[Word], feature: Callable[[Word], float]
) -> dict[str, float]:
    """For each role what a word's feature is there, less what it is on average over all orders."""
    shown = sorted({word for edge in edges for word in edge})
    mean = sum(map(feature, shown)) / len(shown)
    middle = (len(answer) - 1) / 2
    return {
        "child over parent": sum(feature(child) - feature(parent) for parent, child in edges),
        "query": feature(query) - mean,
        "rank in the answer": sum((rank - middle) * feature(word) for rank, word in enumerate(answer)),
    }


def has_mean_zero(excesses: list[float], what: str) -> None:
    """|z| < 5: a right generator fails with a chance of 6e-7."""
    found = np.array(excesses)
    if found.any():
        z = found.mean() / (found.std() / math.sqrt(len(found)))
        assert abs(z) < 5, f"{what}: {z:.1f} standard errors from what words without a tell have"


DEPO = {
    **{name: (depo_configs.PRESETS[name], 1500) for name in ("depo1-225", "depo1-375", "depo2-75")},
    **{name: (given, 4000) for name, given in depo_configs.VARIED.items() if name != "other ids"},
}
BREVO = {
    **{name: (brevo_configs.PRESETS[name], 3000) for name in ("brevo2-30", "brevo2-50")},
    **{name: (given, 4000) for name, given in brevo_configs.VARIED.items() if given.get("multi")},
}


@pytest.mark.parametrize("name", DEPO)
def test_a_word_tells_nothing_of_the_words_after_it(name: str) -> None:
    given, rows = DEPO[name]
    examples = parsed({**given, "separator": False}, rows, seed=31)
    cycles = [around(edges) for edges, _ in examples]
    for (what, feature), steps in itertools.product(FEATURES.items(), (1, 2)):
        has_mean_zero(
            [successor_excess(cycle, feature, steps) for cycle in cycles if len(cycle) > steps],
            f"{what}, {steps} on",
        )


@pytest.mark.parametrize("name", BREVO)
def test_a_word_tells_nothing_of_its_role_in_the_graph(name: str) -> None:
    given, rows = BREVO[name]
    for what, feature in FEATURES.items():
        found = [role_excess(*example, feature) for example in graphs(given, rows, seed=32)]
        for role in found[0]:
            has_mean_zero([each[role] for each in found], f"{what}, {role}")


def graphs(given: dict[str, Any], rows: int, seed: int) -> Iterator[tuple[Any, Word, list[Word]]]:
    """Edges, query and answer of Brevo2's examples, words as tuples."""
    config, batch = brevo_configs.FACTS.make(given, rows, seed=seed)
    for row in rows_of(batch):
        edges, query, answer = split(config, row["input_ids"])
        yield (
            [(tuple(parent), tuple(child)) for parent, child in edges],
            tuple(query),
            [tuple(node) for node in answer],
        )


# ---- exact laws of a small space

SMALL = {"mini_vocab": 2, "min_tlen": 1, "max_tlen": 2}


def law_of_sets(nodes: int) -> dict[frozenset[Word], Fraction]:
    """Of six words, lengths 1-2 equally likely, the first distinct ones that are drawn; in any order.

    P(a, b, c) = p(a) * p(b) / (1 - p(a)) * p(c) / (1 - p(a) - p(b)); a set's law is the sum over orders.
    """
    word = {(3,): Fraction(1, 4), (4,): Fraction(1, 4)}
    word |= {(first, last): Fraction(1, 8) for first in (1, 2) for last in (3, 4)}
    law: dict[frozenset[Word], Fraction] = {}
    for drawn in itertools.permutations(word, nodes):
        chance, left = Fraction(1), Fraction(1)
        for each in drawn:
            chance *= word[each] / left
            left -= word[each]
        law[frozenset(drawn)] = law.get(frozenset(drawn), Fraction(0)) + chance
    return law


def follows(seen: Counter[Any], law: dict[Any, Fraction]) -> None:
    """Chi-square: p > 1e-4."""
    assert set(seen) == set(law)
    assert sum(law.values()) == 1
    expected = [float(chance) * seen.total() for chance in law.values()]
    assert min(expected) >= 20
    assert stats.chisquare([seen[key] for key in law], expected).pvalue > 1e-4


@pytest.mark.parametrize("nodes", [3, 4, 5, 6])
def test_cycles_of_a_small_space_follow_the_law(nodes: int) -> None:
    """Every set of words with every cycle of them, (n - 1)! each as likely as the others."""
    law = {
        (min(words), *order): chance / math.factorial(nodes - 1)
        for words, chance in law_of_sets(nodes).items()
        for order in itertools.permutations(words - {min(words)})
    }
    seen: Counter[Any] = Counter()
    for edges, _ in parsed({"N": nodes, "qa": True, "K": 1, "M": 1, **SMALL}, 30_000, seed=3):
        cycle = around(edges)
        start = cycle.index(min(cycle))
        seen[(*cycle[start:], *cycle[:start])] += 1
    follows(seen, law)


def test_chains_of_a_small_space_follow_the_law() -> None:
    """Brevo2: every set of three words, in every order along a chain, 3! each as likely as the others."""
    law = {
        order: chance / 6
        for words, chance in law_of_sets(3).items()
        for order in itertools.permutations(words)
    }
    given = {"N": 3, "max_in": 1, "multi": True, **SMALL}
    follows(Counter(tuple(answer) for _, _, answer in graphs(given, 20_000, seed=3)), law)


# ---- published figures, test form


@pytest.mark.parametrize(
    ("N", "after_one", "after_two", "rows"), [(225, 0.213, 0.218, 4000), (375, 0.132, 0.133, 4000)]
)
def test_published_chances_of_a_short_answer(N: int, after_one: float, after_two: float, rows: int) -> None:
    """Depo1: P(the answer has one token | the asked word has one, or two); and lengths side by side."""
    short: dict[int, list[bool]] = {1: [], 2: []}
    pairs: list[tuple[int, int]] = []
    for edges, questions in parsed({**depo_configs.PRESETS[f"depo1-{N}"], "qa": True}, rows, seed=33):
        for _, start, answer in questions:
            short[len(start)].append(len(answer) == 1)
        pairs += [(len(source), len(target)) for source, target in edges[:20]]
    for length, published in ((1, after_one), (2, after_two)):
        chance = np.mean(short[length])
        error = math.sqrt(published * (1 - published) / len(short[length]))
        assert abs(chance - published) < 0.0005 + 4 * error, f"{chance:.4f} after {length}"
    correlation = np.corrcoef(np.array(pairs, float).T)[0, 1]
    assert abs(correlation - -0.003) < 4 * math.hypot(0.001, 1 / math.sqrt(len(pairs)))


def test_published_lengths_of_brevo2_words() -> None:
    """N = 50: mean tokens of the query, which end of an edge is longer, rank in the answer and length."""
    query, longer, ranks = [], [], []
    for edges, asked, answer in graphs({"N": 50, "multi": True, "qa": True}, 6000, seed=34):
        query.append(len(asked))
        differences = [len(child) - len(parent) for parent, child in edges]
        longer.append((sum(d > 0 for d in differences), sum(d != 0 for d in differences)))
        ranks.append(np.array([(rank / len(answer), len(word)) for rank, word in enumerate(answer)]))
    assert abs(np.mean(query) - 3.16) < 0.005 + 4 * np.std(query) / math.sqrt(6000)
    child_longer, unequal = np.array(longer).sum(axis=0)
    assert abs(child_longer / unequal - 0.501) < 0.008
    correlation = np.corrcoef(np.concatenate(ranks).T)[0, 1]
    assert abs(correlation - -0.003) < 4 * math.hypot(0.004, 1 / math.sqrt(sum(map(len, ranks))))
