"""What a Parquet footer and page headers say is read before pyarrow does: exactly, strictly, safely."""

from __future__ import annotations

import contextlib
import io
import random
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attacks import AS_OSTRACA, CONTENT, LOAD, ROWS, forge, forge_bytes, groups_of, shards_of, small
from harness.hostile import Case, try_all

from ostraca.pipeline.corpus.formats import parquet_pages
from ostraca.pipeline.corpus.formats.parquet_pages import Chunk, check_pages, chunks_of
from ostraca.tasks.errors import OstracaError

READERS = [LOAD, ROWS, CONTENT]
LONGEST = 1 << 10


def written(rows: int, groups: int, **options: Any) -> bytes:
    """A file of each kind of column that shards have."""
    rng = np.random.default_rng(rows)
    lengths = rng.integers(0, LONGEST, rows)
    values = [rng.integers(0, 1 << 30, length).tolist() for length in lengths]
    table = pa.table(
        {
            "index": pa.array(range(rows), pa.int64()),
            "input_ids": pa.array(values, pa.list_(pa.field("element", pa.int32(), nullable=False))),
            "loss_mask": pa.array([[each & 1 for each in row] for row in values], pa.list_(pa.uint8())),
            "text": pa.array(["é" * (length // 2) for length in lengths], pa.string()),
            "bytes": pa.array([bytes(each & 1 for each in row) for row in values], pa.binary()),
        }
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, **{**AS_OSTRACA, **options}) as writer:
        for _ in range(groups):
            writer.write_table(table)
    return sink.getvalue()


def footer_of(data: bytes) -> bytes:
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"write_page_checksum": True, "data_page_size": 1 << 12, "compression": "none"},
        {"write_statistics": False, "write_page_index": True},
        {"column_encoding": {"input_ids.list.element": "BYTE_STREAM_SPLIT"}},
    ],
)
def test_a_footer_says_what_pyarrow_reads_in_it(rows: int, options: dict[str, Any]) -> None:
    data = written(rows, 3, **options)
    metadata = pq.read_metadata(io.BytesIO(data))
    groups = [metadata.row_group(number) for number in range(3)]
    told = [[group.column(number) for number in range(5)] for group in groups]
    assert chunks_of(footer_of(data)) == [
        [
            Chunk(
                values=each.num_values,
                start=each.data_page_offset,
                stop=each.data_page_offset + each.total_compressed_size,
                zstd=each.compression == "ZSTD",
            )
            for each in columns
        ]
        for columns in told
    ]
    for columns in chunks_of(footer_of(data)):
        check_pages(io.BytesIO(data), len(data), columns, rows, LONGEST)


def test_what_pages_unfold_to_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(300, 1)
    for chunk in chunks_of(footer_of(data))[0]:
        for values in (chunk.values - 1, chunk.values + 1):
            other = replace(chunk, values=values)
            with pytest.raises(
                OstracaError, match=f"have {chunk.values:,} values, its footer says {values:,}"
            ):
                check_pages(io.BytesIO(data), len(data), [other], 300, LONGEST)
        with pytest.raises(OstracaError, match="values in a column, too many for 3 rows"):
            check_pages(io.BytesIO(data), len(data), [chunk], 3, 10)
    monkeypatch.setattr(parquet_pages, "_MOST_BYTES", 0)
    for chunk in chunks_of(footer_of(data))[0]:
        with pytest.raises(OstracaError, match="would unfold to"):
            check_pages(io.BytesIO(data), len(data), [chunk], 300, LONGEST)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"use_dictionary": True}, "has a dictionary"),
        ({"column_encoding": {"index": "DELTA_BINARY_PACKED"}}, "page's header is malformed"),
        ({"column_encoding": {"text": "DELTA_BYTE_ARRAY"}}, "page's header is malformed"),
        ({"column_encoding": {"bytes": "DELTA_LENGTH_BYTE_ARRAY"}}, "page's header is malformed"),
        ({"data_page_version": "2.0"}, "page's header is malformed"),
    ],
)
def test_what_unfolds_otherwise_is_told(options: dict[str, Any], said: str) -> None:
    """A page of these holds more values than its bytes tell, and no shard has one."""
    data = written(300, 1, **options)
    with pytest.raises(OstracaError, match=said):
        check_pages(io.BytesIO(data), len(data), chunks_of(footer_of(data))[0], 300, LONGEST)


def test_damaged_bytes_are_told() -> None:
    """Whatever is changed in a footer or in pages: an answer or one exception, soon."""
    data, rng = written(40, 2), random.Random(0)
    footer = footer_of(data)
    for _ in range(3_000):
        changed = bytearray(footer)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        end = rng.choice([len(changed), rng.randrange(len(changed))])
        with contextlib.suppress(OstracaError):
            for columns in chunks_of(bytes(changed[:end])):
                check_pages(io.BytesIO(data), len(data), columns, 40, LONGEST)
    chunks = chunks_of(footer)[0]
    for _ in range(3_000):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.choice(chunks).start + rng.randrange(40)] = rng.randrange(256)
        with contextlib.suppress(OstracaError):
            check_pages(io.BytesIO(bytes(changed)), len(data), chunks, 40, LONGEST)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x19" * 10**5, b"\x1c" * 10**5, b"\xff" * 10**5, b"\x80" * 99]
)
def test_what_is_no_footer_is_told(data: bytes) -> None:
    with pytest.raises(OstracaError, match="footer is malformed"):
        chunks_of(data)


@pytest.mark.parametrize("tail", [True, False])
def test_bits_of_a_footer(tail: bool, tmp_path: Path) -> None:
    """With a manifest that fits. Where it has statistics of sizes too many, pyarrow aborts at its columns."""
    root = small(tmp_path, tail)
    data = shards_of(root, "train")[0].read_bytes()
    begin = len(data) - 8 - len(footer_of(data))
    rng = random.Random(tail)
    places = [(rng.randrange(begin, len(data) - 8), rng.randrange(8)) for _ in range(60)]
    statistics = re.finditer(rb"\x3c\x29\x26", data[begin:])  # pyarrow before 19 writes none
    sizes = [begin + each.start() + 2 for each in statistics]
    places += [(place, bit) for place in sizes[:12] for bit in (4, 6)]

    def flip(place: int, bit: int, root: Path) -> None:
        forge_bytes(root, lambda data: data.__setitem__(place, data[place] ^ 1 << bit))

    cases = (Case(name=f"bit {bit} of {place}", damage=partial(flip, place, bit)) for place, bit in places)
    try_all(root, cases, [LOAD], tmp_path / "trials").check()


@pytest.mark.parametrize(
    ("options", "tail"),
    [
        ({"use_dictionary": True}, True),
        ({"use_dictionary": True}, False),
        ({"data_page_version": "2.0"}, True),
        ({"data_page_version": "2.0"}, False),
        ({"column_encoding": {"loss_mask": "DELTA_LENGTH_BYTE_ARRAY"}}, True),
        ({"column_encoding": {"loss_mask": "DELTA_BYTE_ARRAY"}}, True),
    ],
)
def test_shards_written_otherwise_are_told(options: dict[str, Any], tail: bool, tmp_path: Path) -> None:
    root = small(tmp_path, tail)
    groups = groups_of(root)
    told = frozenset(each.name for each in READERS)
    case = Case(name=str(options), damage=lambda root: forge(root, groups, **options), told_by=told)
    as_ostraca = Case(name="as ostraca", damage=lambda root: forge(root, groups))
    tally = try_all(root, [case, as_ostraca], READERS, tmp_path / "trials")
    tally.check()
    assert tally.counts["load", "unharmed"] == 1
