"""The row groups of a shard's file: bytes that were compared with the manifest, then rows.

Where the manifest has a shard's `tail` (see `pipeline.corpus.row_groups`), nothing is parsed whose digest was
not compared, and a row group is read with one request. A shard from before there were tails is guarded by the
checksums of its format alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from ..store.folder import Folder
from .formats import OTHER_SIZE, Footer, ShardFile, reader_of
from .row_groups import Tail


def read_group(file: ShardFile, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
    """Columns of a row group, in the schema's order, with whatever values; one of FAILURES otherwise.

    rows: how many there must be, so what it may unfold to.
    """
    if "tail" not in file.record:
        return reader_of(file.split.spec["format"]).read_old(file, group, columns, rows)
    footer = _footer_of(file)
    digest = footer.groups.digests[group].tobytes()
    data = file.folder.read_known(file.record["path"], *footer.groups.span(group), digest)
    if data is None:
        raise OstracaError(f"row group {group} is not what the manifest says: its digest differs")
    return footer.read(file, group, data, columns, rows)


def rows_of_groups(file: ShardFile) -> NDArray[np.int64] | None:
    """The rows of each row group as the file itself has them: int64 [groups].

    None where only reading them tells: in a tar from before there were tails.
    """
    if "tail" in file.record:
        return _footer_of(file).groups.rows
    return reader_of(file.split.spec["format"]).old_rows(file)


def tokens_of_groups(file: ShardFile) -> NDArray[np.int64]:
    """The tokens of each row group as the file itself has them: int64 [groups]; not of format 3."""
    tokens = _footer_of(file).groups.tokens
    assert tokens is not None, "`_footer_of` has seen to it"
    return tokens


def _footer_of(file: ShardFile) -> Footer:
    record = file.record
    said = file.url, record["path"], record["bytes"], record["tail"], file.split.spec["format"]
    footer = _footer(_Tailed(said=said, folder=file.folder))
    if len(footer.groups.ends) != file.groups:
        raise OstracaError(f"has {len(footer.groups.ends)} row groups, its spec makes {file.groups}")
    if (footer.groups.tokens is not None) != bool(record.get("group_tokens")):
        raise OstracaError("its table of row groups is of another format than the manifest")
    footer.check(file)
    return footer


@dataclass(frozen=True, kw_only=True)
class _Tailed:
    """A file with a tail, told from others by its folder's URL, its path, bytes, `Tail` and format alone."""

    said: tuple[str, str, int, str, str]
    folder: Folder = field(compare=False)


@lru_cache(maxsize=64)
def _footer(file: _Tailed) -> Footer:
    _, path, size, said, form = file.said
    tail = Tail.parse(said)
    if file.folder.size(path) != size or tail.start > size:
        raise OstracaError(OTHER_SIZE)
    data = file.folder.read_known(path, tail.start, size, tail.digest)
    if data is None:
        raise OstracaError("its tail is not what the manifest says: its digest differs")
    return reader_of(form).footer(data, tail.start)
