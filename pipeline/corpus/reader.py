"""Reading shards back: row groups of a split, whatever the format, each checked before it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from ..store.folder import Folder
from ..store.open import open_folder
from .formats import FAILURES, ShardFile
from .group_examples import (
    count_groups,
    group_index,
    records_in,
    rows_of_shards,
    tokens_of_groups_in,
    tokens_of_shards,
)
from .row_checks import check_rows, check_schema
from .shard_files import read_group, rows_of_groups, tokens_of_groups
from .split import Split, count_tokens

_MANY_GROUPS = 1 << 24  # of a split: what is told of them is then held against the files first
_LEAST_BYTES = 16  # of a file for each of its row groups: its digest


class SplitReader:
    """The row groups of one split of a dataset, known from the manifest without opening a file.

    digest: the spec's, as the manifest has it. records: of the split's shards, in the plan's order.
    """

    def __init__(
        self, folder: Folder, split: Split, digest: str, records: Sequence[Mapping[str, Any]]
    ) -> None:
        self.folder, self.split, self.records = folder, split, records
        self._digest = digest

    @property
    def rows(self) -> int:
        return sum(record["rows"] for record in self.records)

    @cached_property
    def group_rows(self) -> list[NDArray[np.int64]]:
        """Of each shard, the rows of its row groups: int64 [groups]; OstracaError where they are wrong."""
        groups = [count_groups(self.split, record) for record in self.records]
        if sum(groups) > _MANY_GROUPS:
            for record, own in zip(self.records, groups, strict=True):
                here = self.folder.size(record["path"]) == record["bytes"]
                if not here or own * _LEAST_BYTES > record["bytes"]:
                    raise self._damaged(record, OstracaError(f"{own:,} row groups are more than it can hold"))
        return rows_of_shards(str(self.folder), self.split, self.records)

    @property
    def group_tokens(self) -> list[NDArray[np.int64]] | None:
        """Of each shard, the tokens of its row groups, of texts their bytes: int64 [groups].

        None where the manifest is of format 3. OstracaError where they are wrong.
        """
        return tokens_of_shards(str(self.folder), self.split, self.records)

    def _tokens(self, shard: int) -> NDArray[np.int64] | None:
        """`group_tokens` of one shard."""
        return tokens_of_groups_in(str(self.folder), self.split, self.records[shard])

    @cached_property
    def _url(self) -> str:
        return self.folder.url

    def read(self, shard: int, group: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """A row group; OstracaError where it cannot be read, or is not what the manifest says.

        Its schema is the spec's, and `check_rows` holds of its values, of `index` too where that is not asked
        for.
        """
        record, rows = self.records[shard], int(self.group_rows[shard][group])
        schema, says = self.split.schema, self._tokens(shard)
        names = schema.names if columns is None else list(columns)
        wanted = [name for name in schema.names if name in names or name == "index"]
        try:
            batch = read_group(self._file(shard), group, wanted, rows)
            if batch.num_rows != rows:
                raise OstracaError(f"row group {group} has {batch.num_rows} rows, the manifest says {rows}")
            check_schema(batch.schema, pa.schema([schema.field(name) for name in wanted]))
            pack, index = self.split.pack, group_index(self.split, record, group)
            check_rows(batch, index, self.split.vocab_size, None if pack is None else pack["length"])
            if says is not None and schema.names[0] in names and count_tokens(batch) != says[group]:
                raise OstracaError(
                    f"row group {group} has {count_tokens(batch):,} tokens, the manifest says {says[group]:,}"
                )
        except FAILURES as error:
            raise self._damaged(record, error) from error
        asked = pa.schema([schema.field(name) for name in names])
        return pa.RecordBatch.from_arrays([batch.column(name) for name in names], schema=asked)

    def check(self, shard: int) -> None:
        """OstracaError where a shard's row groups are not what the manifest says of them.

        Rows are read only of tars from before there were tails.
        """
        rows, tokens = self.group_rows[shard], self._tokens(shard)
        try:
            groups = rows_of_groups(self._file(shard))
            if groups is not None and not np.array_equal(groups, rows):
                raise OstracaError("its row groups have different rows than the manifest says")
            if tokens is not None and not np.array_equal(tokens_of_groups(self._file(shard)), tokens):
                raise OstracaError("its row groups have different tokens than the manifest says")
        except FAILURES as error:
            raise self._damaged(self.records[shard], error) from error
        if groups is None:
            for group in range(len(rows)):
                self.read(shard, group)

    def _file(self, shard: int) -> ShardFile:
        return ShardFile(
            folder=self.folder,
            url=self._url,
            record=self.records[shard],
            split=self.split,
            digest=self._digest,
            groups=len(self.group_rows[shard]),
        )

    def _damaged(self, record: Mapping[str, Any], error: Exception) -> OstracaError:
        """What to say of a shard that cannot be read: first, whether its file is of another size."""
        name, check = f"{self.folder}/{record['path']}", f"run `ostraca verify path={self.folder}`"
        try:
            size = self.folder.size(record["path"])
        except OstracaError:
            size = record["bytes"]
        if size is None:
            return OstracaError(f"{name}: no such file or folder; {check}")
        if size != record["bytes"]:
            return OstracaError(f"{name}: has {size} bytes, the manifest says {record['bytes']}; {check}")
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return OstracaError(f"{name}: cannot be read ({reason}); {check}")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(shard, row group) of all row groups, in index order; OstracaError as `read` has it.

        Where the tokens, or the texts, are among `columns` they are as many as the manifest says of a shard.
        """
        for shard in range(len(self.records)):
            for batch in self.shard_batches(shard, columns):
                yield shard, batch

    def shard_batches(self, shard: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All row groups of one shard, see `batches`."""
        record, first = self.records[shard], self.split.schema.names[0]
        counted, tokens = columns is None or first in columns, 0
        for group in range(len(self.group_rows[shard])):
            batch = self.read(shard, group, columns)
            tokens += count_tokens(batch.select([first])) if counted else 0
            yield batch
        if counted and tokens != record["tokens"]:
            says = f"has {tokens:,} tokens, the manifest says {record['tokens']:,}"
            raise self._damaged(record, OstracaError(says))

    def rows_from(self, index: int, count: int) -> Iterator[pa.RecordBatch]:
        """The first `count` rows of examples `index` and after, in pieces."""
        shard, inside = divmod(index, self.split.shard_examples)
        group = inside // self.split.row_group_examples
        while count > 0 and shard < len(self.records):
            if group == len(self.group_rows[shard]):
                shard, group = shard + 1, 0
                continue
            batch = self.read(shard, group)
            rows = batch.slice(int(np.searchsorted(batch.column("index").to_numpy(), index)), count)
            if rows.num_rows:
                yield rows
            count -= rows.num_rows
            group += 1


def split_reader(root: Any, manifest: Mapping[str, Any], split: Split) -> SplitReader:
    """A reader of a split of the corpus in `root`."""
    return SplitReader(open_folder(root), split, manifest["spec_digest"], records_in(manifest, split))
