"""Tokens, masks, starts and indices that are decoded here are what pyarrow reads, or are left to it."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.formats import parquet_reader
from ostraca.pipeline.corpus.formats.parquet import ParquetShardWriter
from ostraca.pipeline.corpus.formats.parquet_mask import stored, stored_schema, unstored
from ostraca.pipeline.corpus.formats.parquet_pages import Page, check_pages, chunks_of
from ostraca.pipeline.corpus.formats.parquet_tokens import decode
from ostraca.pipeline.corpus.manifest import read_manifest, spec_in
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.split import Split
from ostraca.tasks.core.batch import column, list_type, ragged

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("starts", list_type(pa.int32())),
    ]
)
NAMES = SCHEMA.names


def batch_of(lengths: list[int], seed: int = 0) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = rng.integers(0, 2 ** int(rng.integers(1, 31)), offsets[-1], dtype=np.int32)
    mask = (rng.random(offsets[-1]) < rng.random()).astype(np.uint8)
    index = pa.array(np.arange(len(lengths), dtype=np.int64))
    pieces = np.concatenate([[0], np.cumsum(rng.integers(1, 6, len(lengths)))]).astype(np.int32)
    starts = ragged(rng.integers(0, 1 << 20, pieces[-1], dtype=np.int32), pieces)
    return pa.RecordBatch.from_arrays(
        [ragged(ids, offsets), ragged(mask, offsets), index, starts], schema=SCHEMA
    )


def written(batch: pa.RecordBatch, **options: Any) -> bytes:
    """As a shard is, or with some options otherwise."""
    sink = io.BytesIO()
    if not options:
        with ParquetShardWriter(sink, batch.schema, {}) as writer:
            writer.write(batch)
        return sink.getvalue()
    as_shards: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": False,
        "column_encoding": {"input_ids.list.element": "BYTE_STREAM_SPLIT"},
    }
    with pq.ParquetWriter(sink, stored_schema(batch.schema), **{**as_shards, **options}) as file:
        file.write_batch(stored(batch))
    return sink.getvalue()


def pages_of(data: bytes, rows: int, longest: int = 1 << 20) -> dict[str, list[Page]]:
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    pages = check_pages(io.BytesIO(data), len(data), chunks_of(footer)[0], rows, longest)
    return dict(zip(NAMES, pages, strict=True))


def decoded(data: bytes, rows: int) -> dict[str, pa.Array]:
    return decode(memoryview(data), 0, pages_of(data, rows), rows)


def by_pyarrow(data: bytes) -> pa.RecordBatch:
    (batch,) = pq.read_table(io.BytesIO(data)).combine_chunks().to_batches()
    return unstored(batch)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=200),
    st.integers(0, 99),
    st.sampled_from([0, 1 << 9, 1 << 13]),
)
def test_what_is_decoded_is_what_was_written(lengths: list[int], seed: int, page_size: int) -> None:
    """Rows of any lengths, on one page or many, rows that go on on the next one too."""
    batch = batch_of(lengths, seed)
    options = {"data_page_size": page_size, "write_batch_size": 100} if page_size else {}
    data = written(batch, **options)
    found = decoded(data, len(lengths))
    assert found.keys() == set(NAMES)
    for name, array in found.items():
        array.validate(full=True)
        assert array.equals(batch.column(name))
        assert array.equals(by_pyarrow(data).column(name))
        assert array.type == SCHEMA.field(name).type


def test_long_rows_are_on_pages_of_their_own() -> None:
    data = written(batch_of([5000, 3, 9000]), data_page_size=1 << 10, write_batch_size=64)
    assert len(pages_of(data, 3)["input_ids"]) > 1
    assert decoded(data, 3)["input_ids"].equals(by_pyarrow(data).column("input_ids"))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"compression": "none"}, set(NAMES)),
        ({"compression": "snappy"}, set(NAMES)),
        ({"column_encoding": {"input_ids.list.element": "PLAIN"}}, {"input_ids", "loss_mask"}),
    ],
)
def test_another_form_is_left_to_pyarrow(options: dict[str, Any], left: set[str]) -> None:
    data = written(batch_of([3, 4, 5]), **options)
    assert decoded(data, 3).keys() == set(NAMES) - left


def test_empty_rows_and_other_counts_are_left_to_pyarrow() -> None:
    data = written(batch_of([3, 0, 5]))
    assert decoded(data, 3).keys() == {"index", "starts"}
    data = written(batch_of([3, 4, 5]))
    for rows in (2, 4):
        assert decoded(data, rows) == {}


@pytest.mark.parametrize("name", NAMES)
def test_pages_that_were_tampered_with(name: str) -> None:
    """Unfolded, changed and folded again: what is still decoded are as many sound lists of as many values."""
    lengths = [7, 1, 300, 2, 2, 2, 64, 5]
    batch, rng = batch_of(lengths), random.Random(name)
    data = written(batch)
    pages = pages_of(data, len(lengths))
    (page,) = pages[name]
    whole = zstandard.decompress(data[page.start : page.stop])
    accepted = 0
    for trial in range(4000):
        changed = bytearray(whole)
        head = 60 if name in ("input_ids", "starts") else len(changed)  # the levels stand first
        for _ in range(rng.randrange(1, 3)):
            place = rng.randrange(head if trial % 4 else len(changed))
            changed[place] = rng.choice([0, 1, 2, 3, 255, rng.randrange(256)])
        if trial % 7 == 0:
            changed = changed[: rng.randrange(len(changed))]
        piece = zstandard.compress(bytes(changed))
        own = Page(
            values=page.values,
            encoding=page.encoding,
            levels_are_runs=True,
            zstd=True,
            unfolded=len(changed),
            start=len(data),
            stop=len(data) + len(piece),
        )
        found = decode(memoryview(data + piece), 0, {**pages, name: [own]}, len(lengths))
        if name not in found:
            continue
        accepted += 1
        array = found[name]
        array.validate(full=True)
        assert len(array) == len(lengths)
        if name != "index":
            assert len(array.flatten()) == len(batch.column(name).flatten())
    assert accepted


def test_a_frame_that_says_another_size_is_left() -> None:
    data = written(batch_of([3, 4, 5]))
    pages = pages_of(data, 3)
    (page,) = pages["index"]
    for unfolded in (page.unfolded - 8, page.unfolded + 8):
        other = Page(**{**{name: getattr(page, name) for name in Page.__slots__}, "unfolded": unfolded})
        assert "index" not in decode(memoryview(data), 0, {"index": [other]}, 3)


@pytest.mark.parametrize("extra", [{}, {"pack": {"length": 128, "mode": "best_fit"}}])
def test_a_reader_gives_the_same_without_it(
    extra: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And from several threads at once."""
    build(make_spec(train=600, test=30, shard_tokens=9_000, **extra), tmp_path / "c", engine="local")
    manifest = read_manifest(tmp_path / "c")
    split = Split.of(spec_in(tmp_path / "c", manifest), "small", "train")
    reader = split_reader(tmp_path / "c", manifest, split)
    groups = [(shard, group) for shard, rows in enumerate(reader.group_rows) for group in range(len(rows))]
    columns: list[list[str] | None] = [
        None,
        ["input_ids", "loss_mask"],
        ["loss_mask"],
        ["index"],
        ["input_ids"],
    ]

    def everything() -> list[pa.RecordBatch]:
        return [reader.read(*group, names) for names in columns for group in groups]

    here = everything()
    with ThreadPoolExecutor(4) as pool:
        for theirs in pool.map(lambda _: everything(), range(4)):
            assert all(one.equals(other) for one, other in zip(here, theirs, strict=True))
    monkeypatch.setattr(parquet_reader, "decode", lambda *_: {})
    assert all(one.equals(other) for one, other in zip(here, everything(), strict=True))
