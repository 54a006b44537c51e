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
from hypothesis import given, settings
from hypothesis import strategies as st
from mano_configs import VARIED, key_of, make

from ostraca.tasks import examples
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.mano import TASK, check, generate_mano_example
from ostraca.tasks.mano.generate import _generate, generate

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
    whole.validate(full=True)
    assert whole["index"].to_pylist() == indices.tolist()
    edges = sorted({0, 60, *cuts})
    parts = [generate(config, key, indices[low:high]) for low, high in itertools.pairwise(edges)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole]))
    order = list(range(60))
    draw.shuffle(order)
    assert generate(config, key, indices[order]).equals(whole.take(pa.array(order)))


@settings(derandomize=True, deadline=None, max_examples=60)
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
    assert rows == [generate_mano_example(VARIED[name], seed, int(index)) for index in twice]


@pytest.mark.parametrize("tokens", [1, 100, 1000, 10**9])
def test_batch_size_changes_nothing(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one row up to all rows hold the same rows."""
    config, whole = make(VARIED["all operators"], 64)
    monkeypatch.setattr(examples, "BATCH_TOKENS", tokens)
    batches = list(examples.generate_batches(TASK, config, 0, "train", 0, 64))
    assert len(batches) == -(-64 // examples.batch_rows(TASK, config))
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole]))


def test_no_indices_make_an_empty_batch() -> None:
    config = check({})
    batch = generate(config, key_of(config), np.empty(0, np.int64))
    assert batch.num_rows == 0
    assert batch.schema.equals(TASK.schema({}))


def test_a_batch_beyond_32_bit_offsets_is_refused() -> None:
    """Before anything is made."""
    indices = np.broadcast_to(np.int64(0), (2**31 // 1003 + 1,))
    config = check({"L": 499})
    with pytest.raises(OverflowError, match="ask for fewer examples"):
        generate(config, key_of(config), indices)


def test_one_compiled_kernel_serves_every_config() -> None:
    """A further signature would take seconds to compile."""
    for varied in VARIED.values():
        make(varied, 2)
    assert len(_generate.signatures) == 1


_EITHER_WAY = """
import json, sys
import numba, numpy as np
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.mano import TASK
from ostraca.tasks.core.rng import stream_key
disabled, given_configs = json.load(sys.stdin)
assert bool(numba.config.DISABLE_JIT) == disabled
rows, verdicts = [], []
for given in given_configs:
    config = TASK.check(given)
    batch = TASK.generate(config, stream_key("mano", TASK.version, config, 0, "train"), np.arange(20))
    rows.append(rows_of(batch))
    damaged = batch.set_column(4, batch.schema.field("answer"), batch["answer"].take(list(range(19, -1, -1))))
    others = {"L": 10, "ttype": "asmd", "qa": False, "fixed_length": None, "value_mod": 23}
    other = TASK.check({**config, **others, "bos_token_id": 9999, "knowledge_augment": True})
    said = [TASK.validate(part, it) for part, it in ((batch, config), (damaged, config), (batch, other))]
    verdicts.append([(one.codes.tolist(), one.positions.tolist()) for one in said])
print(json.dumps([rows, verdicts]))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    """Kernels as plain Python are their own reference: equal examples and verdicts; no warning."""
    configs = list(VARIED.values())
    results = []
    for disabled in (True, False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _EITHER_WAY],
            input=json.dumps([disabled, configs]),
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
    rows, verdicts = without
    assert rows == [rows_of(make(given, 20)[1]) for given in configs]
    assert all(not any(codes) for (codes, _), _, _ in verdicts)
    assert len({code for _, *damaged in verdicts for codes, _ in damaged for code in codes}) > 4
