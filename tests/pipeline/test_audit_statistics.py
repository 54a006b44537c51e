"""The audit's statistics against SciPy, worked cases and a promise: uniform p-values of sound data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ostraca.pipeline.check.audit import tests as audit_tests
from ostraca.tasks.core.word_laws import length_laws, token_pair_law


@pytest.mark.parametrize("freedom", [1, 2, 7, 225, 2401, 60000])
@pytest.mark.parametrize("sigmas", [-4, -1, 0, 0.5, 2, 6, 15])
def test_the_tail_of_chi_square_is_scipys(freedom: int, sigmas: float) -> None:
    statistic = max(freedom + sigmas * np.sqrt(2 * freedom), 1e-3)
    wanted = stats.chi2.sf(statistic, freedom)
    assert audit_tests.chi_square_tail(statistic, freedom) == pytest.approx(wanted, rel=1e-7, abs=1e-300)


def test_holm_is_the_worked_case() -> None:
    """0.01 * 4, then max(0.015 * 3, ...), and no value above 1."""
    found = audit_tests.holm(np.array([0.03, 0.01, 0.6, 0.015]))
    np.testing.assert_allclose(found, [0.06, 0.04, 0.6, 0.045])
    assert audit_tests.holm(np.array([0.7, 0.8])).max() == 1.0


def test_the_sign_test_is_scipys() -> None:
    for more, total in ((0, 0), (0, 5), (5, 5), (7, 9), (400, 700), (1000, 1000)):
        wanted = stats.binom.sf(more - 1, total, 0.5)
        assert audit_tests.sign_tail(more, total) == pytest.approx(wanted, rel=1e-8)


def test_a_plain_table_is_scipys_contingency() -> None:
    table = np.random.default_rng(1).integers(40, 90, size=(4, 5))
    statistic, freedom, _ = audit_tests.independence(table[None])
    wanted = stats.chi2_contingency(table, correction=False)
    assert (statistic, freedom) == (pytest.approx(wanted.statistic), wanted.dof)
    law = np.array([0.1, 0.2, 0.3, 0.4])
    counts = np.array([120, 190, 310, 380])
    statistic, freedom, _ = audit_tests.against_law(counts[None], law[None])
    assert statistic == pytest.approx(stats.chisquare(counts, 1000 * law).statistic)
    assert freedom == 3
    # One stratum summed is the same test.
    assert audit_tests.against_law_summed(counts[None], law[None])[0] == pytest.approx(statistic)


def test_the_bits_are_those_of_the_joint_law() -> None:
    """A noisy copy of a fair bit, wrong one time in four, tells 1 - H(1/4) bits of it."""
    rng = np.random.default_rng(2)
    joint = np.array([[3, 1], [1, 3]]) / 8
    wanted = 1 + 0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)
    table = rng.multinomial(200_000, joint.reshape(-1)).reshape(1, 2, 2)
    assert audit_tests.independence(table)[2] == pytest.approx(wanted, abs=0.005)
    assert audit_tests.gain(np.stack([table, table])) == pytest.approx(0.25, abs=0.01)
    assert audit_tests.permuted(table, 99, rng) == 0.01
    # What is bought with noise is taken away again: independent columns have 0 bits on average.
    bits = [audit_tests.independence(rng.multinomial(3000, np.full(100, 0.01)).reshape(1, 10, 10))[2]]
    bits += [
        audit_tests.independence(rng.multinomial(3000, np.full(100, 0.01)).reshape(1, 10, 10))[2]
        for _ in range(200)
    ]
    assert abs(np.mean(bits)) < 4 * np.std(bits) / np.sqrt(len(bits))


def uniform(chances: list[float]) -> None:
    """Neither too often small, nor the p-values of another law."""
    assert stats.kstest(chances, "uniform").pvalue > 1e-4


def test_sound_data_have_uniform_p_values() -> None:
    """With skewed margins, empty strata, strata of few rows: where asymptotic tests go wrong."""
    rng = np.random.default_rng(3)
    rows, columns = np.array([0.6, 0.3, 0.09, 0.01]), np.array([0.5, 0.44, 0.05, 0.007, 0.003])
    sizes = [20, 100, 0, 3, 5000, 700]
    found: dict[str, list[float]] = {"table": [], "summed": [], "law": [], "law summed": [], "permuted": []}
    for trial in range(300):
        table = np.stack(
            [rng.multinomial(size, np.outer(rows, columns).reshape(-1)).reshape(4, 5) for size in sizes]
        )
        found["table"].append(audit_tests.chi_square_tail(*audit_tests.independence(table)[:2]))
        found["summed"].append(audit_tests.chi_square_tail(*audit_tests.independence_summed(table)))
        counts, law = table.sum(1), np.tile(columns, (len(sizes), 1))
        found["law"].append(audit_tests.chi_square_tail(*audit_tests.against_law(counts, law)[:2]))
        found["law summed"].append(audit_tests.chi_square_tail(*audit_tests.against_law_summed(counts, law)))
        if trial < 100:
            found["permuted"].append(audit_tests.permuted(table, 99, rng) - rng.random() / 100)
    for chances in found.values():
        uniform(chances)


@pytest.mark.parametrize("shuffled", [True, False])
def test_permutations_are_uniform_however_they_are_drawn(
    shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By shuffling the rows and by drawing the cells: the same law."""
    monkeypatch.setattr(audit_tests, "_shuffles", lambda table, times: shuffled)
    rng = np.random.default_rng(6)
    joint = np.outer([0.5, 0.3, 0.2], [0.6, 0.3, 0.1]).reshape(-1)
    chances = []
    for _ in range(200):
        table = rng.multinomial(300, joint, size=2).reshape(2, 3, 3)
        chances.append(audit_tests.permuted(table, 49, rng) - rng.random() / 50)
    uniform(chances)


def test_summed_strata_see_what_each_alone_cannot() -> None:
    """A hundred strata, each with the same small dependence."""
    rng = np.random.default_rng(4)
    joint = np.array([[0.27, 0.23], [0.23, 0.27]]).reshape(-1)
    table = rng.multinomial(60, joint, size=200).reshape(200, 2, 2)
    assert audit_tests.chi_square_tail(*audit_tests.independence_summed(table)) < 1e-9


def test_something_the_law_never_makes_is_off() -> None:
    counts = np.array([[1000, 1]])
    assert audit_tests.chi_square_tail(*audit_tests.against_law(counts, np.array([[1.0, 0.0]]))[:2]) == 0.0


@pytest.mark.parametrize(("most", "vocab", "low", "high"), [(6, 2, 1, 3), (4, 2, 1, 2), (5, 3, 1, 2)])
def test_the_laws_of_lengths_are_those_of_draws(most: int, vocab: int, low: int, high: int) -> None:
    """Words drawn one by one until n differ, then shuffled; all words at the end of a small space."""
    rng = np.random.default_rng(5)
    lengths = np.concatenate([np.full(vocab**length, length - low) for length in range(low, high + 1)])
    rates = 1.0 / vocab ** (lengths + low)
    drawn = np.argsort(rng.exponential(size=(100_000, len(lengths))) / rates, axis=1)
    found = length_laws(most, vocab, low, high)
    assert found is not None
    one, other = found
    for n in range(2, most + 1):
        named = lengths[rng.permuted(drawn[:, :n], axis=1)]
        counts = np.zeros((high - low + 1,) * 2, np.int64)
        np.add.at(counts, (named[:, 0], named[:, 1]), 1)
        for seen, law in ((counts.sum(1)[None], one[n][None]), (counts, other[n])):
            assert audit_tests.chi_square_tail(*audit_tests.against_law(seen, law)[:2]) > 1e-4


def test_the_law_of_two_words_tokens_is_that_of_all_pairs() -> None:
    """Every pair of different words of one length, counted."""
    vocab, groups = 3, 3
    law = token_pair_law(vocab, 1, 3)
    for length in (1, 2, 3):
        numbers = np.arange(vocab**length)
        first = numbers // vocab ** (length - 1)
        pairs = [(a, b) for a in numbers for b in numbers if a != b]
        counts = np.zeros((groups, groups))
        for a, b in pairs:
            counts[first[a], first[b]] += 1
        np.testing.assert_allclose(
            law[length - 1, length - 1], counts / counts.sum(1, keepdims=True), atol=1e-12
        )
