"""Mixtures: the weights hold in every batch and for every lane, each source comes in its own order."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law import Law, MemorySource, Row, lines_in
from streams import CONFIG, resume_after_every_step, take

from ostraca.loaders import CorpusSource, Mixture, TaskSource, TokenStream
from ostraca.tasks.errors import ConfigError

LENGTH = 12


def rows(first: int, blocks: int, size: int = LENGTH) -> list[list[Row]]:
    """Blocks of four rows, each of one token that no other row has."""
    return [
        [([first + 4 * block + row] * size, [1] * size, [0]) for row in range(4)] for block in range(blocks)
    ]


def at(line: Any, step: int) -> Fraction:
    """A weight at a step."""
    if not isinstance(line, list):
        return Fraction(line)
    if step <= line[0][0]:
        return Fraction(line[0][1])
    for (begin, first), (end, last) in itertools.pairwise(line):
        if step <= end:
            return Fraction(first) + (Fraction(last) - Fraction(first)) * Fraction(step - begin, end - begin)
    return Fraction(line[-1][1])


WEIGHTS = st.one_of(
    st.sampled_from([0, 1, 2, 0.5, 7.25]),
    st.lists(st.sampled_from([0, 1, 3]), min_size=2, max_size=3).map(
        lambda values: [(13 * number, value) for number, value in enumerate(values)]
    ),
)


@given(
    weights=st.lists(WEIGHTS, min_size=1, max_size=4),
    lanes=st.sampled_from([1, 2, 4, 6]),
    each=st.integers(1, 4),
    seed=st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_the_law_of_mixtures(weights: list[Any], lanes: int, each: int, seed: int) -> None:
    """Every batch has the mixture to within a line a source; every lane has the source's own order."""
    steps, batch = 40, lanes * each
    if any(sum(at(weight, step) for weight in weights) == 0 for step in range(steps)):
        return
    parts = {f"s{number}": rows(1 + 100 * number, 3 + number) for number in range(len(weights))}
    mixture = Mixture(
        {
            name: (MemorySource(blocks), weight)
            for (name, blocks), weight in zip(parts.items(), weights, strict=True)
        }
    )
    stream = TokenStream(
        mixture,
        batch_size=batch,
        length=LENGTH,
        mode="padded",
        lanes=lanes,
        seed=seed,
        window_blocks=2,
        remainder="wrap",
        extras=("dataset",),
    )
    law = Law(mode="padded", length=LENGTH, batch_size=lanes, lanes=lanes, seed=seed, remainder="wrap")
    given_lines: dict[tuple[str, int], list[Any]] = {}
    for step, made in enumerate(take(stream, steps)):
        total = sum(at(weight, step) for weight in weights)
        counts = Counter(made["dataset"])
        for name, weight in zip(parts, weights, strict=True):
            assert abs(counts[name] - float(batch * at(weight, step) / total)) < 1.01
        for place, (name, line) in enumerate(zip(made["dataset"], lines_in(made), strict=True)):
            given_lines.setdefault((name, place // each), []).append(line)
    for (name, lane), lines in given_lines.items():
        wanted: list[Any] = []
        epoch = 0
        while len(wanted) < len(lines):
            wanted += [batch[lane] for batch in law.epoch(parts[name], epoch)]
            epoch += 1
        assert lines == wanted[: len(lines)], "not the source's own order"


def test_every_line_of_the_batch_and_every_lane_sees_the_mixture() -> None:
    mixture = Mixture({"a": (MemorySource(rows(1, 9)), 3), "b": (MemorySource(rows(500, 9)), 1)})
    stream = TokenStream(mixture, batch_size=16, length=LENGTH, mode="padded", extras=("dataset",))
    table = np.array([[name == "a" for name in batch["dataset"]] for batch in take(stream, 400)])
    assert np.abs(table.mean(axis=0) - 0.75).max() < 0.02
    assert np.abs(table.mean(axis=1) - 0.75).max() <= 1 / 16
    runs = np.abs(table[:, :8].mean(axis=1) - 0.75)  # of one of two ranks
    assert runs.max() <= 2 / 8


def test_a_schedule_begins_and_ends_where_it_says() -> None:
    easy, hard = MemorySource(rows(1, 9)), MemorySource(rows(500, 9))
    mixture = Mixture({"easy": (easy, [(10, 1), (30, 0)]), "hard": (hard, [(10, 0), (30, 1)])})
    stream = TokenStream(mixture, batch_size=20, length=LENGTH, mode="padded", extras=("dataset",))
    hard_lines = [batch["dataset"].count("hard") for batch in take(stream, 50)]
    assert hard_lines[:11] == [0] * 11
    assert hard_lines[30:] == [20] * 20
    assert all(abs(count - (step - 10)) <= 1 for step, count in enumerate(hard_lines) if 10 <= step <= 30)


@pytest.mark.parametrize("by", ["tokens", "examples"])
@pytest.mark.parametrize("mode", ["padded", "left_aligned", "concat"])
def test_weights_are_of_tokens_or_of_examples(by: str, mode: str) -> None:
    """A source of rows four times as long."""
    short = [[([1] * 10, [1] * 10, [0])] * 40 for _ in range(6)]
    long = [[([2] * 40, [1] * 40, [0])] * 10 for _ in range(6)]
    mixture = Mixture({"short": (MemorySource(short), 1), "long": (MemorySource(long), 1)}, by=by)
    stream = TokenStream(mixture, batch_size=20, length=40, mode=mode)
    ids = np.concatenate([batch["input_ids"].ravel() for batch in take(stream, 60)])
    tokens = Counter(ids.tolist())
    counts = {"short": tokens[1], "long": tokens[2]}
    if by == "examples":
        counts = {"short": tokens[1] / 10, "long": tokens[2] / 40}
    assert counts["short"] / counts["long"] == pytest.approx(1, abs=0.06)


def mixture_of_all(corpus: Path) -> Mixture:
    return Mixture(
        {
            "built": (CorpusSource(corpus), [(0, 1), (8, 3)]),
            "test": (CorpusSource(corpus, split="test"), 1),
            "fresh": (TaskSource("depo", CONFIG, seed=9), 2),
        }
    )


@pytest.mark.parametrize("mode", ["left_aligned", "padded"])
def test_resume_after_every_step_at_another_world_size(corpus: Path, mode: str) -> None:
    resume_after_every_step(
        lambda **rank: TokenStream(
            mixture_of_all(corpus), batch_size=12, length=64, mode=mode, seed=1, **rank
        )
    )


def test_each_source_counts_its_own_epochs() -> None:
    """A small source comes again and again, in another order, while a large one is at its first."""
    small, large = MemorySource(rows(1, 2)), MemorySource(rows(500, 90))
    stream = TokenStream(
        Mixture({"small": (small, 1), "large": (large, 1)}),
        batch_size=4,
        length=LENGTH,
        mode="padded",
        lanes=1,
    )
    lines = [line[0][0] for batch in take(stream, 32) for line in lines_in(batch)]
    of_small = [token for token in lines if token < 500]
    passes = [of_small[first : first + 8] for first in range(0, 64, 8)]
    assert all(sorted(each) == list(range(1, 9)) for each in passes)
    assert len({tuple(each) for each in passes}) > 6
    of_large = [token for token in lines if token >= 500]
    assert len(set(of_large)) == len(of_large)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": 0}, "all weights are 0 at step 0"),
        ({"a": [(0, 1), (5, 0)], "b": 0}, "all weights are 0 at step 5"),
        ({"a": -1}, "weight of 'a' is -1"),
        ({"a": float("nan")}, "weight of 'a' is nan"),
        ({"a": float("inf")}, "weight of 'a' is inf"),
        ({"a": "much"}, "weight of 'a' is 'much'"),
        ({"a": []}, "weight of 'a' is empty"),
        ({"a": [(5, 1), (5, 2)]}, "its steps must rise"),
        ({"a": [(-5, 1)]}, "has a step -5"),
        ({"a": [1, 2]}, r"must be a number or \[\(step, weight\), ...\]"),
        ({}, "a mixture is of 1 to 128 sources"),
    ],
)
def test_bad_weights(weights: dict[str, Any], words: str) -> None:
    source = TaskSource("depo", CONFIG)
    with pytest.raises(ConfigError, match=words) as caught:
        Mixture({name: (source, weight) for name, weight in weights.items()})
    assert "\n" not in str(caught.value)


def test_what_a_mixture_has_not() -> None:
    source = MemorySource(rows(1, 3))
    mixture = Mixture({"a": (source, 1)})
    with pytest.raises(ConfigError, match="epochs=1: a mixture is endless"):
        TokenStream(mixture, batch_size=2, length=LENGTH, epochs=1)
    with pytest.raises(ConfigError, match="length=None is the longest"):
        TokenStream(Mixture({"a": (source, 1), "b": (source, 1)}), batch_size=2, mode="padded")
    with pytest.raises(ConfigError, match="'a' must be \\(source, weight\\)"):
        Mixture({"a": source})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="by='lines'"):
        Mixture({"a": (source, 1)}, by="lines")
    packed = MemorySource(rows(1, 3), packed=LENGTH)
    with pytest.raises(ConfigError, match="several examples"):
        take(TokenStream(Mixture({"a": (packed, 1)}, by="examples"), batch_size=2), 1)
