"""Promise 1: an example depends on its address alone, not on the batch, the range or the machine's mode."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import FACTS, each
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.tasks import TASKS, examples
from ostraca.tasks.core.batch import rows_of, with_labels

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("task", TASKS)
@settings(derandomize=True, deadline=None, max_examples=80)
@given(data=st.data())
def test_any_split_of_a_range_gives_the_same_rows(task: str, data: st.DataObject) -> None:
    """A range of 60 examples at once, cut anywhere, one by one, and in any order."""
    facts = FACTS[task]
    name = data.draw(st.sampled_from(sorted(facts.varied)))
    first = data.draw(st.integers(0, 2**62 - 100))
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=6))
    indices = np.arange(first, first + 60, dtype=np.int64)
    config, whole = facts.make(facts.varied[name], indices)
    whole.validate(full=True)
    assert whole["index"].to_pylist() == indices.tolist()
    key, generate = facts.key_of(config), facts.task.generate
    edges = sorted({0, 60, *cuts})
    parts = [generate(config, key, indices[low:high]) for low, high in itertools.pairwise(edges)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole]))
    order = list(range(60))
    data.draw(st.randoms(use_true_random=False)).shuffle(order)
    assert generate(config, key, indices[order]).equals(whole.take(pa.array(order)))
    single = rows_of(with_labels(whole.slice(13, 1)))[0]
    assert single == facts.generate_example(facts.varied[name], 0, first + 13)


def assert_single_examples(task: str, name: str, indices: list[int], seed: int) -> None:
    facts = FACTS[task]
    _, batch = facts.make(facts.varied[name], np.array(indices, np.int64), seed)
    singles = [facts.generate_example(facts.varied[name], seed, index) for index in indices]
    assert rows_of(with_labels(batch)) == singles


@pytest.mark.parametrize(("task", "name"), each("varied"))
def test_scattered_and_repeated_indices_are_the_single_examples(task: str, name: str) -> None:
    assert_single_examples(task, name, [5, 2**61, 0, 5, 2**33], seed=9)


@pytest.mark.parametrize("task", TASKS)
@settings(derandomize=True, deadline=None, max_examples=80)
@given(data=st.data())
def test_any_list_of_indices_twice_is_the_single_examples(task: str, data: st.DataObject) -> None:
    """Index by index through the one-example API, of any seed."""
    name = data.draw(st.sampled_from(sorted(FACTS[task].varied)))
    indices = data.draw(st.lists(st.integers(0, 2**62 - 1), max_size=12))
    assert_single_examples(task, name, indices + indices[::-1], data.draw(st.integers(0, 2**63 - 1)))


@pytest.mark.parametrize("tokens", [1, 100, 1000, 10**9])
@pytest.mark.parametrize("task", TASKS)
def test_batch_size_changes_nothing(task: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one row up to all rows hold the same rows."""
    facts = FACTS[task]
    config, whole = facts.make(facts.varied[facts.plain], 64)
    monkeypatch.setattr(examples, "BATCH_TOKENS", tokens)
    batches = list(examples.generate_batches(facts.task, config, 0, "train", 0, 64))
    assert len(batches) == -(-64 // examples.batch_rows(facts.task, config))
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole]))


@pytest.mark.parametrize("task", TASKS)
def test_a_range_need_not_begin_at_zero(task: str) -> None:
    facts = FACTS[task]
    config, whole = facts.make(facts.varied[facts.rich], 64)
    small = replace(facts.task, mean_tokens=lambda _: 2.0**18)  # batches of four rows
    batches = list(examples.generate_batches(small, config, 0, "train", 13, 30))
    assert [batch.num_rows for batch in batches] == [4] * 7 + [2]
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole.slice(13, 30)]))


@pytest.mark.parametrize("task", TASKS)
def test_no_indices_make_an_empty_batch(task: str) -> None:
    config, batch = FACTS[task].make({}, 0)
    assert batch.num_rows == 0
    assert batch.schema.equals(FACTS[task].task.schema(config))


@pytest.mark.parametrize("task", [task for task, facts in FACTS.items() if facts.too_many])
def test_a_batch_beyond_32_bit_offsets_is_refused(task: str) -> None:
    """Before anything is made. (Of Lano only after what it takes for its room: gigabytes.)"""
    config, rows = FACTS[task].too_many
    with pytest.raises(OverflowError, match="ask for fewer examples"):
        FACTS[task].make(config, np.zeros(rows, np.int64))


def compiled(task: str, part: str) -> dict[str, Any]:
    """The kernels of a task's module that have been called."""
    found = vars(importlib.import_module(f"{TASKS[task]}.{part}"))
    return {name: value for name, value in found.items() if getattr(value, "signatures", None)}


@pytest.mark.parametrize("task", TASKS)
def test_one_compiled_kernel_serves_every_config(task: str) -> None:
    """A further signature would take seconds to compile."""
    for varied in FACTS[task].varied.values():
        FACTS[task].make(varied, 2)
    kernels = compiled(task, "generate")
    assert kernels
    assert {name: len(kernel.signatures) for name, kernel in kernels.items()} == dict.fromkeys(kernels, 1)


@pytest.fixture(scope="module")
def either_way() -> list[dict[str, Any]]:
    """What `plain_kernels.py` prints, without the compiler and with it; both at once, and silent."""
    words = [sys.executable, "-W", "error", str(Path(__file__).with_name("plain_kernels.py"))]
    running = []
    for disabled in ("1", "0"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
        running.append(
            subprocess.Popen(
                [*words, disabled],
                env=environment,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    results = []
    for process in running:
        out, err = process.communicate(timeout=240)
        assert (process.returncode, err) == (0, ""), err
        results.append(json.loads(out))
    return results


@pytest.mark.parametrize("task", TASKS)
def test_without_jit_all_is_the_same_and_silent(task: str, either_way: list[dict[str, Any]]) -> None:
    """Kernels as plain Python are their own reference: equal examples, verdicts, orders; no warning."""
    facts = FACTS[task]
    without, compiled_ = (found[task] for found in either_way)
    assert without == compiled_
    rows, verdicts = without["rows"], without["verdicts"]
    made = [facts.make(given, facts.plain_rows)[1] for given in facts.plainly.values()]
    assert rows == [rows_of(batch) for batch in made]
    assert all(not any(codes) for (codes, _), *_ in verdicts)
    reasons = {code for _, *others in verdicts for codes, _ in others for code in codes if code}
    assert len(reasons) >= facts.plain_reasons
    assert len(without["more"]) == (0 if facts.plain_more is None else len(facts.plainly))


def test_without_jit_orders_are_the_same(either_way: list[dict[str, Any]]) -> None:
    without, compiled_ = (found["order"] for found in either_way)
    assert without == compiled_
    assert sorted(without) == list(range(50)) != without
