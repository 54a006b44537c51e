"""Reading shards back: row groups of a split, whatever the format, each checked before it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from ..store.folder import Folder
from ..store.open import open_folder
from .changes import Changes
from .formats import FAILURES, ShardFile
from .numbers import decode_numbers
from .row_checks import check_rows, check_schema
from .shard_files import read_group, rows_of_groups, tokens_of_groups
from .split import Split, count_tokens

_MANY_GROUPS = 1 << 20  # of a split: what is told of them is then held against the files first
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
        size = self.split.row_group_examples
        groups = [-(-record["count"] // size) for record in self.records]
        if sum(groups) > _MANY_GROUPS:
            for record, own in zip(self.records, groups, strict=True):
                here = self.folder.size(record["path"]) == record["bytes"]
                if not here or own * _LEAST_BYTES > record["bytes"]:
                    raise self._damaged(record, OstracaError(f"{own:,} row groups are more than it can hold"))
        per_shard = []
        for record in self.records:
            rows = _group_rows(self.split, record)
            if rows.sum() != record["rows"] or (rows < 0).any():
                raise OstracaError(
                    f"{self.folder}: the manifest's rows of {record['path']} do not add up; run "
                    f"`ostraca verify path={self.folder}`"
                )
            per_shard.append(rows)
        return per_shard

    @cached_property
    def group_tokens(self) -> list[NDArray[np.int64]] | None:
        """Of each shard, the tokens of its row groups, of texts their bytes: int64 [groups].

        None where the manifest is of format 3. OstracaError where they are wrong.
        """
        if not all(record.get("group_tokens") for record in self.records):
            return None
        return [tokens for shard in range(len(self.records)) if (tokens := self._tokens(shard)) is not None]

    def _tokens(self, shard: int) -> NDArray[np.int64] | None:
        """`group_tokens` of one shard."""
        record, groups = self.records[shard], len(self.group_rows[shard])
        if not record.get("group_tokens"):
            return None
        tokens = _group_tokens(record["group_tokens"], groups, record["tokens"])
        if tokens is None:
            raise OstracaError(
                f"{self.folder}: the manifest's group_tokens of {record['path']} are not its row groups'; "
                f"run `ostraca verify path={self.folder}`"
            )
        return tokens

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
            pack, index = self.split.pack, self._examples(record, group)
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

    def _examples(self, record: Mapping[str, Any], group: int) -> NDArray[np.int64]:
        """The index of each example that a row group holds: int64 [examples], ascending."""
        size = self.split.row_group_examples
        start, stop = group * size, min(group * size + size, record["count"])
        own = _changes(record.get("changes", ""), record["count"]).of(start, stop)
        index = np.arange(start, stop, dtype=np.int64)
        if own.dropped:
            index = np.delete(index, own.places[own.attempts == 0] - start)
        index += record["first_index"]
        return index

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
    listed = manifest["splits"][split.name]["shards"]
    records = [record for record in listed if record["dataset"] == split.dataset]
    return SplitReader(open_folder(root), split, manifest["spec_digest"], records)


def _group_rows(split: Split, record: Mapping[str, Any]) -> NDArray[np.int64]:
    """The rows of each row group of a shard: int64 [groups]."""
    size, count = split.row_group_examples, record["count"]
    groups = -(-count // size)
    if split.pack is not None:
        rows = decode_numbers(record.get("group_rows", ""), groups)
        if len(rows) != groups:
            raise OstracaError(
                f"{record['path']}: the manifest's group_rows are not those of {groups} row groups"
            )
        return rows
    rows = np.minimum(size, count - np.arange(groups, dtype=np.int64) * size)
    changes = _changes(record.get("changes", ""), count)
    gone = changes.places[changes.attempts == 0]
    left: NDArray[np.int64] = rows - np.bincount(gone // size, minlength=groups)
    return left


@lru_cache(maxsize=64)
def _group_tokens(text: str, groups: int, total: int) -> NDArray[np.int64] | None:
    """The tokens of each row group of a shard, int64 [groups]; None where they are not so many in all."""
    tokens = decode_numbers(text, groups)
    sums = np.cumsum(tokens)  # below 0 where they pass 2^63
    sound = len(tokens) == groups and bool((tokens >= 0).all() and (sums >= 0).all())
    return tokens if sound and sums[-1] == total else None


@lru_cache(maxsize=64)
def _changes(text: str, count: int) -> Changes:
    return Changes.parse(text, count)
