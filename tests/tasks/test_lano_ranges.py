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
from lano_configs import GRAMMARS, VARIED, key_of, make, sentences

from ostraca.tasks import examples
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.lano import TASK, generate_lano_example
from ostraca.tasks.lano.config import check
from ostraca.tasks.lano.generate import generate
from ostraca.tasks.lano.grammar import Grammar
from ostraca.tasks.lano.parse import (
    as_batch,
    log_probability,
    next_token_distribution,
    parse_counts,
    parse_tree,
)

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
    """A range of 60 examples at once, cut anywhere, one by one, and in any order."""
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
    assert generate(config, key, indices[order]).equals(whole.take(pa.array(order)))
    single = rows_of(with_labels(whole.slice(13, 1)))[0]
    assert single == generate_lano_example(VARIED[name], 0, first + 13)


@pytest.mark.parametrize("tokens", [1, 100, 10**9])
def test_batch_size_changes_nothing(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one row up to all rows hold the same rows."""
    config, whole = make(VARIED["unary rules"], 64)
    monkeypatch.setattr(examples, "BATCH_TOKENS", tokens)
    batches = list(examples.generate_batches(TASK, config, 0, "train", 0, 64))
    assert len(batches) == -(-64 // examples.batch_rows(TASK, config))
    assert pa.Table.from_batches(batches).equals(pa.Table.from_batches([whole]))


def test_no_indices_make_an_empty_batch() -> None:
    config = check({})
    batch = generate(config, key_of(config), np.empty(0, np.int64))
    assert batch.num_rows == 0
    assert batch.schema.equals(TASK.schema({}))


_EITHER_WAY = """
import json, sys
import numba, numpy as np
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.lano import TASK, grammar_of
from ostraca.tasks.lano.parse import *
from ostraca.tasks.core.rng import stream_key
assert numba.config.DISABLE_JIT == {disabled}
results = []
for given in json.load(sys.stdin):
    config = TASK.check(given)
    batch = TASK.generate(config, stream_key("lano", TASK.version, config, 0, "train"), np.arange(4))
    rows = rows_of(batch)
    damaged = batch.set_column(3, batch.schema.field("length"), batch["length"].take([3, 2, 1, 0]))
    codes = [TASK.validate(part, config).codes.tolist() for part in (batch, damaged)]
    sentences = [row["input_ids"][config["bos"]:][:row["length"]] for row in rows]
    grammar, tokens = grammar_of(config), as_batch([*sentences, sentences[0][:-1], [77], []])
    symbols, starts = ancestors(grammar, *tokens)
    counts, logs = parse_counts(grammar, *tokens)
    shares = next_token_distribution(grammar, *tokens)
    found = [symbols, starts, counts, logs, log_probability(grammar, *tokens), shares]
    results.append([rows, codes, [str(array.tolist()) for array in found]])
print(json.dumps(results))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    """Kernels as plain Python are their own reference: examples, verdicts, parses, laws; no warning."""
    configs = [*VARIED.values(), {"config_name": "cfg3b"}]
    results = []
    for disabled in (1, 0):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _EITHER_WAY.replace("{disabled}", str(disabled))],
            input=json.dumps(configs),
            env={**os.environ, "NUMBA_DISABLE_JIT": str(disabled)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
    assert [rows for rows, _, _ in results[0]] == [rows_of(make(given, 4)[1]) for given in configs]
    assert all(not any(valid) for _, (valid, _), _ in results[0])
    assert any(any(damaged) for _, (_, damaged), _ in results[0])


def test_parsing_does_not_depend_on_the_other_rows() -> None:
    """Alone and in one batch, where scratch is shared: equal trees, counts, laws and probabilities."""
    grammar = Grammar.from_text(GRAMMARS["ambiguous"])
    rows = sentences(VARIED["ambiguous"], 30, seed=7)
    together = as_batch(rows)
    logs, counts = log_probability(grammar, *together), parse_counts(grammar, *together)[0]
    shares = next_token_distribution(grammar, *together)
    at = 0
    for number, row in enumerate(rows):
        alone = as_batch([row])
        assert log_probability(grammar, *alone)[0] == logs[number]
        assert parse_counts(grammar, *alone)[0][0] == counts[number]
        assert np.array_equal(next_token_distribution(grammar, *alone), shares[at : at + len(row) + 1])
        at += len(row) + 1
        assert parse_tree(grammar, row) == parse_tree(grammar, np.array(row))  # type: ignore[arg-type]
