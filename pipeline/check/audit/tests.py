"""The tests of an audit: chi-square of counts, mutual information, held-out gain, Holm's correction.

All of them work on contingency tables, so their cost does not depend on the number of examples.
Sources: Cochran 1954 (expected counts of 5); Mantel 1963 (sums over strata); Miller 1955 (bias of
information); Holm 1979.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.core.rng import STATE_WORDS
from .shuffle import shuffle_tables

LEAST_EXPECTED = 5.0
_TINY = 1e-300
_MOST_SUMMED = 400
# Permutations of a pair: the fewest and the most, seconds for all of them, for a row of a shuffled table, for
# a cell of one that is drawn, and for any number of draws of a cell.
_PERMUTATIONS = (19, 199)
_SECONDS, _SHUFFLED, _DRAWN, _CELL = 0.15, 8e-9, 2e-7, 2e-5


def chi_square_tail(statistic: float, freedom: float) -> float:
    """P(chi-square with `freedom` degrees > statistic): the upper regularised incomplete gamma function."""
    a, x = freedom / 2, statistic / 2
    if freedom <= 0 or x <= 0:
        return 1.0
    log_front = a * math.log(x) - x - math.lgamma(a)
    if x < a + 1:  # the series of the lower function
        term = total = 1.0 / a
        step = a
        while abs(term) > abs(total) * 1e-16:
            step += 1
            term *= x / step
            total += term
        return max(0.0, 1.0 - total * math.exp(log_front))
    # The continued fraction of the upper one, by Lentz's method.
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for n in range(1, 1_000_000):
        an = -n * (n - a)
        b += 2
        d = an * d + b
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + an / c
        c = c if abs(c) > _TINY else _TINY
        h *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, math.exp(max(log_front, -745.0)) * h) if log_front > -745 else 0.0


def against_law(counts: NDArray[np.int64], law: NDArray[np.float64]) -> tuple[float, int, float]:
    """(statistic, degrees of freedom, bits) of counts [strata, values] against their laws.

    bits: how far the counts are from the laws (relative entropy a row, less its bias; it may be below 0).
    Each stratum's total is given; values of the least expected counts are pooled. A count where the law has
    0 is infinitely far off. Strata with NaN are left out.
    """
    statistic, freedom, nats, total = 0.0, 0, 0.0, 0
    for row, chances in zip(counts, law, strict=True):
        size = int(row.sum())
        if size == 0 or np.isnan(chances).any():
            continue
        expected = size * chances
        if (row[chances <= 0] > 0).any():
            return math.inf, max(freedom, 1), math.inf
        total += size
        observed, expected = _pooled(row.astype(np.float64), expected)
        if len(expected) > 1:
            statistic += float(((observed - expected) ** 2 / expected).sum())
            freedom += len(expected) - 1
            held = observed > 0
            nats += float((observed[held] * np.log(observed[held] / expected[held])).sum())
            nats -= (len(expected) - 1) / 2
    return statistic, freedom, nats / max(total, 1) / math.log(2)


def against_law_summed(counts: NDArray[np.int64], law: NDArray[np.float64]) -> tuple[float, int]:
    """(statistic, degrees of freedom) of counts [strata, values] summed over strata before they are compared.

    A small deviation that is alike in all strata drowns in their many degrees of freedom, and is seen here.
    """
    held = ~np.isnan(law).any(1) & (counts.sum(1) > 0)
    sizes, chances = counts[held].sum(1).astype(float), law[held]
    expected = sizes @ chances
    if not len(sizes):
        return 0.0, 0
    covariance = np.diag(expected) - (chances * sizes[:, None]).T @ chances
    return _quadratic(counts[held].sum(0) - expected, covariance)


def independence_summed(table: NDArray[np.int64]) -> tuple[float, int]:
    """(statistic, degrees of freedom) of a table [strata, features, targets], its strata summed: Mantel and
    Haenszel's test for any number of values. Nothing (0, 0) where that would be over _MOST_SUMMED numbers.
    """
    table = table[table.sum((1, 2)) > 1].astype(float)
    if len(table) < 2 or math.prod(table.shape[1:]) > _MOST_SUMMED:
        return 0.0, 0
    sizes = table.sum((1, 2))
    rows, columns = table.sum(2), table.sum(1)
    apart = (table - rows[:, :, None] * columns[:, None, :] / sizes[:, None, None]).sum(0).reshape(-1)
    across = [
        np.einsum("gi,ij->gij", shares, np.eye(shares.shape[1]))
        - shares[:, :, None] * shares[:, None, :] / size
        for shares, size in ((rows, sizes[:, None, None]), (columns, sizes[:, None, None]))
    ]
    covariance = np.einsum("gik,gjl->ijkl", across[0] / (sizes - 1)[:, None, None], across[1], optimize=True)
    return _quadratic(apart, covariance.reshape(len(apart), len(apart)))


def _quadratic(apart: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[float, int]:
    """apart' covariance^+ apart, and the covariance's rank; values that expect too little are left out."""
    held = np.diag(covariance) >= LEAST_EXPECTED
    values, vectors = np.linalg.eigh(covariance[np.ix_(held, held)])
    if not len(values):
        return 0.0, 0
    kept = values > values.max() * 1e-9
    return float(((vectors[:, kept].T @ apart[held]) ** 2 / values[kept]).sum()), int(kept.sum())


def _pooled(
    observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same with the values of least expectation put together until each expects enough."""
    order = np.argsort(expected, kind="stable")
    observed, expected = observed[order], expected[order]
    below = int(np.searchsorted(expected, LEAST_EXPECTED))
    if below == 0:
        return observed, expected
    while below < len(expected) and expected[:below].sum() < LEAST_EXPECTED:
        below += 1
    joined = [np.concatenate([[values[:below].sum()], values[below:]]) for values in (observed, expected)]
    keep = joined[1] > 0
    return joined[0][keep], joined[1][keep]


def independence(table: NDArray[np.int64]) -> tuple[float, int, float]:
    """(statistic, degrees of freedom, bits) of a table [strata, features, targets], summed over its strata.

    Rare features and targets of a stratum are pooled until every cell expects enough. bits: the mutual
    information within strata, less its bias (degrees of freedom / 2N ln 2); it may be below 0.
    """
    statistic, freedom, nats, total = 0.0, 0, 0.0, 0
    for stratum in table:
        size = int(stratum.sum())
        total += size
        pooled = _pooled_table(stratum.astype(np.float64))
        if min(pooled.shape) < 2:
            continue
        expected = pooled.sum(1)[:, None] * pooled.sum(0)[None, :] / size
        statistic += float(((pooled - expected) ** 2 / expected).sum())
        own = (pooled.shape[0] - 1) * (pooled.shape[1] - 1)
        freedom += own
        held = pooled > 0
        nats += float((pooled[held] * np.log(pooled[held] / expected[held])).sum()) - own / 2
    return statistic, freedom, nats / max(total, 1) / math.log(2)


def _pooled_table(table: NDArray[np.float64]) -> NDArray[np.float64]:
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    # Margins alone decide what is pooled, so the test stays one given the margins.
    margins = [_Margin(table.sum(axis)) for axis in (1, 0)]
    size = table.sum()
    while min(len(margin.heap) for margin in margins) > 1:
        rows, columns = (margin.heap for margin in margins)
        if rows[0][0] * columns[0][0] >= LEAST_EXPECTED * size:
            break
        margins[0 if rows[0][0] * len(rows) < columns[0][0] * len(columns) else 1].join()
    return margins[1].pooled(margins[0].pooled(table).T).T


class _Margin:
    """The sums of a table's rows, of which the two smallest are joined again and again."""

    def __init__(self, sums: NDArray[np.float64]) -> None:
        self.group = np.arange(len(sums))
        self.heap = [(float(value), place) for place, value in enumerate(sums)]
        heapq.heapify(self.heap)

    def join(self) -> None:
        first, place = heapq.heappop(self.heap)
        second, into = self.heap[0]
        heapq.heapreplace(self.heap, (first + second, into))
        self.group[self.group == place] = into

    def pooled(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows of a table, those of one group added up."""
        if len(self.heap) == len(table):
            return table
        groups, into = np.unique(self.group, return_inverse=True)
        sums = np.zeros((len(groups), table.shape[1]))
        np.add.at(sums, into, table)
        return sums


def gain(halves: NDArray[np.int64], law: NDArray[np.float64] | None = None) -> float:
    """How much more often the best guess from the feature is right than the best one without it.

    halves: [2, strata, features, targets]; guesses are learned on one half, stratum by stratum, and counted
    on the other. With a law [strata, features, targets] the gain is over the guess that the law allows.
    """
    total = right = base = 0
    for learned, tried in (halves, halves[::-1]):
        plain = learned.sum(1, keepdims=True) if law is None else np.nan_to_num(law)
        total += int(tried.sum())
        right += _hits(learned, tried)
        base += _hits(np.broadcast_to(plain, learned.shape), tried)
    return (right - base) / total if total else 0.0


def _hits(guessed: NDArray[Any], tried: NDArray[np.int64]) -> int:
    return int(np.take_along_axis(tried, guessed.argmax(-1)[..., None], -1).sum())


def affordable(table: NDArray[np.int64]) -> int:
    """How many permutations (or draws) of a table take about _SECONDS, within _PERMUTATIONS."""
    fixed = 0 if _shuffles(table, 50) else _CELL * table.size
    count = min(_SHUFFLED * int(table.sum()), _DRAWN * table.size)
    return int(np.clip((_SECONDS - fixed) / max(count, 1e-9), *_PERMUTATIONS))


def _shuffles(table: NDArray[Any], times: int) -> bool:
    """Whether shuffling the rows of a table is faster than drawing its cells."""
    return bool(_SHUFFLED * times * table.sum() < table.size * (_CELL + _DRAWN * times))


def permuted(table: NDArray[np.int64], times: int, rng: np.random.Generator) -> float:
    """The share of `times` permutations of the targets within strata that look at least as dependent.

    table: [strata, features, targets]. (1 + those as far) / (1 + times), of the statistic of `independence`.
    """
    held = [_pooled_table(layer.astype(np.float64)).astype(np.int64) for layer in table]
    held = [layer for layer in held if min(layer.shape) > 1]
    total, drawn = 0.0, np.zeros(times)
    for layer in held:
        expected = layer.sum(1)[:, None] * layer.sum(0)[None, :] / layer.sum()
        total += float((layer**2 / expected).sum())
        if _shuffles(layer, times):
            statistics = np.empty(times)
            key = rng.integers(1 << 63, size=2, dtype=np.uint64)
            state = np.empty(STATE_WORDS, dtype=np.uint64)
            targets = np.repeat(np.arange(layer.shape[1], dtype=np.int32), layer.sum(0))
            shuffle_tables(key, state, targets, layer.sum(1), expected, np.empty_like(layer), statistics)
            drawn += statistics
            continue
        left = np.tile(layer.sum(0), (times, 1))
        for row, expects in zip(layer.sum(1), expected, strict=True):
            one = _hypergeometric(left, int(row), rng)
            left -= one
            drawn += (one**2 / expects).sum(1)
    return float((1 + (drawn >= total * (1 - 1e-12)).sum()) / (1 + times))


def redrawn(
    counts: NDArray[np.int64], law: NDArray[np.float64], times: int, rng: np.random.Generator
) -> float:
    """The share of `times` draws from the laws that look at least as far from them as counts [strata,
    values]."""
    total, drawn = 0.0, np.zeros(times)
    for row, chances in zip(counts, law, strict=True):
        size = int(row.sum())
        if size == 0 or np.isnan(chances).any():
            continue
        held = chances > 0
        if row[~held].any():
            return 1 / (1 + times)
        expected = size * chances[held]
        total += float(((row[held] - expected) ** 2 / expected).sum())
        one = rng.multinomial(size, chances[held] / chances[held].sum(), size=times)
        drawn += ((one - expected) ** 2 / expected).sum(1)
    return float((1 + (drawn >= total * (1 - 1e-12)).sum()) / (1 + times))


def sign_tail(more: int, total: int) -> float:
    """P(at least `more` of `total` fair coins), exact."""
    if more <= 0:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(more, total + 1)
    ]
    most = max(logs)
    return min(1.0, math.exp(most) * sum(math.exp(term - most) for term in logs))


def _hypergeometric(left: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` balls without replacement from each urn of left [urns, colours]: counts of the same shape."""
    out = np.empty_like(left)
    rest = left.sum(1)
    more = np.full(len(left), wanted, dtype=np.int64)
    for colour in range(left.shape[1]):
        rest = rest - left[:, colour]
        out[:, colour] = rng.hypergeometric(left[:, colour], rest, more)
        more = more - out[:, colour]
    return out


def holm(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values corrected for their number by Holm's method: float64 [tests], in the order given."""
    order = np.argsort(chances, kind="stable")
    steps = np.maximum.accumulate(chances[order] * np.arange(len(chances), 0, -1))
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected
