"""The formats of shards: how one is written, and how its row groups are read back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

from ....tasks.vocabulary import corpus_vocab_size
from ...spec.shards import Shard
from .parquet import ParquetShardWriter
from .webdataset import WebDatasetShardWriter


class ShardWriter(Protocol):
    """Writes the row groups of a shard; as a context manager it ends the file at a clean exit."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a row group."""

    def add_table(self, name: str, table: str) -> None:
        """Put a line of ASCII about the row groups into the tail of the file, once all are written."""


def open_writer(
    spec: Mapping[str, Any], shard: Shard, schema: pa.Schema, sink: Any, metadata: dict[str, str]
) -> AbstractContextManager[ShardWriter]:
    """A writer of a shard of this spec to a binary file."""
    if spec["format"] == "parquet":
        return ParquetShardWriter(sink, schema, metadata)
    texts = "input_ids" not in schema.names
    return WebDatasetShardWriter(
        sink,
        schema,
        metadata,
        compression=None if spec["compression"] == "none" else spec["compression"],
        vocab_size=None if texts else corpus_vocab_size(spec, [shard.dataset]),
    )
