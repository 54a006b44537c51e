"""Reading shards back: row groups of a split, whatever the format, with their checksums checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.changes import Changes
from pipeline.compact import decode_numbers
from pipeline.folder import Folder, open_folder
from pipeline.shard import shard_schema
from pipeline.writers.webdataset_reader import read_group
from tasks.errors import OstracaError


class SplitReader:
    """The row groups of one split of a dataset, known from the manifest without opening a file.

    records: of its shards, in the plan's order.
    """

    def __init__(
        self,
        folder: Folder,
        spec: Mapping[str, Any],
        dataset: str,
        split: str,
        records: Sequence[Mapping[str, Any]],
    ) -> None:
        self.folder, self.spec, self.dataset, self.split, self.records = folder, spec, dataset, split, records
        self.entry: Mapping[str, Any] = spec["datasets"][dataset]["splits"][split]

    @property
    def rows(self) -> int:
        return sum(record["rows"] for record in self.records)

    @cached_property
    def group_rows(self) -> list[NDArray[np.int64]]:
        """Of each shard, the rows of its row groups: int64 [groups]; OstracaError where they are wrong."""
        found = []
        for record in self.records:
            rows = group_rows(self.spec, self.entry, record)
            if rows.sum() != record["rows"] or (rows < 0).any():
                raise OstracaError(
                    f"{self.folder}: the manifest's rows of {record['path']} do not add up; run "
                    f"`ostraca verify path={self.folder}`"
                )
            found.append(rows)
        return found

    def read(self, shard: int, group: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """A row group; OstracaError where it cannot be read, or is not what the manifest says."""
        record, rows = self.records[shard], int(self.group_rows[shard][group])
        name = f"{self.folder}/{record['path']}"
        check = f"run `ostraca verify path={self.folder}`"
        stamp = self.folder.stamp(record["path"])
        if stamp is None:
            raise OstracaError(f"{name}: no such file or folder; {check}")
        if stamp[0] != record["bytes"]:
            raise OstracaError(f"{name}: has {stamp[0]} bytes, the manifest says {record['bytes']}; {check}")
        try:
            if self.spec["format"] == "parquet":
                batch = self._read_parquet(record["path"], stamp, group, columns)
            else:
                batch = self._read_tar(record, group)
        except (pa.ArrowException, OSError, OstracaError) as error:
            raise OstracaError(f"{name}: cannot be read ({str(error).splitlines()[0]}); {check}") from error
        if batch.num_rows != rows or not set(columns or ()) <= set(batch.schema.names):
            raise OstracaError(
                f"{name}: cannot be read (row group {group} has not the rows or columns that it must have); "
                + check
            )
        return batch if columns is None else batch.select(list(columns))

    def _read_parquet(
        self, path: str, stamp: tuple[int, str], group: int, columns: Sequence[str] | None
    ) -> pa.RecordBatch:
        footer = _footer(self.folder.url, path, stamp)
        with (
            closing(self.folder.open(path)) as source,
            pq.ParquetFile(source, metadata=footer, page_checksum_verification=True) as file,
        ):
            wanted = None if columns is None else list(columns)
            table = file.read_row_group(group, columns=wanted, use_threads=False)
        return _one_batch(table)

    def _read_tar(self, record: Mapping[str, Any], group: int) -> pa.RecordBatch:
        ends = decode_numbers(record["group_ends"])
        start = int(ends[group - 1]) if group else 0
        data = self.folder.read_range(record["path"], start, int(ends[group]))
        compression = None if self.spec["compression"] == "none" else self.spec["compression"]
        return read_group(data, shard_schema(self.spec, self.dataset, self.split), compression)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(shard, row group) of all row groups, in index order."""
        for shard, rows in enumerate(self.group_rows):
            for group in range(len(rows)):
                yield shard, self.read(shard, group, columns)

    def rows_from(self, index: int, count: int) -> Iterator[pa.RecordBatch]:
        """The first `count` rows of examples `index` and after, in pieces."""
        shard, inside = divmod(index, self.entry["shard_examples"])
        group = inside // self.entry["row_group_examples"]
        while count > 0 and shard < len(self.records):
            if group == len(self.group_rows[shard]):
                shard, group = shard + 1, 0
                continue
            batch = self.read(shard, group)
            found = batch.slice(int(np.searchsorted(batch.column("index").to_numpy(), index)), count)
            if found.num_rows:
                yield found
            count -= found.num_rows
            group += 1


def split_reader(
    root: Any, spec: Mapping[str, Any], manifest: Mapping[str, Any], dataset: str, split: str
) -> SplitReader:
    """A reader of a split of the corpus in `root`."""
    records = [record for record in manifest["splits"][split]["shards"] if record["dataset"] == dataset]
    return SplitReader(open_folder(root), spec, dataset, split, records)


def group_rows(
    spec: Mapping[str, Any], entry: Mapping[str, Any], record: Mapping[str, Any]
) -> NDArray[np.int64]:
    """The rows of each row group of a shard: int64 [groups]."""
    size, count = entry["row_group_examples"], record["count"]
    groups = -(-count // size)
    if spec["pack"] is not None:
        rows = decode_numbers(record["group_rows"])
        if len(rows) != groups:
            raise OstracaError(
                f"{record['path']}: the manifest's group_rows are not those of {groups} row groups"
            )
        return rows
    rows = np.minimum(size, count - np.arange(groups, dtype=np.int64) * size)
    changes = Changes.parse(record.get("changes", ""), count)
    gone = changes.places[changes.attempts == 0]
    left: NDArray[np.int64] = rows - np.bincount(gone // size, minlength=groups)
    return left


@lru_cache(maxsize=64)
def _footer(url: str, path: str, stamp: tuple[int, str]) -> pq.FileMetaData:
    """The footer of a file as it was at this stamp."""
    with closing(open_folder(url).open(path)) as source:
        return pq.read_metadata(source)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
