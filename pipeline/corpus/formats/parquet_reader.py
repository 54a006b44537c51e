"""Row groups of Parquet shards back as batches: own checks of footer and pages, own kernels or pyarrow."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ....tasks.errors import OstracaError
from ...store.open import open_folder
from ..row_checks import check_schema
from ..row_groups import TABLE, RowGroups
from . import OTHER_SIZE, ShardFile
from .parquet_mask import stored_schema, unstored
from .parquet_pages import MALFORMED, Chunk, Page, check_pages, chunks_of
from .parquet_tokens import DECODED, decode

_AFTER_FOOTER = 8  # bytes: its length and a magic number


@dataclass(frozen=True, kw_only=True)
class _Footer:
    """The footer of a Parquet file; `groups` where it is a tail."""

    metadata: pq.FileMetaData
    rows: NDArray[np.int64]  # [groups]
    chunks: list[list[Chunk]]  # of each row group
    widths: frozenset[int]  # how many columns row groups have
    schema: pa.Schema
    groups: RowGroups

    @staticmethod
    def of(source: Any, size: int, tail: int | None) -> _Footer:
        """Of a file, or of its end, of `size` bytes. tail: where it begins, None in a file that has none."""
        metadata = pq.read_metadata(source)
        source.seek(size - _AFTER_FOOTER - metadata.serialized_size)
        chunks = chunks_of(source.read(metadata.serialized_size))
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if len(counts) != len(chunks):
            raise OstracaError(MALFORMED)
        widths = frozenset(map(len, chunks))
        rows, schema = np.array(counts, np.int64), metadata.schema.to_arrow_schema()
        groups = RowGroups.none()
        if tail is not None:
            said: Mapping[bytes, bytes] = metadata.metadata or {}
            groups = RowGroups.parse(said.get(TABLE.encode(), b"").decode(), tail)
            if not np.array_equal(rows, groups.rows):
                raise OstracaError("its table of row groups and its footer disagree on their rows")
        return _Footer(
            metadata=metadata, rows=rows, chunks=chunks, widths=widths, schema=schema, groups=groups
        )

    def check(self, file: ShardFile) -> None:
        """See `Footer`: it is of the spec, with its columns and as many row groups."""
        said: Mapping[bytes, bytes] = self.metadata.metadata or {}
        if said.get(b"ostraca_spec_digest") != file.digest.encode():
            raise OstracaError("belongs to another spec")
        schema = file.split.schema
        check_schema(self.schema, stored_schema(schema) if file.record.get("group_tokens") else schema)
        if len(self.rows) != file.groups:
            raise OstracaError(f"has {len(self.rows)} row groups, its spec makes {file.groups}")
        if not self.widths <= {len(schema)}:
            raise OstracaError(MALFORMED)

    def read(self, file: ShardFile, group: int, data: bytes, columns: list[str], rows: int) -> pa.RecordBatch:
        """See `Footer`."""
        if not self.rows[group]:
            return self._none(columns)
        start = self.groups.span(group)[0]
        with closing(_Region(data, start, file.record["bytes"])) as source:
            pages = self._pages(source, file, group, columns, rows)
            own = {name: pages[name] for name in columns if self.schema.field(name) in DECODED}
            quick = decode(memoryview(data), start, own, rows)
            rest = [name for name in columns if name not in quick]
            batch = self._by_pyarrow(source, group, rest, checksums=False) if rest else None
        if batch is not None:
            quick.update(zip(batch.schema.names, batch.columns, strict=True))
        schema = pa.schema([file.split.schema.field(name) for name in columns])
        return pa.RecordBatch.from_arrays([quick[name] for name in columns], schema=schema)

    def read_old(
        self, source: Any, file: ShardFile, group: int, columns: list[str], rows: int
    ) -> pa.RecordBatch:
        """Columns of a row group of the file that `source` is, guarded by its pages' checksums alone."""
        if not self.rows[group]:
            return self._none(columns)
        self._pages(source, file, group, columns, rows)
        return self._by_pyarrow(source, group, columns, checksums=True)

    def _none(self, columns: list[str]) -> pa.RecordBatch:
        """Of a row group without rows: it may have no pages, and before version 25 pyarrow looks for them."""
        return unstored(pa.RecordBatch.from_pylist([], schema=self.schema).select(columns))

    def _pages(
        self, source: Any, file: ShardFile, group: int, columns: list[str], rows: int
    ) -> dict[str, list[Page]]:
        chunks = [self.chunks[group][file.split.schema.get_field_index(name)] for name in columns]
        pages = check_pages(source, file.record["bytes"], chunks, rows, file.split.longest)
        return dict(zip(columns, pages, strict=True))

    def _by_pyarrow(self, source: Any, group: int, columns: list[str], *, checksums: bool) -> pa.RecordBatch:
        with pq.ParquetFile(source, metadata=self.metadata, page_checksum_verification=checksums) as parquet:
            table = parquet.read_row_group(group, columns=columns, use_threads=False)
        return unstored(table.combine_chunks().to_batches()[0])


class _Shards:
    """See `ShardReader`."""

    def footer(self, tail: bytes, start: int) -> _Footer:
        return _Footer.of(pa.BufferReader(tail), len(tail), start)

    def read_old(self, file: ShardFile, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
        footer = self._old_footer(file)
        with closing(file.folder.open(file.record["path"])) as source:
            return footer.read_old(source, file, group, columns, rows)

    def old_rows(self, file: ShardFile) -> NDArray[np.int64]:
        return self._old_footer(file).rows

    def _old_footer(self, file: ShardFile) -> _Footer:
        stamp = file.folder.stamp(file.record["path"])
        if stamp is None or stamp[0] != file.record["bytes"]:
            raise OstracaError(OTHER_SIZE)
        footer = _old_footer(file.url, file.record["path"], stamp)
        footer.check(file)
        return footer


SHARDS = _Shards()


@lru_cache(maxsize=64)
def _old_footer(url: str, path: str, stamp: tuple[int, str]) -> _Footer:
    """The footer of a file as it was at this stamp."""
    with closing(open_folder(url).open(path)) as source:
        return _Footer.of(source, stamp[0], None)


class _Region(io.RawIOBase):
    """A file to read of which only `data`, from `start`, is there; OSError where other bytes are read."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self._data, self._start, self._size = memoryview(data), start, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def read(self, size: int = -1) -> memoryview:
        begin = self._place - self._start
        if begin < 0 or size < 0 or begin + size > len(self._data):
            raise OSError("its footer places a row group where it is not")
        self._place += size
        return self._data[begin : begin + size]
