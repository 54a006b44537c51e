"""Which examples the row groups of a shard hold, and in how many rows: from its record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from .changes import Changes
from .numbers import decode_lists, decode_numbers
from .split import Split

_AT_ONCE = 1024  # lists that are decoded together


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
    per_shard: list[NDArray[np.int64]] = []
    whole: dict[int, NDArray[np.int64]] = {}  # of shards that nothing was changed in, by their examples
    for record in records:
        if split.pack is not None or record.get("changes"):
            rows = _group_rows(split, record)
        else:
            count = record["count"]
            if count not in whole:
                whole[count] = _group_rows(split, record)
            rows = whole[count]
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


def tokens_of_shards(
    where: str, split: Split, records: Sequence[Mapping[str, Any]]
) -> list[NDArray[np.int64]] | None:
    """Of each shard, the tokens of its row groups, of texts their bytes: int64 [groups].

    None where the manifest is of format 3. OstracaError where they are wrong. where: the corpus, for the
    message.
    """
    texts = [record.get("group_tokens") or "" for record in records]
    if not all(texts):
        return None
    found: dict[int, NDArray[np.int64]] = {}
    alike: dict[int, list[int]] = {}  # shards with as many row groups
    for place, record in enumerate(records):
        alike.setdefault(count_groups(split, record), []).append(place)
    for groups, places in alike.items():
        for begin in range(0, len(places), _AT_ONCE):
            own = places[begin : begin + _AT_ONCE]
            lists = decode_lists([texts[place] for place in own], groups)
            totals = np.array([records[place]["tokens"] for place in own])
            if lists is None or not _are_tokens(lists, totals):
                for place in own:  # one of them raises
                    tokens_of_groups_in(where, split, records[place])
                raise AssertionError("tokens of row groups are wrong in a list and right one by one")
            found.update(zip(own, lists, strict=True))
    return [found[place] for place in range(len(records))]


def tokens_of_groups_in(where: str, split: Split, record: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """The tokens of the row groups of one shard, see `tokens_of_shards`."""
    text = record.get("group_tokens")
    if not text:
        return None
    tokens = _group_tokens(text, count_groups(split, record), record["tokens"])
    if tokens is None:
        raise OstracaError(
            f"{where}: the manifest's group_tokens of {record['path']} are not its row groups'; run "
            f"`ostraca verify path={where}`"
        )
    return tokens


@lru_cache(maxsize=64)
def _group_tokens(text: str, groups: int, total: int) -> NDArray[np.int64] | None:
    """The tokens of each row group of a shard, int64 [groups]; None where they are not so many in all."""
    tokens = decode_numbers(text, groups)
    sound = len(tokens) == groups and _are_tokens(tokens[None], np.array([total]))
    return tokens if sound else None


def _are_tokens(lists: NDArray[np.int64], totals: NDArray[np.int64]) -> bool:
    """Whether lists int64 [lists, groups] may be of row groups that have so many tokens in all."""
    sums = np.cumsum(lists, axis=1)  # below 0 where they pass 2^63
    return bool((lists >= 0).all() and (sums >= 0).all() and np.array_equal(sums[:, -1], totals))
