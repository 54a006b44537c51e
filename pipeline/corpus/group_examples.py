"""Which examples the row groups of a shard hold, and in how many rows: from its record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from .changes import Changes
from .numbers import decode_numbers
from .split import Split


def records_in(manifest: Mapping[str, Any], split: Split) -> list[Mapping[str, Any]]:
    """The records of a split's shards, in the plan's order."""
    listed = manifest["splits"][split.name]["shards"]
    return [record for record in listed if record["dataset"] == split.dataset]


def changes_in(record: Mapping[str, Any]) -> Changes:
    """What deduplication changed in a shard."""
    return _changes(record.get("changes", ""), record["count"])


@lru_cache(maxsize=64)
def _changes(text: str, count: int) -> Changes:
    return Changes.parse(text, count)


def count_groups(split: Split, record: Mapping[str, Any]) -> int:
    """How many row groups a shard has."""
    return -(-int(record["count"]) // split.row_group_examples)


def group_places(split: Split, record: Mapping[str, Any], group: int) -> tuple[int, int]:
    """The places [start, stop) in a shard of the examples that a row group was made of."""
    size = split.row_group_examples
    return group * size, min(group * size + size, record["count"])


def group_index(split: Split, record: Mapping[str, Any], group: int) -> NDArray[np.int64]:
    """The index of each example that a row group holds: int64 [examples], ascending."""
    start, stop = group_places(split, record, group)
    own = changes_in(record).of(start, stop)
    index = np.arange(start, stop, dtype=np.int64)
    if own.dropped:
        index = np.delete(index, own.places[own.attempts == 0] - start)
    index += record["first_index"]
    return index


def rows_of_shards(where: str, split: Split, records: Sequence[Mapping[str, Any]]) -> list[NDArray[np.int64]]:
    """Of each shard, the rows of its row groups: int64 [groups]; OstracaError where they are wrong.

    where: the corpus, for the message.
    """
    per_shard = []
    for record in records:
        rows = _group_rows(split, record)
        if rows.sum() != record["rows"] or (rows < 0).any():
            raise OstracaError(
                f"{where}: the manifest's rows of {record['path']} do not add up; run "
                f"`ostraca verify path={where}`"
            )
        per_shard.append(rows)
    return per_shard


def _group_rows(split: Split, record: Mapping[str, Any]) -> NDArray[np.int64]:
    """The rows of each row group of a shard: int64 [groups]."""
    size, count, groups = split.row_group_examples, record["count"], count_groups(split, record)
    if split.pack is not None:
        rows = decode_numbers(record.get("group_rows", ""), groups)
        if len(rows) != groups:
            raise OstracaError(
                f"{record['path']}: the manifest's group_rows are not those of {groups} row groups"
            )
        return rows
    rows = np.minimum(size, count - np.arange(groups, dtype=np.int64) * size)
    changes = changes_in(record)
    gone = changes.places[changes.attempts == 0]
    left: NDArray[np.int64] = rows - np.bincount(gone // size, minlength=groups)
    return left
