"""Packed rows: no document lost, none twice, boundaries kept; as plain Python packs them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.packing import Document, pack, waste

from ostraca.pipeline.corpus.formats.parquet import ParquetShardWriter
from ostraca.pipeline.corpus.formats.parquet_mask import stored_schema, unstored
from ostraca.pipeline.corpus.pack import pack_batch
from ostraca.pipeline.corpus.packed import PACKED_SCHEMA, unpack_batch
from ostraca.pipeline.spec.packing import MAX_LENGTH, PACK_MODES, check_fits, check_pack
from ostraca.tasks import get_task
from ostraca.tasks.core.batch import column, list_type, ragged, unragged
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.tasks.examples import complete_config, generate_batches

ROOT = Path(__file__).resolve().parents[2]
UNCUT = ("whole", "best_fit")
SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
    ]
)
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "depo": ("depo", {"N": 30, "K": 4, "M": 3}),
    "brevo": ("brevo", {"N": 14}),
    "mano": ("mano", {"L": 6}),
    "lano": ("lano", {"config_name": "cfg3b"}),
    "capo": ("capo", {"num_people": 30, "exposures": 20}),
}


def random_batch(sizes: list[int], seed: int = 0) -> pa.RecordBatch:
    """Documents of these sizes, with gaps between their indices."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *sizes]).astype(np.int32)
    columns = [
        ragged(rng.integers(0, 99, offsets[-1], dtype=np.int32), offsets),
        ragged(rng.integers(0, 2, offsets[-1], dtype=np.uint8), offsets),
        pa.array(np.cumsum(rng.integers(1, 4, len(sizes))), pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def documents_of(batch: pa.RecordBatch) -> list[Document]:
    columns = (batch.column(name).to_pylist() for name in ("index", "input_ids", "loss_mask"))
    return list(zip(*columns, strict=True))


@st.composite
def packings(draw: st.DrawFn, modes: tuple[str, ...] = PACK_MODES) -> tuple[pa.RecordBatch, int, str]:
    """A batch (a slice of a larger one), a length and a mode that takes it."""
    mode, length = draw(st.sampled_from(modes)), draw(st.integers(2, 24))
    longest = length if mode in UNCUT else 3 * length
    sizes = draw(st.lists(st.integers(1, longest), max_size=40))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    batch = random_batch([5] * before + sizes + [7] * after, draw(st.integers(0, 9)))
    return batch.slice(before, len(sizes)), length, mode


@given(packings())
@settings(max_examples=400, deadline=None)
def test_rows_are_as_plain_python_packs_them(packing: tuple[pa.RecordBatch, int, str]) -> None:
    batch, length, mode = packing
    packed = pack_batch(batch, length, mode)
    packed.validate(full=True)
    assert packed.schema.equals(PACKED_SCHEMA)
    assert packed.to_pylist() == pack(documents_of(batch), length, mode)


@given(packings())
@settings(max_examples=200, deadline=None)
def test_every_row_is_well_formed(packing: tuple[pa.RecordBatch, int, str]) -> None:
    """Of 1 to `length` tokens, the first document at 0, the others after it, no address twice."""
    batch, length, mode = packing
    rows = pack_batch(batch, length, mode).to_pylist()
    for row in rows:
        assert 1 <= len(row["input_ids"]) == len(row["loss_mask"]) <= length
        starts = [*row["starts"], len(row["input_ids"])]
        assert starts[0] == 0
        assert starts == sorted(set(starts))
        assert len(row["documents"]) == len(row["starts"])
        assert row["documents"] == sorted(set(row["documents"]))
        assert row["index"] == row["documents"][0]
        assert row["offset"] == 0 or mode == "concat"
    addresses = [(row["index"], row["offset"]) for row in rows]
    assert addresses == sorted(set(addresses))


@given(packings(UNCUT))
@settings(max_examples=200, deadline=None)
def test_uncut_documents_come_once_and_whole(packing: tuple[pa.RecordBatch, int, str]) -> None:
    batch, length, mode = packing
    pieces = unpack_batch(pack_batch(batch, length, mode))
    assert sorted(documents_of(pieces)) == documents_of(batch)
    assert not any(pieces["offset"].to_pylist())


@given(packings(("concat",)))
@settings(max_examples=200, deadline=None)
def test_pieces_of_concat_join_to_the_documents(packing: tuple[pa.RecordBatch, int, str]) -> None:
    batch, length, mode = packing
    packed = pack_batch(batch, length, mode)
    joined: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for piece in unpack_batch(packed).to_pylist():
        tokens, mask = joined[piece["index"]]
        assert piece["offset"] == len(tokens)
        tokens += piece["input_ids"]
        mask += piece["loss_mask"]
    assert [(index, *both) for index, both in joined.items()] == documents_of(batch)
    assert all(len(tokens) == length for tokens in packed["input_ids"].to_pylist()[:-1])


@given(packings(("left_aligned",)))
@settings(max_examples=200, deadline=None)
def test_left_aligned_rows_begin_with_whole_documents(packing: tuple[pa.RecordBatch, int, str]) -> None:
    """Every document comes once, its end cut only where a row ends; all rows but the last are full."""
    batch, length, mode = packing
    packed = pack_batch(batch, length, mode)
    pieces = unpack_batch(packed).to_pylist()
    for piece, (index, tokens, mask) in zip(pieces, documents_of(batch), strict=True):
        kept = len(piece["input_ids"])
        assert kept >= 1
        assert (piece["index"], piece["offset"]) == (index, 0)
        assert (piece["input_ids"], piece["loss_mask"]) == (tokens[:kept], mask[:kept])
    sizes = {index: len(tokens) for index, tokens, _ in documents_of(batch)}
    for row in packed.to_pylist():
        ends = [*row["starts"][1:], len(row["input_ids"])]
        kept_sizes = [end - start for start, end in zip(row["starts"], ends, strict=True)]
        assert kept_sizes[:-1] == [sizes[index] for index in row["documents"]][:-1]
        assert kept_sizes[0] == min(sizes[row["index"]], length)
    assert all(len(tokens) == length for tokens in packed["input_ids"].to_pylist()[:-1])


@pytest.mark.parametrize("seed", range(6))
def test_best_fit_is_the_naive_one_on_large_groups(seed: int) -> None:
    """Many rows equally full: the heaps' order is the order in which rows were opened."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(10, 60))
    kinds = rng.integers(1, length + 1, 3 + 4 * seed)
    batch = random_batch(rng.choice(kinds, 700).tolist(), seed)
    assert pack_batch(batch, length, "best_fit").to_pylist() == pack(documents_of(batch), length, "best_fit")


@pytest.mark.parametrize("name", TASKS)
def test_batches_of_all_tasks(name: str) -> None:
    """As the oracle; best_fit needs no more rows than whole, and none fewer than the tokens do."""
    task_name, given_config = TASKS[name]
    task = get_task(task_name)
    config = complete_config(task, given_config, 1)
    (batch,) = generate_batches(task, config, 1, "train", 5, 150)
    length = max(64, task.max_tokens(config))
    documents = documents_of(batch)
    rows = {}
    for mode in PACK_MODES:
        packed = pack_batch(batch, length, mode)
        assert packed.to_pylist() == pack(documents, length, mode)
        rows[mode] = packed.num_rows
    assert rows["concat"] <= rows["best_fit"] <= rows["whole"]


def real_group(name: str) -> pa.RecordBatch:
    """About 2^17 tokens of a task's own config."""
    task = get_task(name)
    config = complete_config(task, {}, 0)
    (batch,) = generate_batches(task, config, 0, "train", 0, int(2**17 / task.mean_tokens(config)))
    return batch


@pytest.mark.parametrize("name", TASKS)
def test_best_fit_wastes_no_more_than_whole_on_real_tasks(name: str) -> None:
    batch = real_group(name)
    length = max(2048, int(np.diff(unragged(batch["input_ids"])[1]).max()))
    wasted = {mode: waste(pack_batch(batch, length, mode), length) for mode in PACK_MODES}
    assert wasted["concat"] <= wasted["best_fit"] <= wasted["whole"] < 1
    assert wasted["concat"] * length * -(-len(batch["input_ids"].values) // length) < length


@pytest.mark.parametrize("mode", PACK_MODES)
def test_no_rows_make_no_rows(mode: str) -> None:
    none = pa.RecordBatch.from_pylist([], schema=SCHEMA)
    for batch in (random_batch([3, 4]).slice(1, 0), random_batch([]), none):
        packed = pack_batch(batch, 8, mode)
        assert (packed.num_rows, packed.schema) == (0, PACKED_SCHEMA)
        assert unpack_batch(packed).num_rows == 0
        assert waste(packed, 8) == 0


@pytest.mark.parametrize("mode", PACK_MODES)
def test_a_row_may_be_longer_than_the_group(mode: str) -> None:
    batch = random_batch([3, 9, 1, 4])
    packed = pack_batch(batch, MAX_LENGTH, mode)
    assert packed.to_pylist() == pack(documents_of(batch), MAX_LENGTH, mode)
    assert packed.num_rows == 1


@pytest.mark.parametrize("mode", PACK_MODES)
def test_slices_of_packed_rows_unpack_to_their_pieces(mode: str) -> None:
    packed = pack_batch(random_batch([5, 9, 3, 8, 2, 9, 1, 7, 4]), 10, mode)
    whole = unpack_batch(packed).to_pylist()
    parts = [unpack_batch(packed.slice(row, 1)).to_pylist() for row in range(packed.num_rows)]
    assert [piece for part in parts for piece in part] == whole
    assert unpack_batch(packed.slice(1, 2)).to_pylist() == parts[1] + parts[2]
    assert waste(packed.slice(0, 1), 10) == 1 - len(packed["input_ids"][0]) / 10


def test_whole_and_concat_copy_no_token() -> None:
    batch = random_batch([5, 9, 3, 8]).slice(1)
    tokens, offsets = unragged(batch["input_ids"])
    for mode in ("whole", "concat"):
        packed, _ = unragged(pack_batch(batch, 10, mode)["input_ids"])
        assert packed.ctypes.data == tokens[offsets[0] :].ctypes.data


def test_packed_rows_pass_through_parquet(tmp_path: Path) -> None:
    """Our writer, pyarrow's reader: equal, with the same schema but for the mask's bytes."""
    packed = pack_batch(random_batch(list(range(1, 60))), 64, "best_fit")
    with open(tmp_path / "rows", "wb") as file, ParquetShardWriter(file, PACKED_SCHEMA, {}) as writer:
        writer.write(packed)
    table = pq.read_table(tmp_path / "rows")
    assert table.schema.equals(stored_schema(PACKED_SCHEMA))
    table = pa.Table.from_batches(map(unstored, table.to_batches()))
    assert table.schema.equals(PACKED_SCHEMA)
    assert table.to_pylist() == packed.to_pylist()


@pytest.mark.parametrize("mode", UNCUT)
def test_a_document_longer_than_a_row_is_refused(mode: str) -> None:
    batch = random_batch([4, 11, 3])
    index = batch["index"][1].as_py()
    with pytest.raises(
        OstracaError, match=f"example {index} has 11 tokens.*length=10.*mode={mode}"
    ) as caught:
        pack_batch(batch, 10, mode)
    assert "\n" not in str(caught.value)
    assert len(unpack_batch(pack_batch(batch, 11, mode))) == 3


@pytest.mark.parametrize("mode", PACK_MODES)
def test_a_document_without_tokens_is_refused(mode: str) -> None:
    batch = random_batch([4, 0, 3])
    with pytest.raises(OstracaError, match=f"example {batch['index'][1]} has no tokens"):
        pack_batch(batch, 10, mode)


_RUN = """
import hashlib, json, sys
import numba
import pyarrow as pa
from ostraca.pipeline.corpus.pack import PACK_MODES, pack_batch
assert bool(numba.config.DISABLE_JIT) == json.loads(sys.argv[1])
batch = pa.ipc.open_stream(sys.stdin.buffer).read_next_batch()
for length in (40, 256):
    for mode in PACK_MODES:
        print(mode, length, pack_batch(batch, length, mode).to_pylist())
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    batch = random_batch(np.random.default_rng(5).integers(1, 41, 300).tolist())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(batch)
    results = []
    for disabled in (True, False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _RUN, json.dumps(disabled)],
            input=sink.getvalue().to_pybytes(),
            env={**os.environ, "NUMBA_DISABLE_JIT": str(int(disabled))},
            cwd=ROOT,
            capture_output=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        results.append(done.stdout)
    assert len(results[0]) > 10_000
    assert results[0] == results[1]


GOLDEN = {
    "left_aligned": "7cb7c86174c44997",
    "whole": "8e07532edd5d4b4c",
    "best_fit": "5001cc8c04acfce9",
    "concat": "6420936572ee903e",
}


@pytest.mark.parametrize("mode", PACK_MODES)
def test_golden_rows(mode: str) -> None:
    """If this changes, no packed corpus that stands can be reproduced: raise the manifest's format."""
    sizes = [1 + (7 * number) % 23 for number in range(200)]
    offsets = np.cumsum([0, *sizes]).astype(np.int32)
    tokens = np.arange(offsets[-1], dtype=np.int32)
    columns = [ragged(tokens, offsets), ragged((tokens % 2).astype(np.uint8), offsets), pa.array(range(200))]
    rows = pack_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA), 50, mode).to_pylist()
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == GOLDEN[mode]


def test_a_pack_that_is_complete_checks_to_itself() -> None:
    assert check_pack(None, "spec") is None
    assert check_pack({"length": 2048}, "spec") == {"length": 2048, "mode": "left_aligned"}
    for mode in PACK_MODES:
        for length in (2, np.int64(77), MAX_LENGTH):
            pack = check_pack({"mode": mode, "length": length}, "spec")
            assert pack == {"length": int(length), "mode": mode}
            assert check_pack(json.loads(json.dumps(pack)), "spec") == pack


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (2048, "spec: pack: must be a mapping"),
        ({"lenght": 2048}, "spec: pack: unknown key 'lenght' (did you mean 'length'?); known: length, mode"),
        ({}, "spec: pack: length is missing"),
        ({"mode": "whole", "length": None}, "spec: pack: length is missing"),
        ({"length": 1}, "spec: pack: length=1 must be an integer from 2 to 16777216"),
        ({"length": MAX_LENGTH + 1}, "spec: pack: length=16777217 must be"),
        ({"length": "2048"}, "spec: pack: length='2048' must be"),
        ({"length": True}, "spec: pack: length=True must be"),
        (
            {"length": 8, "mode": "bestfit"},
            "mode='bestfit' (did you mean 'best_fit'?) must be one of left_al",
        ),
        (
            {"length": 8, "mode": ["whole"]},
            "spec: pack: mode=['whole'] (did you mean 'whole'?) must be one of",
        ),
        ({"length": 8, "mode": None}, "spec: pack: mode=None must be one of"),
    ],
)
def test_a_wrong_pack_is_refused_in_one_line(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_pack(wrong, "spec")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_never_fits_is_refused_at_the_door() -> None:
    for mode in PACK_MODES:
        check_fits(mode, 100, 100, "spec: dataset d, split train")
    for mode in ("left_aligned", "concat"):
        check_fits(mode, 100, 101, "spec: dataset d, split train")
    for mode in UNCUT:
        with pytest.raises(
            ConfigError, match=r"split train: pack: .* 1,001 tokens.*length to 1001"
        ) as caught:
            check_fits(mode, 100, 1001, "spec: dataset d, split train")
        assert "\n" not in str(caught.value)
