"""Promise 7's ground: uniform shuffles, each a pure function of its size and its name."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from tasks.errors import OstracaError
from tasks.permutation import shuffled
from tasks.rng import numpy_generator


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
