"""Whole examples of Capo from the published description, with plain NumPy; and fixed ones."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from capo_configs import VARIED, lists, made
from oracles.capo import replay

from ostraca.tasks.capo import VERSION, generate_capo_example
from ostraca.tasks.core.batch import rows_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", VARIED)
def test_texts_are_those_of_the_replay(name: str) -> None:
    """Text, person, exposure and spans; indices within the corpus, at its end, and far beyond it."""
    config, _ = made({**VARIED[name], "bio": "text"}, 0, seed=5)
    most = config["num_people"] * config["exposures"]
    indices = [0, 1, 2, 7, most - 1, most, 3 * most + 1, 2**40, 2**62 - 1]
    _, batch = made(config, np.array(indices), seed=5, split="test")
    assert rows_of(batch) == [replay(config, 5, "test", index) for index in indices]


@pytest.mark.parametrize("name", VARIED)
def test_a_range_in_any_pieces_and_order_gives_the_same_examples(name: str) -> None:
    _, whole = made(VARIED[name], 40, seed=1)
    for indices in (np.arange(17, 40), np.arange(40)[::-1].copy(), np.array([3, 3, 39, 0])):
        _, part = made(VARIED[name], indices.astype(np.int64), seed=1)
        assert rows_of(part) == [rows_of(whole)[index] for index in indices]


WHO_BREAKS = (
    "Capo's examples changed: every corpus ever built with capo version 1 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/capo.py (and these values) if that is meant."
)
GOLDEN = {
    "published": "61e92a1e46e2e4b0df8a978e",
    "two million": "c9ed55e9dc22c5ed7b3c1aed",
    "fixed order": "b944ac640b62b2be3043b0f9",
    "reverse_md": "f1f40c4fad75a21668f1df08",
    "no end": "b535e6009e74a4852087ae2f",
    "own seed": "4adc3b89821e61d32b09feb3",
    "own sentences": "fc7b67539c3c977d38ac2be2",
    "own world": "db1581b6701b241bf731d590",
    "own world, fixed order, reverse_md": "e97f486ff90f7edf211a0606",
    "one person": "5bf51bbd8bb6d3540a2b8abc",
}
TEXT = (
    "Kevin Alexis Barry tossed a graduation cap into the air at American University. "
    "As a major, she selected Graphic Design, to the surprise of many. "
    "It was in San Francisco, CA that she was born. "
    "She was born earlier than the doctor had expected, on May 18, 1980. "
    "She advanced professionally while working in Marlborough, MA. "
    "It was with Boston Scientific that she took a job."
)


def digest(name: str) -> str:
    """Tokens, about whom they are, and spans of examples 0..19 of train, seed 42, as text."""
    _, batch = made(VARIED[name], 20, seed=42)
    columns = [batch[column].to_pylist() for column in ("person", "exposure", "population")]
    spans = ("value_starts", "value_ends", "char_starts", "char_ends")
    columns += [[row.tolist() for row in lists(batch[column])] for column in ("input_ids", *spans)]
    return hashlib.blake2b(repr(columns).encode(), digest_size=12).hexdigest()


def test_these_values_are_of_this_version() -> None:
    assert VERSION == 1, "VERSION rose: write down the new values of GOLDEN and TEXT"


@pytest.mark.parametrize("name", VARIED)
def test_examples_are_fixed(name: str) -> None:
    assert digest(name) == GOLDEN[name], WHO_BREAKS


def test_a_text_is_fixed() -> None:
    assert generate_capo_example({"bio": "text"}, seed=0)["text"] == TEXT, WHO_BREAKS


def test_without_the_compiler_all_bytes_are_the_same() -> None:
    """The kernels as plain Python, in a process of its own: examples, verdicts and those of damaged ones."""
    code = """
import sys; sys.path[:0] = ["tests", "tests/tasks"]
import hashlib, numpy as np
from capo_configs import SMALL, made
from ostraca.tasks.capo.validate import validate
parts = []
for given in ({}, SMALL, {**SMALL, "order": False, "bio": "text"}):
    config, batch = made(given, 4, seed=8)
    rows = batch.to_pylist()
    for row in rows[2:]:
        name = batch.schema.names[0]
        row[name] = row[name][:-3] + row[name][-2:]
    import pyarrow as pa
    said = validate(pa.RecordBatch.from_pylist(rows, schema=batch.schema), config)
    parts.append((batch.to_pylist(), said.codes.tolist(), said.positions.tolist()))
print(hashlib.sha256(repr(parts).encode()).hexdigest(), parts[0][1], parts[1][1])
"""
    said = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    assert "[0, 0, " in said[0]
