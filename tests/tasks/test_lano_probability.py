"""Next-token distributions and probabilities are exact: against enumeration and 100-digit arithmetic."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from facts.lano import GRAMMARS, sentences
from numpy.typing import NDArray
from oracles.lano import Rules, derive, rules_of
from oracles.lano import published as published_rules
from oracles.lano_cyk import Chart, enumerate_language, following

from ostraca.tasks.lano.grammar import Grammar, published
from ostraca.tasks.lano.parse import as_batch, log_probability, next_token_distribution, parse_counts

# Entropy in bits a token of the published grammars' sentences (not of their derivations).
ENTROPY = {"cfg3b": 0.612, "cfg3f": 1.068, "cfg3j": 1.133, "cfg3k": 1.174}


def per_row(grammar: Grammar, rows: list[list[int]]) -> list[NDArray[np.float64]]:
    """The distributions of each row: [tokens + 1, terminals + 1]."""
    whole = next_token_distribution(grammar, *as_batch(rows))
    assert whole.dtype == np.float64
    assert whole.shape == (sum(len(row) + 1 for row in rows), len(grammar.terminals) + 1)
    bounds = np.cumsum([0, *(len(row) + 1 for row in rows)])
    return [whole[begin:end] for begin, end in itertools.pairwise(bounds)]


def some_words(language: Any, terminals: tuple[int, ...]) -> Iterator[list[int]]:
    """Sentences, and words that begin like one and go wrong."""
    draw = random.Random(0)
    for sentence in itertools.islice(language, 0, 4000, 37):
        yield list(sentence)
        at = draw.randrange(len(sentence))
        yield [*sentence[:at], draw.choice([*terminals, 77]), *sentence[at + 1 :]]
        yield [*sentence, *sentence[:2]]
    yield []
    yield [77]


@pytest.mark.parametrize("name", GRAMMARS)
def test_distributions_are_those_of_the_enumerated_language(name: str) -> None:
    """At every prefix; NaN from the first one on that begins no sentence."""
    grammar = Grammar.from_text(GRAMMARS[name])
    language, _ = enumerate_language(rules_of(GRAMMARS[name]))
    laws: dict[tuple[int, ...], Any] = {}
    words = list(some_words(language, grammar.terminals))
    for word, found in zip(words, per_row(grammar, words), strict=True):
        for at, given in enumerate(found):
            prefix = tuple(word[:at])
            if prefix not in laws:
                laws[prefix] = following(language, prefix)
            if not laws[prefix]:
                assert np.isnan(given).all()
                continue
            expected = [float(laws[prefix].get(after, 0)) for after in (*grammar.terminals, None)]
            assert np.allclose(given, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", GRAMMARS)
def test_probabilities_are_those_of_the_enumerated_language(name: str) -> None:
    grammar = Grammar.from_text(GRAMMARS[name])
    language, _ = enumerate_language(rules_of(GRAMMARS[name]))
    words = list(some_words(language, grammar.terminals))
    for word, found in zip(words, log_probability(grammar, *as_batch(words)), strict=True):
        chance = language.get(tuple(word))
        assert found == pytest.approx(math.log(chance) if chance else -math.inf, abs=1e-12)


@pytest.mark.parametrize("name", ENTROPY)
def test_the_chain_rule_holds_and_everything_sums_to_one(name: str) -> None:
    """Log-probabilities of the tokens and of the end add up to the sentence's, which the spans gave."""
    grammar = published(name)
    rows = sentences({"config_name": name}, 60, seed=1)
    whole = log_probability(grammar, *as_batch(rows))
    for row, found, log in zip(rows, per_row(grammar, rows), whole, strict=True):
        assert np.abs(found.sum(axis=1) - 1).max() < 1e-14
        steps = [*found[np.arange(len(row)), np.array(row) - 1], found[-1, -1]]
        assert math.fsum(np.log(steps)) == pytest.approx(log, abs=1e-10)


@pytest.mark.parametrize("name", ENTROPY)
def test_entropies_per_token_are_the_published_ones(name: str) -> None:
    """-log2 P(sentence) over tokens, 1,500 sentences: within 1%, five standard errors."""
    rows = sentences({"config_name": name}, 1500, seed=2)
    logs = log_probability(published(name), *as_batch(rows))
    bits = -logs.sum() / math.log(2) / sum(map(len, rows))
    assert bits == pytest.approx(ENTROPY[name], rel=0.01)


def exact_law(rules: Rules, terminals: tuple[int, ...], prefix: list[int]) -> list[Decimal]:
    """What follows a prefix, by 100-digit decimals."""
    chart = Chart(rules, prefix, Decimal(1))
    total = chart.prefix()
    law = [Chart(rules, [*prefix, terminal], Decimal(1)).prefix() / total for terminal in terminals]
    return [*law, chart.total() / total]


@pytest.mark.parametrize("name", ["cfg3b", "cfg3f", "cfg3k"])
def test_distributions_are_those_of_100_digits(name: str) -> None:
    """At some prefixes of a whole sentence, to 1e-13."""
    grammar, rules = published(name), published_rules(name)
    (row,) = sentences({"config_name": name}, 1, seed=3)
    (found,) = per_row(grammar, [row])
    with localcontext() as context:
        context.prec = 100
        for at in (1, len(row) // 2, len(row) - 1, len(row)):
            expected = np.array([float(share) for share in exact_law(rules, grammar.terminals, row[:at])])
            assert np.allclose(found[at], expected, rtol=1e-13, atol=0)


def test_a_thousand_tokens_stay_exact() -> None:
    """Five cfg3f sentences in one, to 1e-13 in probability and in the law at the end and in the middle."""
    text = "30 -> 22 22 22 22 22\n" + published("cfg3f").to_text()
    grammar, rules = Grammar.from_text(text), rules_of(text)
    row = derive(rules, np.random.default_rng(4))
    assert len(row) > 1000
    (found,) = per_row(grammar, [row])
    (log,) = log_probability(grammar, *as_batch([row]))
    with localcontext() as context:
        context.prec = 100
        exact = Chart(rules, row, Decimal(1)).total()
        assert log == pytest.approx(float(exact.ln()), rel=1e-15)
        for at in (len(row) // 2, len(row) - 1):
            expected = [float(share) for share in exact_law(rules, grammar.terminals, row[:at])]
            assert np.allclose(found[at], expected, rtol=1e-13, atol=0)


# Sentences far from typical: all bits of the first kind come before all of the second.
UNEVEN = """
9 -> {}
7 -> 5
8 -> 6
5 -> 3 3 3 3 3 3 3 3
6 -> 3 3 3 | 4 4 4 | 3 4 4 | 3 3 4 | 4 3 4 | 4 4 3 | 4 3 3 | 3 4 3
3 -> 1
4 -> 2
"""


def test_sentences_of_uneven_probability_are_followed_by_logarithms() -> None:
    """1,500 tokens of a bit each beside 4,000 certain ones: weights leave the range of a double."""
    for body in ("7 " * 500 + "8 " * 500, "8 " * 500 + "7 " * 500):
        grammar = Grammar.from_text(UNEVEN.format(body))
        rules = rules_of(UNEVEN.format(body))
        row = derive(rules, np.random.default_rng(5))
        (log,) = log_probability(grammar, *as_batch([row]))
        assert log == pytest.approx(-500 * math.log(8), rel=1e-13)
        (good, wrong) = per_row(grammar, [row, [*row[:3000], 77, *row[3001:]]])
        steps = [*good[np.arange(len(row)), np.array(row) - 1], good[-1, -1]]
        assert math.fsum(np.log(steps)) == pytest.approx(log, rel=1e-12)
        assert np.abs(good.sum(axis=1) - 1).max() < 1e-14
        assert np.array_equal(wrong[:3001], good[:3001])
        assert np.isnan(wrong[3001:]).all()


# Of two readings of 1 1 1 ... the second is 4^1000 times less likely, and the only one before 6.
RARE = "\n".join(
    [
        "1000 -> 900 | 901",
        "900 -> " + "800 " * 1000 + "802",
        "901 -> " + "801 " * 1000 + "803",
        "800 -> 1\n801 -> 1 | 2 | 3 | 4\n802 -> 5\n803 -> 6",
    ]
)


def test_readings_far_less_likely_than_others_are_not_lost() -> None:
    """In probability, in count and in the law, whichever token tells the readings apart."""
    grammar = Grammar.from_text(RARE)
    rows = [[1] * 1000 + [6], [1] * 999 + [2, 6], [1] * 1000 + [5], [1] * 400 + [3] + [1] * 599 + [6]]
    rare = math.log(0.5) + 1000 * math.log(0.25)
    logs = log_probability(grammar, *as_batch(rows))
    assert logs == pytest.approx([rare, rare, math.log(0.5), rare], rel=1e-13)
    counts, bits = parse_counts(grammar, *as_batch(rows))
    assert (counts.tolist(), bits.tolist()) == ([1] * 4, [0] * 4)
    laws = per_row(grammar, rows)
    for found, last in zip(laws, (4, 5, 4, 5), strict=True):
        assert found[-1].tolist() == [0, 0, 0, 0, 0, 0, 1]
        assert found[1000, last] == 1.0
        assert np.abs(found.sum(axis=1) - 1).max() < 1e-14
    assert laws[3][401].tolist() == [0.25, 0.25, 0.25, 0.25, 0, 0, 0]
    (wrong,) = per_row(grammar, [[*rows[1][:-1], 5]])
    assert np.isfinite(wrong[:1001]).all()
    assert np.isnan(wrong[1001]).all()


@pytest.mark.parametrize("times", [120, 250, 300, 400, 520])
def test_readings_at_the_ends_of_a_double_are_exact(times: int) -> None:
    """Ten tokens each make the rare reading 1,000 times likelier again: what was lost would show there."""
    text = (
        f"9 -> 8 | 7\n8 -> {'6 ' * times}{'5 ' * 10}\n7 -> {'4 ' * times}{'3 ' * 10}\n"
        f"6 -> 1\n4 -> 1 | {' | '.join(map(str, range(100, 103)))}\n"
        f"3 -> 2\n5 -> 2 | {' | '.join(map(str, range(200, 1223)))}\n"
    )
    grammar = Grammar.from_text(text)
    row = [1] * times + [2] * 10
    (found,) = per_row(grammar, [row])
    (log,) = log_probability(grammar, *as_batch([row]))
    one, other = Decimal(2) ** -100, Decimal(4) ** -times
    assert log == pytest.approx(float(((one + other) / 2).ln()), rel=1e-14)
    for at in range(11):
        common, rare = Decimal(2) ** (-10 * at), Decimal(4) ** -times
        expected = (common / 1024 + rare) / (common + rare) if at < 10 else Decimal(1)
        where = grammar.terminals.index(2) if at < 10 else -1
        assert found[times + at, where] == pytest.approx(float(expected), rel=1e-11)


def test_rows_longer_than_the_longest_sentence_end_in_nan() -> None:
    grammar = Grammar.from_text(GRAMMARS["one terminal"])
    (found,) = per_row(grammar, [[1] * (grammar.max_length + 5)])
    assert np.isfinite(found[: grammar.max_length + 1]).all()
    assert found[grammar.max_length].tolist() == [0, 1]
    assert np.isnan(found[grammar.max_length + 1 :]).all()


def test_a_batch_may_begin_anywhere_and_be_empty() -> None:
    grammar = published("cfg3f")
    rows = sentences({"config_name": "cfg3f"}, 6, seed=6)
    tokens, offsets = as_batch(rows)
    whole = next_token_distribution(grammar, tokens, offsets)
    skipped = int(offsets[2]) + 2
    assert np.array_equal(next_token_distribution(grammar, tokens, offsets[2:]), whole[skipped:])
    assert (
        log_probability(grammar, tokens, offsets[2:]) == log_probability(grammar, tokens, offsets)[2:]
    ).all()
    none = np.empty(0, np.int32), np.zeros(1, np.int32)
    assert next_token_distribution(grammar, *none).shape == (0, 4)
    assert log_probability(grammar, *none).shape == (0,)
