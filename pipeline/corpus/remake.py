"""Making shards again: row groups of a split from its manifest alone, as reading the shards gives them.

What is made is not solved again, as the build did that. `ostraca reproduce` compares whole shards with their
content digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from .contents import contents_of
from .group_examples import (
    changes_in,
    count_groups,
    group_index,
    group_places,
    records_in,
    rows_of_shards,
    tokens_of_groups_in,
    tokens_of_shards,
)
from .split import Split, count_tokens

_MOST_GROUPS = 1 << 27  # of a split: their numbers of rows take a gigabyte


class SplitMaker:
    """The row groups of one split of a dataset, each made when it is asked for: see `SplitReader`.

    where: the corpus, for messages. records: of the split's shards, in the plan's order. OstracaError where
    the task is not the version that the corpus is of. Threads may share it.
    """

    def __init__(self, where: str, split: Split, records: Sequence[Mapping[str, Any]]) -> None:
        split.require_version()
        self.split, self.records = split, records
        self._where = where

    @property
    def rows(self) -> int:
        return sum(record["rows"] for record in self.records)

    @cached_property
    def group_rows(self) -> list[NDArray[np.int64]]:
        """Of each shard, the rows of its row groups: int64 [groups]; OstracaError where they are wrong."""
        groups = sum(count_groups(self.split, record) for record in self.records)
        if groups > _MOST_GROUPS:
            raise OstracaError(
                f"{self._where}: {'/'.join(self.split.id)} has {groups:,} row groups, the most that can be "
                f"made again is {_MOST_GROUPS:,}; build the corpus with more row_group_tokens"
            )
        return rows_of_shards(self._where, self.split, self.records)

    @property
    def group_tokens(self) -> list[NDArray[np.int64]] | None:
        """Of each shard, the tokens of its row groups, see `SplitReader`."""
        return tokens_of_shards(self._where, self.split, self.records)

    def read(self, shard: int, group: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """A row group; OstracaError where what is made is not what the manifest says."""
        record, rows = self.records[shard], int(self.group_rows[shard][group])
        schema = self.split.schema
        names = schema.names if columns is None else list(columns)
        asked = pa.schema([schema.field(name) for name in names])
        draws = changes_in(record).draws(*group_places(self.split, record, group), record["first_index"])
        try:
            made = contents_of(self.split, draws, self._draw, names)
        except OstracaError as error:
            raise self._wrong(record, group, str(error)) from error
        index = made.examples.column("index").to_numpy()
        if not np.array_equal(index, group_index(self.split, record, group)):
            raise self._wrong(record, group, "its examples are not those that the manifest says")
        if made.rows.num_rows != rows:
            raise self._wrong(record, group, f"it has {made.rows.num_rows} rows, the manifest says {rows}")
        told = tokens_of_groups_in(self._where, self.split, record)
        if told is not None and schema.names[0] in names:
            tokens = count_tokens(made.rows.select([schema.names[0]]))
            if tokens != told[group]:
                raise self._wrong(record, group, f"it has {tokens} tokens, the manifest says {told[group]}")
        return pa.RecordBatch.from_arrays([made.rows.column(name) for name in names], schema=asked)

    def _draw(self, attempt: int, indices: NDArray[np.int64]) -> pa.RecordBatch:
        return self.split.task.generate(self.split.config, self.split.key(attempt), indices)

    def _wrong(self, record: Mapping[str, Any], group: int, reason: str) -> OstracaError:
        return OstracaError(
            f"{self._where}: row group {group} of {record['path']} cannot be made again ({reason}); "
            f"run `ostraca reproduce path={self._where}`"
        )


def split_maker(where: str, manifest: Mapping[str, Any], split: Split) -> SplitMaker:
    """What makes a split of the corpus of a manifest; its spec is what `spec_in` gives."""
    return SplitMaker(where, split, records_in(manifest, split))
