"""The file of a shard: its row groups as bytes that were compared with the manifest, then as rows.

Where the manifest has a shard's `tail` (see `pipeline.corpus.row_groups`), nothing is parsed whose digest was
not compared, and a row group is read with one request. A shard from before there were tails is guarded by the
checksums of its format alone.
"""

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

from ...tasks.errors import OstracaError
from ..store.folder import Folder
from ..store.open import open_folder
from .formats.parquet_pages import MALFORMED, Chunk, check_pages, chunks_of
from .formats.webdataset import table_of
from .formats.webdataset_reader import most_bytes, read_group
from .numbers import decode_numbers
from .row_checks import check_schema
from .row_groups import TABLE, RowGroups, Tail, digest_of

# What parsing bytes that nobody vouches for may raise.
FAILURES = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, OstracaError)
_AFTER_FOOTER = 8  # bytes: its length and a magic number
_OTHER_SIZE = "its size is another than the manifest says"


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """The file of a shard, as the manifest describes it.

    url: of `folder`. schema: of the spec. digest: the spec's. groups: how many row groups it must have.
    longest: no row has more tokens, or bytes of text.
    """

    folder: Folder
    url: str
    record: Mapping[str, Any]
    schema: pa.Schema
    digest: str
    parquet: bool
    compression: str | None
    groups: int
    longest: int

    def read(self, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
        """Columns of a row group, in the schema's order, with whatever values; one of FAILURES otherwise.

        rows: how many there must be, so what it may unfold to.
        """
        path = self.record["path"]
        if "tail" not in self.record:
            return self._read_old(path, group, columns, rows)
        footer = self._footer()
        start, stop = footer.groups.span(group)
        data = self.folder.read_range(path, start, stop)
        if digest_of(data) != footer.groups.digests[group].tobytes():
            raise OstracaError(f"row group {group} is not what the manifest says: its digest is another")
        if footer.parquet is None:
            return self._read_tar(data, columns, rows)
        with closing(_Region(data, start, self.record["bytes"])) as source:
            return self._read_parquet(source, footer.parquet, group, columns, rows, checksums=False)

    def rows(self) -> NDArray[np.int64] | None:
        """The rows of each row group as the file itself has them: int64 [groups].

        None where only reading them tells: in a tar from before there were tails.
        """
        if "tail" in self.record:
            return self._footer().groups.rows
        return self._old_footer().rows if self.parquet else None

    def _footer(self) -> _Footer:
        record = self.record
        footer = _footer(self.url, record["path"], record["bytes"], record["tail"], self.parquet)
        if len(footer.groups.ends) != self.groups:
            raise OstracaError(f"has {len(footer.groups.ends)} row groups, its spec makes {self.groups}")
        if footer.parquet is not None:
            self._check(footer.parquet)
        return footer

    def _check(self, footer: _ParquetFooter) -> None:
        """OstracaError where a Parquet file is of another spec, or has other columns or row groups."""
        if footer.said.get(b"ostraca_spec_digest") != self.digest.encode():
            raise OstracaError("is a shard of another spec")
        check_schema(footer.schema, self.schema)
        if len(footer.rows) != self.groups:
            raise OstracaError(f"has {len(footer.rows)} row groups, its spec makes {self.groups}")
        if any(len(chunks) != len(self.schema) for chunks in footer.chunks):
            raise OstracaError(MALFORMED)

    def _read_tar(self, data: bytes, columns: list[str], rows: int) -> pa.RecordBatch:
        most = most_bytes(self.schema, rows, self.longest)
        return read_group(data, self.schema, self.compression, self.digest, most).select(columns)

    def _read_old(self, path: str, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
        if self.parquet:
            footer = self._old_footer()
            with closing(self.folder.open(path)) as source:
                return self._read_parquet(source, footer, group, columns, rows, checksums=True)
        if self.folder.size(path) != self.record["bytes"]:
            raise OstracaError(_OTHER_SIZE)
        ends = decode_numbers(self.record.get("group_ends", ""), self.groups)
        if len(ends) != self.groups or (np.diff(ends, prepend=np.int64(0)) < 0).any():
            raise OstracaError("the manifest's group_ends are not those of its row groups")
        start = int(ends[group - 1]) if group else 0
        return self._read_tar(self.folder.read_range(path, start, int(ends[group])), columns, rows)

    def _read_parquet(
        self,
        source: Any,
        footer: _ParquetFooter,
        group: int,
        columns: list[str],
        rows: int,
        *,
        checksums: bool,
    ) -> pa.RecordBatch:
        if not footer.rows[group]:  # it may have no pages, and before version 25 pyarrow looks for them
            return pa.RecordBatch.from_pylist([], schema=footer.schema).select(columns)
        chunks = [footer.chunks[group][self.schema.get_field_index(name)] for name in columns]
        check_pages(source, self.record["bytes"], chunks, rows, self.longest)
        with pq.ParquetFile(source, metadata=footer.metadata, page_checksum_verification=checksums) as file:
            table = file.read_row_group(group, columns=columns, use_threads=False)
        return table.combine_chunks().to_batches()[0]

    def _old_footer(self) -> _ParquetFooter:
        path = self.record["path"]
        stamp = self.folder.stamp(path)
        if stamp is None or stamp[0] != self.record["bytes"]:
            raise OstracaError(_OTHER_SIZE)
        footer = _old_footer(self.url, path, stamp)
        self._check(footer)
        return footer


@dataclass(frozen=True, kw_only=True)
class _ParquetFooter:
    """The footer of a Parquet file."""

    metadata: pq.FileMetaData
    rows: NDArray[np.int64]  # [groups]
    chunks: list[list[Chunk]]  # of each row group
    schema: pa.Schema

    @staticmethod
    def read(source: Any, size: int) -> _ParquetFooter:
        """Of a file, or of its end, of `size` bytes."""
        metadata = pq.read_metadata(source)
        source.seek(size - _AFTER_FOOTER - metadata.serialized_size)
        chunks = chunks_of(source.read(metadata.serialized_size))
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if len(rows) != len(chunks):
            raise OstracaError(MALFORMED)
        schema = metadata.schema.to_arrow_schema()
        return _ParquetFooter(metadata=metadata, rows=np.array(rows, np.int64), chunks=chunks, schema=schema)

    @property
    def said(self) -> Mapping[bytes, bytes]:
        """What the file tells of itself."""
        return self.metadata.metadata or {}


@dataclass(frozen=True, kw_only=True)
class _Footer:
    """What a tail holds."""

    groups: RowGroups
    parquet: _ParquetFooter | None


@lru_cache(maxsize=64)
def _footer(url: str, path: str, size: int, said: str, parquet: bool) -> _Footer:
    """The tail of a file of `size` bytes of which the manifest says `said`."""
    folder, tail = open_folder(url), Tail.parse(said)
    if folder.size(path) != size or tail.start > size:
        raise OstracaError(_OTHER_SIZE)
    data = folder.read_range(path, tail.start, size)
    if digest_of(data) != tail.digest:
        raise OstracaError("its tail is not what the manifest says: its digest is another")
    if not parquet:
        return _Footer(groups=RowGroups.parse(table_of(data, TABLE), tail.start), parquet=None)
    footer = _ParquetFooter.read(pa.BufferReader(data), len(data))
    groups = RowGroups.parse(footer.said.get(TABLE.encode(), b"").decode(), tail.start)
    if not np.array_equal(footer.rows, groups.rows):
        raise OstracaError("its table of row groups and its footer disagree on their rows")
    return _Footer(groups=groups, parquet=footer)


@lru_cache(maxsize=64)
def _old_footer(url: str, path: str, stamp: tuple[int, str]) -> _ParquetFooter:
    """The footer of a file as it was at this stamp."""
    with closing(open_folder(url).open(path)) as source:
        return _ParquetFooter.read(source, stamp[0])


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
