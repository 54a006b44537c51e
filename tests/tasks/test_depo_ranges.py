"""Promise 1: an example depends on its address alone, not on the batch, the range or the machine's mode."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from depo_configs import VARIED, key_of, make
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.tasks import examples
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.depo import TASK, check, generate_depo_example
from ostraca.tasks.depo.generate import generate

ROOT = Path(__file__).resolve().parents[2]


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(VARIED)),
    st.integers(0, 2**62 - 100),
    st.lists(st.integers(0, 60), max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_split_of_a_range_gives_the_same_rows(
    name: str, first: int, cuts: list[int], draw: random.Random
) -> None:
    """A range of 60 examples at once, cut anywhere, and one by one in any order."""
    config = check(VARIED[name])
    key = key_of(config)
    indices = np.arange(first, first + 60, dtype=np.int64)
    whole = generate(config, key, indices)
    assert whole["index"].to_pylist() == indices.tolist()
    edges = sorted({0, 60, *cuts})
    parts = [generate(config, key, indices[low:high]) for low, high in itertools.pairwise(edges)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole]))
    order = list(range(60))
    draw.shuffle(order)
    shuffled = generate(config, key, indices[order])
    assert shuffled.equals(whole.take(pa.array(order)))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(VARIED)),
    st.lists(st.integers(0, 2**62 - 1), max_size=12),
    st.integers(0, 2**63 - 1),
)
def test_scattered_and_repeated_indices_are_the_single_examples(
    name: str, indices: list[int], seed: int
) -> None:
    """Any list of indices, each twice, equals the one-example API index by index."""
    config = check(VARIED[name])
    twice = np.array(indices + indices[::-1], np.int64)
    rows = rows_of(with_labels(generate(config, key_of(config, seed), twice)))
    assert rows == [generate_depo_example(VARIED[name], seed, int(index)) for index in twice]


@pytest.mark.parametrize("tokens", [1, 100, 1000, 10**9])
def test_batch_size_changes_nothing(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one row up to all rows hold the same rows."""
    config, whole = make(VARIED["default words"], 64)
    monkeypatch.setattr(examples, "BATCH_TOKENS", tokens)
    batches = list(examples.generate_batches(TASK, config, 0, "train", 0, 64))
    assert len(batches) == -(-64 // examples.batch_rows(TASK, config))
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole]))


def test_a_range_need_not_begin_at_zero() -> None:
    config, whole = make(VARIED["separator"], 64)
    small = replace(TASK, mean_tokens=lambda _: 2.0**18)  # batches of four rows
    batches = list(examples.generate_batches(small, config, 0, "train", 13, 30))
    assert [batch.num_rows for batch in batches] == [4] * 7 + [2]
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole.slice(13, 30)]))


def test_no_indices_make_an_empty_batch() -> None:
    config = check({})
    batch = generate(config, key_of(config), np.empty(0, np.int64))
    assert batch.num_rows == 0
    assert batch.schema.equals(TASK.schema({}))


_WITHOUT_JIT = """
import json, sys
import numba, numpy as np
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.depo import TASK
from ostraca.tasks.core.permutation import shuffled
from ostraca.tasks.core.rng import stream_key
assert numba.config.DISABLE_JIT
rows, verdicts = [], []
for given in json.load(sys.stdin):
    config = TASK.check(given)
    batch = TASK.generate(config, stream_key("depo", TASK.version, config, 0, "train"), np.arange(5))
    rows.append(rows_of(batch))
    damaged = batch.set_column(3, batch.schema.field("n"), batch["n"].take([4, 3, 2, 1, 0]))
    verdicts.append([TASK.validate(part, config).codes.tolist() for part in (batch, damaged)])
order = shuffled(50, "order", 1).tolist()
print(json.dumps([rows, verdicts, order]))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    """Kernels as plain Python are their own reference: equal examples, verdicts, orders; no warning."""
    configs = list(VARIED.values())
    results = []
    for disabled in ("1", "0"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        code = _WITHOUT_JIT if disabled == "1" else _WITHOUT_JIT.replace("assert numba", "assert not numba")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            input=json.dumps(configs),
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        results.append(json.loads(done.stdout))
    without, compiled = results
    assert without == compiled
    rows, verdicts, _ = without
    assert rows == [rows_of(make(given, 5)[1]) for given in configs]
    assert all(not any(valid) for valid, _ in verdicts)
    assert any(any(damaged) for _, damaged in verdicts)
