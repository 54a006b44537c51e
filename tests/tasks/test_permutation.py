"""Promise 7's ground: uniform permutations, each a pure function of its size and its name."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from ostraca.tasks.core.permutation import (
    ROUNDS,
    TABLE_SIZE,
    Permutation,
    _permutation,
    permutation,
    shuffled,
)
from ostraca.tasks.core.rng import numpy_generator
from ostraca.tasks.errors import OstracaError


def test_every_small_size_is_permuted() -> None:
    """A bijection for every size 0..300, under two names."""
    for name in (("a",), ("b", 7)):
        for size in range(301):
            assert np.sort(shuffled(size, *name)).tolist() == list(range(size))


@pytest.mark.parametrize("size", [2**16, 100_003, 2**20 + 1])
def test_larger_sizes_are_permuted_and_scattered(size: int) -> None:
    """A bijection; the distance of two neighbours is uniform on 1..size-1 (p > 1e-4)."""
    order = shuffled(size, "large")
    assert order.dtype == np.int64
    assert (np.sort(order) == np.arange(size)).all()
    distances = np.diff(order) % size
    assert stats.chisquare(np.bincount(distances * 50 // size, minlength=50)).pvalue > 1e-4


@pytest.mark.parametrize("size", [1, 2, 5, 64, 1000])
def test_shuffles_can_be_replayed_with_numpy(size: int) -> None:
    """Fisher and Yates from the end, keyed by BLAKE2b of the name: written again from that sentence."""
    text = json.dumps(["order", 3, "epoch", 0], separators=(",", ":")).encode()
    digest = hashlib.blake2b(text, digest_size=16, person=b"ostraca shuffle").digest()
    key = np.array([int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")], np.uint64)
    draws = numpy_generator(key, 0)
    order = list(range(size))
    for place in range(size - 1, 0, -1):
        chosen = int(draws.integers(place + 1))
        order[place], order[chosen] = order[chosen], order[place]
    assert shuffled(size, "order", 3, "epoch", 0).tolist() == order


def test_different_names_shuffle_differently() -> None:
    names: list[tuple[object, ...]] = [("order", seed, epoch) for seed in range(5) for epoch in range(5)]
    names += [("order", "0", 0), (["order", 0], 0), ("other", 0, 0), ("order", 0), ("order", 0, 0, 0)]
    assert len({shuffled(50, *name).tobytes() for name in names}) == len(names)


def test_a_shuffle_is_a_function_of_its_name() -> None:
    one, other = shuffled(50, "order", {"b": 1, "a": 2}), shuffled(50, "order", {"a": 2, "b": 1})
    assert (one == other).all()


@pytest.mark.parametrize("size", [2, 5, 7, 16, 17])
def test_each_place_is_uniform_over_names(size: int) -> None:
    """What stands first and last, over 4,000 names (p > 1e-4)."""
    ends = np.array([shuffled(size, "place", n)[[0, -1]] for n in range(4000)])
    for end in (0, 1):
        assert stats.chisquare(np.bincount(ends[:, end], minlength=size)).pvalue > 1e-4


def test_all_orders_are_equally_likely() -> None:
    """All 5! = 120 orders of five over 8,000 names (p > 1e-4): odd ones as well as even ones."""
    orders = Counter(tuple(shuffled(5, "pair", n).tolist()) for n in range(8000))
    assert len(orders) == 120
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4


def test_too_many_to_shuffle_are_refused() -> None:
    """Before anything is allocated."""
    with pytest.raises(OstracaError, match="4294967296 things"):
        shuffled(2**32, "x")


def test_shuffles_are_fixed() -> None:
    """Golden values."""
    assert shuffled(12, "golden", 1).tolist() == [3, 8, 4, 11, 2, 9, 1, 5, 0, 7, 6, 10], (
        "Shuffles changed: every loader's order changes, so no run can resume from a saved state. "
        "Raise the version of the loaders' state if that is meant."
    )


# ---- one number at a time


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every size goes through the Feistel network, as only sizes over TABLE_SIZE do."""
    _permutation.cache_clear()
    monkeypatch.setattr("ostraca.tasks.core.permutation.TABLE_SIZE", 0)
    yield
    _permutation.cache_clear()


def assert_bijection(found: Permutation) -> None:
    numbers = np.arange(found.size)
    there = found.forward(numbers)
    assert (np.sort(there) == numbers).all()
    assert (found.backward(there) == numbers).all()
    assert (found.forward(found.backward(numbers)) == numbers).all()
    assert (numbers == np.arange(found.size)).all(), "the numbers given were changed"


def test_every_small_permutation_is_a_bijection_with_its_inverse() -> None:
    for size in range(1, 200):
        assert_bijection(permutation(size, "a", size))


@pytest.mark.usefixtures("networks")
def test_every_small_network_is_a_bijection_with_its_inverse() -> None:
    for size in range(1, 300):
        assert_bijection(permutation(size, "a", size))


@pytest.mark.parametrize("size", [TABLE_SIZE, TABLE_SIZE + 1, 2**21, 2**21 + 1, 3_000_017])
def test_large_permutations_are_bijections(size: int) -> None:
    found = permutation(size, "large")
    assert_bijection(found)
    assert (len(found.order) > 0) == (size <= TABLE_SIZE)


@pytest.mark.parametrize("size", [160_000_000, 2**40 + 3, 2**61 + 1, 2**62])
def test_huge_permutations_go_there_and_back(size: int) -> None:
    """Samples of 100,000: no two alike, all within the size, evenly spread, and back again."""
    found = permutation(size, "huge")
    numbers = np.unique(np.random.default_rng(1).integers(size, size=100_000))
    numbers = np.concatenate([numbers, [0, size - 1]]) if numbers[0] > 0 else numbers
    there = found.forward(numbers)
    assert there.min() >= 0
    assert there.max() < size
    assert len(np.unique(there)) == len(np.unique(numbers))
    assert (found.backward(there) == numbers).all()
    bins = np.bincount((there / size * 64).astype(int), minlength=64)[:64]
    assert stats.chisquare(bins).pvalue > 1e-4
    # Numbers in a row, as a corpus asks for them, and the lowest bits.
    there = found.forward(np.arange(100_000))
    assert stats.chisquare(np.bincount((there / size * 64).astype(int), minlength=64)[:64]).pvalue > 1e-4
    if size > 2**32:
        assert stats.chisquare(np.bincount(there % 64, minlength=64)).pvalue > 1e-4


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("size", [2, 3, 5, 7, 16, 17])
def test_networks_put_every_number_everywhere_equally_often(size: int) -> None:
    """All (number, place) pairs over 12,000 keys: each place of each number is uniform (p > 1e-5)."""
    there = np.array([permutation(size, "key", key).forward(np.arange(size)) for key in range(12_000)])
    for number in range(size):
        assert stats.chisquare(np.bincount(there[:, number], minlength=size)).pvalue > 1e-5


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("size", [3, 4, 5])
def test_networks_give_all_orders_equally_often(size: int) -> None:
    """All size! orders, odd ones as well as even ones, over 24,000 keys (p > 1e-5).

    The tiniest domains show the bias of too few rounds first.
    """
    orders = Counter(
        tuple(permutation(size, "order", key).forward(np.arange(size)).tolist()) for key in range(24_000)
    )
    assert len(orders) == math.factorial(size)
    assert stats.chisquare(list(orders.values())).pvalue > 1e-5


@pytest.mark.usefixtures("networks")
def test_networks_treat_pairs_alike() -> None:
    """The distance of neighbours' places and of numbers a bit apart: uniform on 1..size-1 (p > 1e-4)."""
    found = permutation(1_048_573, "pairs")
    there = found.forward(np.arange(found.size))
    for step in (1, 2, 1024, 2**19):
        distances = (there[step:] - there[:-step]) % found.size
        assert stats.chisquare(np.bincount(distances * 50 // found.size, minlength=50)).pvalue > 1e-4
    # The number of fixed points is about Poisson(1), of cycles about log(size).
    fixed = [
        int((permutation(100_003, "f", k).forward(np.arange(100_003)) == np.arange(100_003)).sum())
        for k in range(60)
    ]
    assert 30 < sum(fixed) < 95


def test_a_network_can_be_replayed_with_plain_integers() -> None:
    """Written again from the description, in tests/oracles."""
    from oracles.capo import permuted

    name = json.dumps(["x", 7], separators=(",", ":")).encode()
    for size in (5, 1000, TABLE_SIZE + 1, 160_000_000, 2**62):
        numbers = [0, 1, 2, size // 3, size - 1]
        found = permutation(size, "x", 7).forward(np.array(numbers))
        assert found.tolist() == [permuted(size, name, number) for number in numbers]
    assert ROUNDS == 12


def test_permutations_differ_by_name_and_are_functions_of_it() -> None:
    names: list[tuple[object, ...]] = [("a", 1), ("a", 2), ("a", "1"), ("b", 1), ("a",), ("a", [1])]
    for size in (50, 2_000_000):
        there = [permutation(size, *name).forward(np.arange(50)).tobytes() for name in names]
        assert len(set(there)) == len(names)
        _permutation.cache_clear()
        assert [permutation(size, *name).forward(np.arange(50)).tobytes() for name in names] == there


def test_impossible_sizes_are_refused() -> None:
    for size in (0, -1, 2**62 + 1):
        with pytest.raises(OstracaError, match="cannot be permuted"):
            permutation(size, "x")


def test_permutations_are_fixed() -> None:
    """Golden values."""
    assert permutation(12, "golden", 1).forward(np.arange(12)).tolist() == GOLDEN_SMALL, WHO_BREAKS
    assert permutation(160_000_000, "golden", 1).forward(np.arange(5)).tolist() == GOLDEN_LARGE, WHO_BREAKS


WHO_BREAKS = "Permutations changed: every Capo corpus has other people in another order. Raise its VERSION."
GOLDEN_SMALL = [7, 4, 11, 10, 3, 1, 6, 0, 9, 2, 8, 5]
GOLDEN_LARGE = [139717567, 23748280, 68617208, 105326934, 144290348]
