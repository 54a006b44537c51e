"""The law of Lano's sentences, against the exact one worked out here.

Chi-square tests with fixed seeds: a right generator fails one at p < 1e-4 for one seed in 10,000.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from facts.kinds import lists
from facts.lano import GRAMMARS, PRESETS, VARIED, key_of, make, sentences
from oracles.lano import published, rules_of
from oracles.lano_cyk import enumerate_language
from scipy import stats

from ostraca.tasks.core.batch import unragged
from ostraca.tasks.lano.config import check, max_tokens, mean_tokens
from ostraca.tasks.lano.generate import generate
from ostraca.tasks.lano.grammar import grammar_of

# Lengths of 4,000 published samples: mean, shortest, longest.
LENGTHS = {
    "lano-cfg3b": (275, 165, 375),
    "lano-cfg3i": (309, 173, 454),
    "lano-cfg3h": (237, 144, 344),
    "lano-cfg3g": (254, 115, 411),
    "lano-cfg3f": (250, 105, 459),
    "lano-cfg3j": (544, 257, 947),
    "lano-cfg3k": (518, 275, 827),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_sentences_follow_the_law_of_the_enumerated_language(name: str) -> None:
    """Every sentence as often as its exact probability says; those expected under 20 times are one cell."""
    language = {s: float(chance) for s, chance in enumerate_language_of(name).items()}
    rows = 40_000
    counts = Counter(tuple(row) for row in sentences({**VARIED[name]}, rows, seed=1))
    assert set(counts) <= set(language)
    common = [sentence for sentence, chance in language.items() if chance * rows >= 20]
    observed = [counts[sentence] for sentence in common]
    expected = [language[sentence] * rows for sentence in common]
    if len(common) < len(language) and rows - sum(expected) >= 20:
        observed.append(rows - sum(observed))
        expected.append(rows - sum(expected))
    elif len(common) < len(language):  # the rest is too rare for a cell: condition on the others
        expected = [cell * sum(observed) / sum(expected) for cell in expected]
    if len(expected) > 1:
        assert len(expected) >= 3
        assert stats.chisquare(observed, expected, sum_check=False).pvalue > 1e-4


def enumerate_language_of(name: str) -> dict[tuple[int, ...], object]:
    return dict(enumerate_language(rules_of(GRAMMARS[name]))[0])


@pytest.mark.parametrize("name", PRESETS)
def test_terminals_are_as_frequent_as_the_rules_make_them(name: str) -> None:
    """The exact mean of each terminal's number in a sentence, within five standard errors."""
    rules = published(PRESETS[name]["config_name"])
    mean = Counter({next(iter(rules)): Fraction(1)})
    for symbol in rules:  # from the start down, as the file has them
        for one in rules[symbol]:
            for child in one:
                mean[child] += mean[symbol] / len(rules[symbol])
    rows = sentences(PRESETS[name], 4000, seed=2)
    counts = np.array([[row.count(terminal) for terminal in (1, 2, 3)] for row in rows])
    off = counts.mean(axis=0) - [float(mean[terminal]) for terminal in (1, 2, 3)]
    assert np.abs(off / (counts.std(axis=0) / math.sqrt(len(rows)))).max() < 5


@pytest.mark.parametrize("name", PRESETS)
def test_lengths_are_the_published_and_the_exact_ones(name: str) -> None:
    """4,000 samples: mean within five standard errors of the exact one, the extremes as published to 15%."""
    mean, shortest, longest = LENGTHS[name]
    config, batch = make(PRESETS[name], 4000, seed=3)
    lengths = batch["length"].to_numpy()
    exact = mean_tokens(config) - 1
    assert abs(lengths.mean() - exact) < 5 * lengths.std() / math.sqrt(4000)
    assert exact == pytest.approx(mean, rel=0.01)
    assert lengths.min() == pytest.approx(shortest, rel=0.15)
    assert lengths.max() == pytest.approx(longest, rel=0.15)
    grammar = grammar_of(config)
    assert grammar.min_length <= lengths.min() <= lengths.max() <= grammar.max_length


@pytest.mark.parametrize("name", VARIED)
def test_token_counts_are_exact(name: str) -> None:
    """mean_tokens is the mean, max_tokens the longest; every row's length counts its terminals."""
    config, batch = make(VARIED[name], 20_000, seed=4)
    sizes = np.diff(unragged(batch["input_ids"])[1])
    assert abs(sizes.mean() - mean_tokens(config)) <= 5 * sizes.std() / math.sqrt(20_000) + 1e-9
    assert sizes.max() <= max_tokens(config)
    if name in GRAMMARS:
        longest = max(map(len, enumerate_language_of(name)))
        assert max_tokens(config) == longest + 1
    assert (batch["length"].to_numpy() == sizes - config["bos"] - config["eos"]).all()


def test_seeds_splits_and_indices_share_no_example() -> None:
    """Sentences of hundreds of bits never meet: 2,000 of each of four streams, all different."""
    config = check({"config_name": "cfg3i"})
    seen = set()
    for seed, split in itertools.product((0, 1), ("train", "test")):
        batch = generate(config, key_of(config, seed, split), np.arange(2000))
        seen |= {row.tobytes() for row in lists(batch["input_ids"])}
    assert len(seen) == 8000
