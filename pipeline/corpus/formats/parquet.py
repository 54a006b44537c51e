"""Parquet shards: zstd, one row group per batch, statistics for every column but tokens and their mask.

pyarrow writes any column; those that ostraca's tasks have are put into pages here, in less than half the
time. What says of which columns a file is, is pyarrow's own either way.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from ..split import Split
from .parquet_columns import Column, Scratch, bounds, column_in_file, pages
from .parquet_mask import MASK, stored, stored_schema
from .parquet_pages import DATA_PAGE, RUNS, ZSTD, fields_of
from .parquet_thrift import BINARY, I16, I32, I64, LIST, STRUCT, TRUE, binary, integer, listed, struct

_IDS = "input_ids"
_ZSTD_LEVEL = 1  # level 3: 1% smaller, 5-10% slower
# Their least and greatest values tell nothing, and of a mask they are whole rows, in the footer.
_WITHOUT_STATISTICS = (_IDS, MASK)
_MAGIC = b"PAR1"
_BY = b"ostraca"


class ParquetShardWriter:
    """Writes batches to a binary file; every batch becomes a row group.

    The ids are written byte by byte (byte-stream split), which puts their mostly empty upper bytes side by
    side.
    """

    def __init__(self, sink: Any, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self._schema = stored_schema(schema).with_metadata(dict(metadata))
        columns = [column_in_file(field, field.name == _IDS) for field in self._schema]
        known = [column for column in columns if column is not None]
        self._writer: PageWriter | pq.ParquetWriter
        if len(known) == len(columns):
            self._writer = PageWriter(sink, self._schema, known)
        else:
            self._writer = pyarrow_writer(sink, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a row group."""
        self._writer.write_batch(stored(batch).replace_schema_metadata(self._schema.metadata))

    def add_table(self, name: str, table: str) -> None:
        """Put a line about the row groups into the footer."""
        self._writer.add_key_value_metadata({name: table})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the footer; after an error anything, since the file is thrown away."""
        if kind is None:
            self._writer.close()
        else:
            with suppress(Exception):
                self._writer.close()


def pyarrow_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """pyarrow's own writer of the same rows."""
    paths = {
        field.name: f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
    }
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=False,
        column_encoding={paths[_IDS]: "BYTE_STREAM_SPLIT"} if _IDS in paths else None,
        write_statistics=[path for name, path in paths.items() if name not in _WITHOUT_STATISTICS],
        data_page_size=1 << 20,
        write_batch_size=1 << 16,
        write_page_checksum=True,
        store_schema=True,
    )


class PageWriter:
    """Writes row groups of columns that are known here; called as pyarrow's own writer is."""

    def __init__(self, sink: Any, schema: pa.Schema, columns: list[Column]) -> None:
        self._sink, self._schema, self._columns = sink, schema, columns
        self._heads = [_head(column) for column in columns]
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
        self._scratch = Scratch()
        self._groups: list[bytes] = []
        self._at = self._rows = 0
        self._pairs: dict[str, str] = {}
        self._put(_MAGIC)

    def _put(self, data: bytes) -> None:
        self._sink.write(data)
        self._at += len(data)

    def add_key_value_metadata(self, pairs: Mapping[str, str]) -> None:
        """Put these into the footer."""
        self._pairs |= pairs

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Append a row group."""
        start, unfolded, chunks = self._at, 0, []
        for column, head, array in zip(self._columns, self._heads, batch.columns, strict=True):
            size, chunk = self._column(column, head, array)
            unfolded += size
            chunks.append(chunk)
        self._groups.append(
            struct(
                (1, LIST, listed(STRUCT, chunks)),
                (2, I64, integer(unfolded)),
                (3, I64, integer(batch.num_rows)),
                (5, I64, integer(start)),
                (6, I64, integer(self._at - start)),
                (7, I16, integer(min(len(self._groups), 2**15 - 1))),
            )
        )
        self._rows += batch.num_rows

    def _column(self, column: Column, head: bytes, array: pa.Array) -> tuple[int, bytes]:
        """Write a column; its bytes before they were compressed, and what the footer says of it."""
        start, unfolded, values, count = self._at, 0, 0, 0
        for own, page in pages(column, array, self._scratch):
            data = self._zstd.compress(page.data)
            check = zlib.crc32(data)
            told = struct(
                (1, I32, integer(own)),
                (2, I32, integer(column.encoding)),
                (3, I32, integer(RUNS)),
                (4, I32, integer(RUNS)),
            )
            header = struct(
                (1, I32, integer(DATA_PAGE)),
                (2, I32, integer(len(page))),
                (3, I32, integer(len(data))),
                (4, I32, integer(check - (check >> 31 << 32))),
                (5, STRUCT, told),
            )
            self._put(header)
            self._put(data)
            unfolded += len(header) + len(page)
            values += own
            count += 1
        numbers = [
            (5, I64, integer(values)),
            (6, I64, integer(unfolded)),
            (7, I64, integer(self._at - start)),
            (9, I64, integer(start)),
        ]
        if column.path[0] not in _WITHOUT_STATISTICS:
            numbers.append((12, STRUCT, _statistics(column, array, values)))
        encoded = struct(
            (1, I32, integer(DATA_PAGE)), (2, I32, integer(column.encoding)), (3, I32, integer(count))
        )
        numbers.append((13, LIST, listed(STRUCT, [encoded])))
        return unfolded, struct((2, I64, integer(start)), (3, STRUCT, head + struct(*numbers, after=4)))

    def close(self) -> None:
        """Write the footer: pyarrow's for a file without rows, and the row groups."""
        empty = io.BytesIO()
        with pyarrow_writer(empty, self._schema) as writer:
            writer.add_key_value_metadata(self._pairs)
        told = empty.getvalue()
        told = told[-8 - int.from_bytes(told[-8:-4], "little") : -8]
        fields = {number: told[start:stop] for number, start, stop in fields_of(told)}
        footer = struct(
            (1, I32, fields[1]),  # the version
            (2, LIST, fields[2]),  # the columns
            (3, I64, integer(self._rows)),
            (4, LIST, listed(STRUCT, self._groups)),
            (5, LIST, fields[5]),  # metadata
            (6, BINARY, binary(_BY)),
            (7, LIST, fields[7]),  # the orders of columns, by which one is the least
        )
        self._put(footer + len(footer).to_bytes(4, "little") + _MAGIC)


def _statistics(column: Column, array: pa.Array, values: int) -> bytes:
    """What the footer says of a column's values; an empty list counts as a null."""
    nulls = (3, I64, integer(values - len(array.flatten()) if column.is_list else 0))
    found = bounds(column, array)
    if found is None:
        return struct(nulls)
    least, most = found
    exact = TRUE, b""
    return struct(nulls, (5, BINARY, binary(most)), (6, BINARY, binary(least)), (7, *exact), (8, *exact))


def _head(column: Column) -> bytes:
    """What the footer says of a column in each row group, in fields 1 to 4."""
    path = [binary(name.encode()) for name in column.path]
    return struct(
        (1, I32, integer(column.physical)),
        (2, LIST, listed(I32, [integer(RUNS), integer(column.encoding)])),
        (3, LIST, listed(BINARY, path)),
        (4, I32, integer(ZSTD)),
    )[:-1]


def open_writer(split: Split, sink: Any, metadata: dict[str, str]) -> ParquetShardWriter:
    """A writer of a shard of a split to a binary file."""
    return ParquetShardWriter(sink, split.schema, metadata)
