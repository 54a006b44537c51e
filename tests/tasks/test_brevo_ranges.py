"""Promise 1: an example depends on its address alone, not on the batch, the range or the machine's mode."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from brevo_configs import VARIED, key_of, make
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.tasks import examples
from ostraca.tasks.brevo import TASK, check, generate_brevo_example, mean_tokens
from ostraca.tasks.brevo.generate import generate
from ostraca.tasks.core.batch import rows_of, with_labels

ROOT = Path(__file__).resolve().parents[2]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(VARIED)),
    st.integers(0, 2**62 - 100),
    st.lists(st.integers(0, 60), max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_split_of_a_range_gives_the_same_rows(
    name: str, first: int, cuts: list[int], draw: random.Random
) -> None:
    """A range of 60 examples at once, cut anywhere, and in any order."""
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


@pytest.mark.parametrize("name", VARIED)
def test_scattered_and_repeated_indices_are_the_single_examples(name: str) -> None:
    config = check(VARIED[name])
    indices = np.array([5, 2**61, 0, 5, 2**33], np.int64)
    rows = rows_of(with_labels(generate(config, key_of(config, 9), indices)))
    assert rows == [generate_brevo_example(VARIED[name], 9, int(index)) for index in indices]


@pytest.mark.parametrize("tokens", [1, 1000, 10**9])
def test_batch_size_changes_nothing(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config, whole = make(VARIED["words"], 64)
    monkeypatch.setattr(examples, "BATCH_TOKENS", tokens)
    batches = list(examples.generate_batches(TASK, config, 0, "train", 0, 64))
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole]))


def test_no_indices_make_an_empty_batch() -> None:
    config = check({})
    batch = generate(config, key_of(config), np.empty(0, np.int64))
    assert batch.num_rows == 0
    assert batch.schema.equals(TASK.schema({}))


_RUN = """
import json, sys
import numba, numpy as np
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.brevo import TASK
from ostraca.tasks.core.rng import stream_key
assert bool(numba.config.DISABLE_JIT) == json.loads(sys.argv[1])
rows, verdicts, means = [], [], []
for given in json.load(sys.stdin):
    config = TASK.check(given)
    batch = TASK.generate(config, stream_key("brevo", TASK.version, config, 0, "train"), np.arange(5))
    rows.append(rows_of(batch))
    damaged = batch.set_column(4, batch.schema.field("edges"), batch["edges"].take([4, 3, 2, 1, 0]))
    verdicts.append([TASK.validate(part, config).codes.tolist() for part in (batch, damaged)])
    means.append(TASK.mean_tokens(config) if len(means) < 2 else 0)
print(json.dumps([rows, verdicts, means]))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    """Kernels as plain Python are their own reference: equal examples, verdicts, means; no warning."""
    configs = list(VARIED.values())
    results = []
    for disabled in (True, False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _RUN, json.dumps(disabled)],
            input=json.dumps(configs),
            env={**os.environ, "NUMBA_DISABLE_JIT": str(int(disabled))},
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
    rows, verdicts, means = without
    assert rows == [rows_of(make(given, 5)[1]) for given in configs]
    assert means[0] == mean_tokens(check(configs[0]))
    assert all(not any(valid) for valid, _ in verdicts)
    assert any(any(damaged) for _, damaged in verdicts)
