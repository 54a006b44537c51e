"""What is written here is what pyarrow would have written: the same rows, schema, metadata and statistics."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinned.corpora import CORPORA, HERE

from ostraca.pipeline.corpus.formats import parquet, parquet_columns
from ostraca.pipeline.corpus.formats.parquet import ParquetShardWriter
from ostraca.pipeline.corpus.formats.parquet_mask import stored, stored_schema, unstored
from ostraca.tasks.core.batch import column, list_type, ragged

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("n", pa.int32()),
        column("text", pa.string()),
        column("starts", list_type(pa.int32())),
        column("documents", list_type(pa.int64())),
    ]
)
SAME = ("physical_type", "num_values", "path_in_schema", "compression", "encodings", "statistics")


def batch_of(lengths: list[int], seed: int) -> pa.RecordBatch:
    """Rows of these many tokens, and of some other values in other lists, or none."""
    rng, rows = np.random.default_rng(seed), len(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = rng.integers(0, 2 ** int(rng.integers(1, 31)), offsets[-1], dtype=np.int32)
    mask = (rng.random(offsets[-1]) < rng.random()).astype(np.uint8)
    pieces = np.concatenate([[0], np.cumsum(rng.integers(0, 5, rows))]).astype(np.int32)
    letters = ["", "a", "ä", "word ", "\0", "日本"]
    texts = ["".join(rng.choice(letters, int(rng.integers(0, 9)))) for _ in range(rows)]
    return pa.RecordBatch.from_arrays(
        [
            ragged(ids, offsets),
            ragged(mask, offsets),
            pa.array(rng.integers(-(2**63), 2**63, rows)),
            pa.array(rng.integers(-(2**31), 2**31, rows).astype(np.int32)),
            pa.array(texts, pa.string()),
            ragged(rng.integers(-9, 1 << 20, pieces[-1], dtype=np.int32), pieces),
            ragged(rng.integers(-(2**63), 2**63, pieces[-1]), pieces),
        ],
        schema=SCHEMA,
    )


def written(batches: list[pa.RecordBatch], metadata: dict[str, str], own: bool = True) -> bytes:
    schema, sink = batches[0].schema, io.BytesIO()
    if own:
        with ParquetShardWriter(sink, schema, metadata) as writer:
            assert isinstance(writer._writer, parquet.PageWriter)
            for batch in batches:
                writer.write(batch)
            writer.add_table("groups", "a table")
        return sink.getvalue()
    with parquet.pyarrow_writer(sink, stored_schema(schema).with_metadata(metadata)) as file:
        for batch in batches:
            file.write_batch(stored(batch).replace_schema_metadata(metadata))
        file.add_key_value_metadata({"groups": "a table"})
    return sink.getvalue()


def assert_equal(data: bytes, by_pyarrow: bytes) -> None:
    ours, theirs = (
        pq.ParquetFile(io.BytesIO(each), page_checksum_verification=True) for each in (data, by_pyarrow)
    )
    assert ours.schema_arrow.equals(theirs.schema_arrow, check_metadata=True)
    assert ours.schema.equals(theirs.schema)
    assert ours.metadata.metadata == theirs.metadata.metadata
    assert ours.metadata.num_rows == theirs.metadata.num_rows
    assert ours.num_row_groups == theirs.num_row_groups
    for group in range(ours.num_row_groups):
        a, b = ours.metadata.row_group(group), theirs.metadata.row_group(group)
        assert a.num_rows == b.num_rows
        for place in range(a.num_columns):
            one, other = a.column(place).to_dict(), b.column(place).to_dict()
            for name in SAME if a.num_rows else SAME[:3]:  # without rows pyarrow writes no page
                assert one[name] == other[name], name
        rows = ours.read_row_group(group)
        rows.validate(full=True)
        assert rows.equals(theirs.read_row_group(group))
    offset = 4
    for group in range(ours.num_row_groups):  # they stand one behind the other, as they say themselves
        columns = [ours.metadata.row_group(group).column(place) for place in range(len(ours.schema))]
        for chunk in columns:
            assert chunk.data_page_offset == offset
            offset += chunk.total_compressed_size
        assert ours.metadata.row_group(group).total_byte_size == sum(
            c.total_uncompressed_size for c in columns
        )
    assert len(data) == offset + ours.metadata.serialized_size + 8


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 300), max_size=60), min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from([1 << 20, 1 << 12, 1 << 8]),
)
def test_it_is_what_pyarrow_writes(groups: list[list[int]], seed: int, page: int) -> None:
    """Any rows, empty ones and row groups without any too, on pages of any size."""
    batches = [batch_of(lengths, seed + place) for place, lengths in enumerate(groups)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet_columns, "PAGE_BYTES", page)
        data = written(batches, {"a": "b", "ü": "ä"})
    assert_equal(data, written(batches, {"a": "b", "ü": "ä"}, own=False))


@pytest.mark.parametrize("lengths", [[1] * 1000, [63, 64, 65] * 50, [5000, 1, 300_000], [600_000], []])
def test_levels_of_short_and_of_long_rows(lengths: list[int]) -> None:
    batches = [batch_of(lengths, 0)]
    data = written(batches, {})
    assert_equal(data, written(batches, {}, own=False))
    found = (
        unstored(pq.read_table(io.BytesIO(data)).combine_chunks().to_batches(len(lengths) or 1)[0])
        if lengths
        else None
    )
    assert found is None or found.equals(batches[0])


def test_slices_are_written_as_what_they_are() -> None:
    whole = batch_of([3, 0, 7, 90, 2, 5], 1)
    for first, count in ((0, 6), (1, 3), (2, 4), (5, 1), (3, 0)):
        part = whole.slice(first, count)
        assert_equal(written([part], {}), written([part], {}, own=False))


@pytest.mark.parametrize("name", sorted(name for name in CORPORA if (HERE / name).exists()))
def test_shards_of_all_tasks_are_written_here(name: str) -> None:
    shards = sorted((HERE / name).rglob("*.parquet"))
    for path in shards:
        with pq.ParquetFile(path) as file:
            assert file.metadata.created_by == "ostraca", path
            batches = [
                unstored(file.read_row_group(group).combine_chunks().to_batches()[0])
                for group in range(file.num_row_groups)
                if file.metadata.row_group(group).num_rows
            ]
        if batches:
            assert_equal(written(batches, {}), written(batches, {}, own=False))


def test_other_readers_read_them(tmp_path: Path) -> None:
    """Neither of them is built on pyarrow."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    rng = random.Random(3)
    batches = [
        batch_of([rng.randrange(0, 400) for _ in range(rng.randrange(1, 300))], seed) for seed in range(5)
    ]
    path = tmp_path / "rows.parquet"
    path.write_bytes(written(batches, {}))
    wanted = pa.Table.from_batches([stored(batch) for batch in batches])
    by_polars = polars.read_parquet(path).to_arrow()
    by_duckdb = duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table()
    for found in (by_polars, by_duckdb):
        assert found.num_rows == wanted.num_rows
        for name in wanted.schema.names:
            assert found.column(name).to_pylist() == wanted.column(name).to_pylist(), name
    where = int(np.median(wanted.column("n").to_numpy()))
    ((count,),) = duckdb.sql(f"SELECT count(*) FROM '{path}' WHERE n > {where}").fetchall()
    assert count == int((wanted.column("n").to_numpy() > where).sum())


@pytest.mark.parametrize(
    "field",
    [
        pa.field("other", pa.float32(), nullable=False),
        pa.field("other", pa.int32()),
        pa.field("other", pa.list_(pa.int32()), nullable=False),
        pa.field("other", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
    ],
)
def test_columns_of_other_types_are_pyarrow_s(field: pa.Field) -> None:
    """A task of one's own may have any."""
    batch = batch_of([3, 4], 0)
    values: dict[pa.DataType, Any] = {pa.float32(): [1.5, 2], pa.int32(): [None, 3]}
    array = pa.array(values.get(field.type, [[], []]), field.type)
    more = pa.RecordBatch.from_arrays([*batch.columns, array], schema=batch.schema.append(field))
    sink = io.BytesIO()
    with ParquetShardWriter(sink, more.schema, {"a": "b"}) as writer:
        assert not isinstance(writer._writer, parquet.PageWriter)
        writer.write(more)
        writer.add_table("groups", "a table")
    assert sink.getvalue() == written([more], {"a": "b"}, own=False)
