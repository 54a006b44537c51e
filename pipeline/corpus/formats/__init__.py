"""What writes and reads the shards of each format of `pipeline.spec.formats`, a module or two each.

The module that writes has `open_writer(split, sink, metadata)`, a context manager of a `ShardWriter`; the one
that reads has `SHARDS`, a `ShardReader`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.errors import OstracaError
from ...spec.formats import FORMATS
from ...store.folder import Folder
from ..row_groups import RowGroups
from ..split import Split

# What parsing bytes that nobody vouches for may raise.
FAILURES = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, OstracaError)
OTHER_SIZE = "its size is not what the manifest says"


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """The file of a shard of a split, as the manifest describes it.

    url: of `folder`. digest: the spec's. groups: how many row groups it must have.
    """

    folder: Folder
    url: str
    record: Mapping[str, Any]
    split: Split
    digest: str
    groups: int


class ShardWriter(Protocol):
    """Writes the row groups of a shard; as a context manager it ends the file at a clean exit."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a row group."""

    def add_table(self, name: str, table: str) -> None:
        """Put a line of ASCII about the row groups into the tail of the file, once all are written."""


class Footer(Protocol):
    """What the tail of a shard's file holds."""

    @property
    def groups(self) -> RowGroups: ...

    def check(self, file: ShardFile) -> None:
        """OstracaError where the file is not as its spec makes it, as far as the tail tells."""

    def read(self, file: ShardFile, group: int, data: bytes, columns: list[str], rows: int) -> pa.RecordBatch:
        """Columns of a row group whose bytes are `data`; one of FAILURES where they are not."""


class ShardReader(Protocol):
    """Reads the files of a format."""

    def footer(self, tail: bytes, start: int) -> Footer:
        """Of a file whose tail begins at `start`; one of FAILURES where it is not one."""

    def read_old(self, file: ShardFile, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
        """Columns of a row group of a shard from before there were tails."""

    def old_rows(self, file: ShardFile) -> NDArray[np.int64] | None:
        """The rows of each row group of such a shard: int64 [groups]; None where only reading them tells."""


def open_writer(split: Split, sink: Any, metadata: dict[str, str]) -> AbstractContextManager[ShardWriter]:
    """A writer of a shard of a split to a binary file."""
    opens: Callable[..., AbstractContextManager[ShardWriter]] = importlib.import_module(
        FORMATS[split.spec["format"]].writer
    ).open_writer
    return opens(split, sink, metadata)


def reader_of(form: str) -> ShardReader:
    """What reads the shards of a format."""
    reader: ShardReader = importlib.import_module(FORMATS[form].reader).SHARDS
    return reader
