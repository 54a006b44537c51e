"""The row groups of a shard's file: bytes that were compared with the manifest, then rows.

Where the manifest has a shard's `tail` (see `pipeline.corpus.row_groups`), nothing is parsed whose digest was
not compared, and a row group is read with one request. A shard from before there were tails is guarded by the
checksums of its format alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from ..store.open import open_folder
from .formats import OTHER_SIZE, Footer, ShardFile, reader_of
from .row_groups import Tail, digest_of


def read_group(file: ShardFile, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
    """Columns of a row group, in the schema's order, with whatever values; one of FAILURES otherwise.

    rows: how many there must be, so what it may unfold to.
    """
    if "tail" not in file.record:
        return reader_of(file.split.spec["format"]).read_old(file, group, columns, rows)
    footer = _footer_of(file)
    data = file.folder.read_range(file.record["path"], *footer.groups.span(group))
    if digest_of(data) != footer.groups.digests[group].tobytes():
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
    footer = _footer(file.url, record["path"], record["bytes"], record["tail"], file.split.spec["format"])
    if len(footer.groups.ends) != file.groups:
        raise OstracaError(f"has {len(footer.groups.ends)} row groups, its spec makes {file.groups}")
    if (footer.groups.tokens is not None) != bool(record.get("group_tokens")):
        raise OstracaError("its table of row groups is of another format than the manifest")
    footer.check(file)
    return footer


@lru_cache(maxsize=64)
def _footer(url: str, path: str, size: int, said: str, form: str) -> Footer:
    """The tail of a file of `size` bytes of which the manifest says `said`."""
    folder, tail = open_folder(url), Tail.parse(said)
    if folder.size(path) != size or tail.start > size:
        raise OstracaError(OTHER_SIZE)
    data = folder.read_range(path, tail.start, size)
    if digest_of(data) != tail.digest:
        raise OstracaError("its tail is not what the manifest says: its digest differs")
    return reader_of(form).footer(data, tail.start)
