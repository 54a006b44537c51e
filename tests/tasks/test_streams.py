"""Promise 1: one random stream per address, equal to NumPy's, no two alike."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ostraca.tasks.core.kernels import kernel
from ostraca.tasks.core.rng import STATE_WORDS, integers, numpy_generator, seed_stream, stream_key, uniform53

SPECIAL_BOUNDS = (1, 2, 3, 50, 2**16, 2**31 - 1, 2**31, 2**31 + 1, 3 * 2**30, 2**32 - 2, 2**32 - 1)
KEYS = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
INDICES = st.one_of(st.integers(0, 100), st.integers(0, 2**63 - 1))


@kernel
def _draw(key, index, attempt, bounds, state, drawn):
    """Draw integers below bounds int64 [draws], or 53 bits where a bound is 0."""
    seed_stream(state, key, index, attempt)
    for place in range(len(bounds)):
        drawn[place] = uniform53(state) if bounds[place] == 0 else integers(state, bounds[place])


def draw(key: NDArray[np.uint64], index: int, bounds: list[int], attempt: int = 0) -> list[int]:
    drawn = np.empty(len(bounds), dtype=np.int64)
    _draw(key, index, attempt, np.array(bounds, np.int64), np.empty(STATE_WORDS, np.uint64), drawn)
    return drawn.tolist()


def words_of(key: NDArray[np.uint64], index: int, count: int, attempt: int = 0) -> set[int]:
    """The stream's first `count` draws of 53 bits."""
    return set(draw(key, index, [0] * count, attempt))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    KEYS,
    INDICES,
    st.integers(0, 2**62),
    st.lists(st.one_of(st.sampled_from(SPECIAL_BOUNDS), st.integers(1, 2**32 - 1)), max_size=150),
)
def test_integers_are_those_of_numpy(
    key: tuple[int, int], index: int, attempt: int, bounds: list[int]
) -> None:
    """Any sequence of bounds draws what `Generator.integers` draws from `numpy_generator`."""
    words = np.array(key, np.uint64)
    numpy = numpy_generator(words, index, attempt)
    assert draw(words, index, bounds, attempt) == [int(numpy.integers(bound)) for bound in bounds]


@pytest.mark.parametrize("bound", SPECIAL_BOUNDS)
def test_long_streams_of_one_bound_are_those_of_numpy(bound: int) -> None:
    """Over many blocks, and with bounds that reject up to half of the draws (2^31 + 1)."""
    key = stream_key("t", 1, {}, 0, "train")
    expected = numpy_generator(key, 5).integers(bound, size=3000)
    assert draw(key, 5, [bound] * 3000) == expected.tolist()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(KEYS, INDICES, st.lists(st.sampled_from([0, 7]), min_size=1, max_size=80))
def test_uniform53_is_numpys_random(key: tuple[int, int], index: int, plan: list[int]) -> None:
    """At an even place of the stream (so 7s come in pairs): `Generator.random() * 2**53`."""
    words = np.array(key, np.uint64)
    bounds = [bound for entry in plan for bound in ([0] if entry == 0 else [2**16, 2**16])]
    numpy = numpy_generator(words, index)
    expected = [int(numpy.integers(b)) if b else int(numpy.random() * 2**53) for b in bounds]
    assert draw(words, index, bounds) == expected


def test_key_is_the_published_hash() -> None:
    """BLAKE2b-128 of canonical JSON, recomputed here from hashlib and json alone, and a golden value."""
    config = {"b": None, "a": [1, True]}
    text = '["depo",3,{"a":[1,true],"b":null},17,"test"]'
    assert json.loads(text) == ["depo", 3, config, 17, "test"]
    digest = hashlib.blake2b(text.encode(), digest_size=16, person=b"ostraca stream").digest()
    expected = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    assert stream_key("depo", 3, config, 17, "test").tolist() == expected
    golden = [4368048493032243278, 8208531743010777379]
    assert expected == golden, (
        "The stream's key changed: every example of every corpus ever built changes with it. "
        "Never change it under a task's present VERSION."
    )


def test_first_draws_are_fixed() -> None:
    """Golden draws, so that the stream holds even where NumPy's generators would change."""
    key = stream_key("depo", 3, {"b": None, "a": [1, True]}, 17, "test")
    assert draw(key, 0, [0, 100, 100, 100, 2**32 - 1]) == [4914474361117416, 42, 50, 45, 3779943769], (
        "The random stream changed: every example of every corpus ever built changes with it. "
        "Raise the VERSION of every task."
    )


def test_every_part_of_an_address_changes_the_stream() -> None:
    """No two of these addresses share one of their first 200 words (chance: below 1e-8)."""
    config = {"N": 5, "K": 8}
    keys = [
        stream_key("depo", 1, config, 0, "train"),
        stream_key("depo", 1, config, 1, "train"),
        stream_key("depo", 1, config, 0, "test"),
        stream_key("depo", 2, config, 0, "train"),
        stream_key("depo", 1, {**config, "N": 6}, 0, "train"),
        stream_key("depo", 1, {**config, "qa": False}, 0, "train"),
        stream_key("brevo", 1, config, 0, "train"),
    ]
    streams = [words_of(key, index, 200) for key in keys for index in (0, 1, 2, 255, 256, 2**32, 2**62)]
    streams += [words_of(keys[0], 0, 200, attempt) for attempt in (1, 2, 2**32)]
    assert len(set.union(*streams)) == sum(map(len, streams)) == 200 * len(streams)


def test_key_does_not_depend_on_the_order_of_the_config() -> None:
    one = stream_key("depo", 1, {"N": 5, "K": 8}, 0, "train")
    assert (one == stream_key("depo", 1, {"K": 8, "N": 5}, 0, "train")).all()


def test_neighbouring_addresses_share_nothing() -> None:
    """Trap: seed + index. 40 seeds x 100 indices x 8 words are all different."""
    streams = [
        words_of(stream_key("depo", 1, {}, seed, "train"), index, 8)
        for seed in range(40)
        for index in range(100)
    ]
    assert len(set.union(*streams)) == 40 * 100 * 8


def test_huge_seeds_are_different() -> None:
    """A seed is hashed whole: nothing of it is cut off."""
    keys = [tuple(stream_key("depo", 1, {}, seed, "train")) for seed in (0, 2**32, 2**64, 2**128, 10**60)]
    assert len(set(keys)) == len(keys)
