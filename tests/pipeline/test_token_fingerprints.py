"""Fingerprints of tokens: what decides whether two examples are the same, to the letter."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.siphash import siphash128

from ostraca.pipeline.corpus.fingerprint import token_fingerprints
from ostraca.tasks import get_task
from ostraca.tasks.core.batch import column, list_type, ragged, texts
from ostraca.tasks.examples import complete_config, stream_of

ROOT = Path(__file__).resolve().parents[2]
KEY = b"ostraca tokens 1"
WHO_BREAKS = (
    "Token fingerprints changed: corpora that were built without duplicates can no longer be verified or "
    "added to. Change them only together with a new format of the manifest."
)


def made(task: str, given: dict[str, Any], rows: int = 300) -> pa.RecordBatch:
    known = get_task(task)
    config = complete_config(known, given, 2)
    return known.generate(config, stream_of(known, config, 2, "train"), np.arange(rows))


ROWS = {
    "depo": made("depo", {"N": 12}),
    "mano": made("mano", {"L": 5}),
    "text": made("capo", {"num_people": 40, "exposures": 10, "bio": "text"}),
    "non-ascii": pa.record_batch(
        [pa.array(["", "é", "\0", "日本語", "eight by", "nine byte"] * 50)], ["text"]
    ),
}
TOKENS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9), min_size=1, max_size=12)


def batch_of(rows: list[list[int]]) -> pa.RecordBatch:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    tokens = np.array([token for row in rows for token in row], dtype=np.int32)
    schema = pa.schema([column("input_ids", list_type(pa.int32()))])
    return pa.RecordBatch.from_arrays([ragged(tokens, offsets)], schema=schema)


def batch_of_matrix(tokens: np.ndarray[Any, Any]) -> pa.RecordBatch:
    """Rows of equal length."""
    rows, width = tokens.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.RecordBatch.from_arrays([ragged(tokens.reshape(-1), offsets)], names=["input_ids"])


def listed(batch: pa.RecordBatch) -> list[tuple[int, ...]]:
    return list(map(tuple, token_fingerprints(batch).tolist()))


def message(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else struct.pack(f"<{len(value)}i", *value)


def different(lanes: np.ndarray[Any, Any]) -> int:
    return len(np.unique(np.ascontiguousarray(lanes).view("V16")))


@pytest.mark.parametrize("name", ROWS)
def test_is_siphash_1_3_of_the_bytes(name: str) -> None:
    wanted = [siphash128(KEY, message(value), (1, 3)) for value in ROWS[name].column(0).to_pylist()]
    assert listed(ROWS[name]) == wanted
    assert (token_fingerprints(ROWS[name]).dtype, token_fingerprints(ROWS[name]).shape) == (
        np.uint64,
        (300, 2),
    )


@given(TOKENS)
@settings(max_examples=100, deadline=None)
def test_any_rows_are_equal_exactly_where_their_fingerprints_are(rows: list[list[int]]) -> None:
    """Empty ones, zeros at the end and rows of every length among them."""
    rows = [*rows, [], [0], [0, 0], rows[0], [*rows[0], 0], rows[0][:-1]]
    found = listed(batch_of(rows))
    assert found == [siphash128(KEY, message(row), (1, 3)) for row in rows]
    assert len(set(found)) == len(set(map(tuple, rows)))


@pytest.mark.parametrize("name", ROWS)
def test_slices_batches_and_the_address_do_not_matter(name: str) -> None:
    batch = ROWS[name]
    whole = listed(batch)
    bounds = [0, 0, 1, 7, 8, 150, 299, 300, 300]
    assert [one for a, b in pairwise(bounds) for one in listed(batch.slice(a, b - a))] == whole
    order = np.random.default_rng(0).permutation(300)
    assert listed(batch.take(pa.array(order))) == [whole[row] for row in order]
    assert listed(batch.select([0])) == whole
    if "index" in batch.schema.names:
        place = batch.schema.get_field_index("index")
        moved = batch.set_column(place, batch.schema.field(place), pa.array(np.arange(9, 309)))
        assert listed(moved) == whole


def test_tokens_cannot_move_between_rows() -> None:
    assert listed(batch_of([[1, 2], [3]])) != listed(batch_of([[1], [2, 3]]))
    assert listed(batch_of([[1, 2], []]))[0] == listed(batch_of([[1, 2]]))[0]


def test_a_text_is_its_bytes() -> None:
    """Two spellings of one letter are two texts."""
    values = np.frombuffer("aéé".encode() + "e\u0301".encode(), np.uint8)
    batch = pa.RecordBatch.from_arrays([texts(values, np.array([0, 1, 3, 5, 8], np.int32))], ["text"])
    first, second, third, fourth = listed(batch)
    assert second == third
    assert len({first, second, fourth}) == 3


@pytest.mark.parametrize("width", [1, 2, 3, 7, 12])
def test_every_bit_flips_every_bit_half_of_the_time(width: int) -> None:
    """Random rows: each of the last two tokens' bits against all 128, 4,096 rows; 6 sigma are 0.047."""
    draw = np.random.default_rng(width)
    tokens = draw.integers(0, 2**31, (4096, width), dtype=np.int32)
    before = token_fingerprints(batch_of_matrix(tokens))
    for place in {0, width - 1, width // 2}:
        for bit in range(31):
            flipped = tokens.copy()
            flipped[:, place] ^= np.int32(1 << bit)
            changed = before ^ token_fingerprints(batch_of_matrix(flipped))
            bits = np.unpackbits(changed.view(np.uint8), axis=1)
            assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.047
            between = np.unpackbits((changed[:, 0] ^ changed[:, 1]).view(np.uint8).reshape(-1, 8), axis=1)
            assert np.abs(between.mean(axis=0) - 0.5).max() < 0.047


@pytest.mark.parametrize("place", [0, 3, 8])
def test_a_million_near_identical_rows_are_all_different(place: int) -> None:
    """And any 32 bits of a fingerprint collide as often as random ones: 116 pairs, within 6 sigma."""
    tokens = np.full((10**6, 9), 7, np.int32)
    tokens[:, place] = np.arange(10**6)
    lanes = token_fingerprints(batch_of_matrix(tokens))
    assert different(lanes) == 10**6
    first, second = lanes.T
    for word in (first, second, first ^ second, first + second, first - second):
        for half in (
            word >> np.uint64(32),
            word & np.uint64(0xFFFFFFFF),
            (word >> np.uint64(16)) << np.uint64(32),
        ):
            values = np.sort(half)
            assert 52 < np.count_nonzero(values[1:] == values[:-1]) < 181


def test_values_are_uniform_over_the_highest_bits() -> None:
    """What fingerprints are parted by: chi-squared of 256 classes of each lane's byte, within 6 sigma."""
    tokens = np.zeros((10**6, 2), np.int32)
    tokens[:, 0] = np.arange(10**6)
    lanes = token_fingerprints(batch_of_matrix(tokens))
    for classes in lanes.view(np.uint8).reshape(-1, 16).T:
        counts = np.bincount(classes, minlength=256)
        chi = ((counts - 10**6 / 256) ** 2 / (10**6 / 256)).sum()
        assert abs(chi - 255) < 6 * np.sqrt(2 * 255)


GOLDEN = {
    "depo": "4b3d4db28d4871d002fc16f2ea26ba31",
    "mano": "dc4e1bc15808ecdf16687b90241506c7",
    "text": "032cfe212ed7c56954af80dc2a46fc18",
    "non-ascii": "871ceec83fcddca03d9296ff1d01adde",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprints_are_fixed(name: str) -> None:
    """The sums over 300 rows."""
    total = token_fingerprints(ROWS[name]).sum(axis=0, dtype=np.uint64)
    assert f"{total[0]:016x}{total[1]:016x}" == GOLDEN[name], WHO_BREAKS


_EITHER_WAY = """
import json, sys
import numba, numpy as np, pyarrow as pa
from ostraca.pipeline.corpus.fingerprint import token_fingerprints
from ostraca.tasks.core.batch import ragged
assert bool(numba.config.DISABLE_JIT) == json.loads(sys.argv[1])
sizes = np.arange(30)
offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
tokens = np.random.default_rng(0).integers(0, 2**31, offsets[-1], dtype=np.int32)
some = pa.RecordBatch.from_arrays([ragged(tokens, offsets)], ["input_ids"])
texts = pa.record_batch([pa.array(["x" * size for size in range(20)])], ["text"])
print(json.dumps([token_fingerprints(batch).tolist() for batch in (some, some.slice(5, 9), texts)]))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    results = []
    for disabled in (True, False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _EITHER_WAY, json.dumps(disabled)],
            env={**os.environ, "NUMBA_DISABLE_JIT": str(int(disabled)), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
