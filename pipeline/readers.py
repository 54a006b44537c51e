"""Reading shards back: row groups of a corpus, their page checksums checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import plain_errors
from tasks.errors import OstracaError


@lru_cache(maxsize=64)
def _footer(path: Path, size: int, changed: int) -> pq.FileMetaData:
    """The footer of a file as it was when it had this size and time of change."""
    return pq.read_metadata(path)


def read_row_group(
    root: Path, record: Mapping[str, Any], group: int, rows: int, columns: list[str] | None = None
) -> pa.Table:
    """One row group, of `rows` rows, of the shard that a manifest's `record` describes.

    OstracaError where it cannot be read, is not as the manifest says or fails its checksums.
    """
    path = root / record["path"]
    with plain_errors(path):
        status = path.stat()
        if status.st_size != record["bytes"]:
            raise OstracaError(
                f"{path}: has {status.st_size} bytes, the manifest says {record['bytes']}; "
                f"run `ostraca verify path={root}`"
            )
        try:
            footer = _footer(path, status.st_size, status.st_mtime_ns)
            with pq.ParquetFile(path, metadata=footer, page_checksum_verification=True) as file:
                table = file.read_row_group(group, columns=columns, use_threads=False)
            if table.num_rows != rows or not set(columns or ()) <= set(table.column_names):
                raise pa.ArrowInvalid(f"row group {group} has not the rows or columns that it must have")
            return table
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise OstracaError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); run `ostraca verify path={root}`"
            ) from error


def read_rows(
    root: Path, records: Sequence[Mapping[str, Any]], entry: Mapping[str, Any], first: int, count: int
) -> Iterator[pa.RecordBatch]:
    """Rows first..first+count-1 of a split, from the row groups that hold them, one at a time.

    records: of its shards, in order; entry: the split's in the complete spec.
    """
    size = entry["row_group_examples"]
    last = min(first + count, entry["examples"])
    while first < last:
        shard, inside = divmod(first, entry["shard_examples"])
        group, row = divmod(inside, size)
        rows = min(size, records[shard]["rows"] - group * size)
        (batch,) = read_row_group(root, records[shard], group, rows).combine_chunks().to_batches()
        found = batch.slice(row, last - first)
        yield found
        first += found.num_rows
