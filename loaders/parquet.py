"""Any tokenised data in Parquet files as a source: natural text beside procedural data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..pipeline.corpus.formats import FAILURES
from ..pipeline.store.folder import Folder
from ..pipeline.store.open import open_folder
from ..tasks.base import INT32_MAX
from ..tasks.core.paths import is_local, local_path
from ..tasks.errors import ConfigError, OstracaError, check_integer, first_line, nearest
from .source import Blocks, Rows

_WILD = re.compile(r"[*?\[]")


class ParquetSource:
    """The rows of Parquet files with a column of token ids: one document a row; a block is a row group.

    pattern: a path or a URL with * ? [...] and ** (any folders), or several; files come in the order of their
    names. column: lists of integers. loss_mask: the column that says which tokens count, lists of 0 and 1 or
    a byte a token; None: all. vocab_size: None is what the files' statistics say.

    ConfigError where no file matches, or a file has no such column or one of another type.
    """

    def __init__(
        self,
        pattern: str | Path | Sequence[str | Path],
        *,
        column: str = "input_ids",
        loss_mask: str | None = None,
        vocab_size: int | None = None,
    ) -> None:
        self._column, self._loss_mask = column, loss_mask
        patterns = [_whole(one) for one in ([pattern] if isinstance(pattern, str | Path) else pattern)]
        self._files = [found for one in patterns for found in _matching(one)]
        if not self._files:
            raise ConfigError(f"{', '.join(patterns)}: no file matches; give e.g. 'data/**/*.parquet'")
        self._vocab_size = None if vocab_size is None else check_integer("vocab_size", vocab_size, 1)
        footers = [self._footer(folder, name) for folder, name in self._files]
        groups = [
            (number, group) for number, one in enumerate(footers) for group in range(one.num_row_groups)
        ]
        leaves = [_leaf(one, column) for one in footers]
        parts = [footers[number].row_group(group) for number, group in groups]
        rows = np.array([part.num_rows for part in parts], np.int64)
        chunks = [part.column(leaves[number]) for (number, _), part in zip(groups, parts, strict=True)]
        # A null or empty row counts as one value: as many tokens or a few more.
        tokens = np.array([chunk.num_values for chunk in chunks], np.int64)
        kept = rows > 0
        self._groups = [group for group, keep in zip(groups, kept.tolist(), strict=True) if keep]
        if not self._groups:
            raise ConfigError(f"{', '.join(patterns)}: these files have no rows")
        self._largest = [
            chunk.statistics.max if chunk.statistics is not None and chunk.statistics.has_min_max else None
            for chunk in chunks
        ]
        self._blocks = Blocks(
            rows=rows[kept],
            tokens=tokens[kept],
            strata=(len(self._groups),),
            names=(_name(patterns),),
        )
        digest = hashlib.sha256()
        for one in footers:
            told = [_told(one, group) for group in range(one.num_row_groups)]
            digest.update(repr(told).encode())
        self._recipe = {
            "kind": "parquet",
            "pattern": patterns,
            "column": column,
            "loss_mask": loss_mask,
            "vocab_size": self._vocab_size,
        }
        self._identity = {
            "kind": "parquet",
            "column": column,
            "loss_mask": loss_mask,
            "files": len(self._files),
            "rows": int(rows.sum()),
            "footers": digest.hexdigest()[:32],
        }

    @property
    def vocab_size(self) -> int:
        """See `Source`; ConfigError where neither the files nor the caller say it."""
        if self._vocab_size is not None:
            return self._vocab_size
        known = [largest for largest in self._largest if largest is not None]
        if len(known) < len(self._largest):
            raise ConfigError(f"{self._files[0][0]}: its files do not say their largest id; give vocab_size")
        return int(max(known)) + 1

    @property
    def row_length(self) -> None:
        """Its rows are single documents."""
        return None

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Source`."""
        return self._identity

    @property
    def recipe(self) -> Mapping[str, Any]:
        """See `Source`."""
        return self._recipe

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return int(self._blocks.rows.sum())

    def blocks(self, tokens: bool) -> Blocks:
        """See `Source`."""
        return self._blocks

    def read(self, blocks: Sequence[int]) -> Rows:
        """See `Source`."""
        read = [self._read(*self._groups[block]) for block in blocks]
        ids, offsets = _joined([one[0] for one in read], [one[1] for one in read], np.int32)
        if read[0][2] is None:
            mask = np.ones(len(ids), np.uint8)
        else:
            mask = np.concatenate([one[2] for one in read])
        return Rows(tokens=ids, mask=mask, offsets=offsets)

    def _read(
        self, number: int, group: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8] | None]:
        """Ids, offsets and mask of a row group; OstracaError where they are not what they should be."""
        folder, name = self._files[number]
        wanted = [self._column] if self._loss_mask is None else [self._column, self._loss_mask]
        try:
            with closing(folder.open(name)) as file, pq.ParquetFile(file) as parquet:
                table = parquet.read_row_group(group, columns=wanted, use_threads=False)
        except FAILURES as error:
            raise OstracaError(f"{folder}/{name}: cannot be read ({first_line(error)})") from error
        said = f"{folder}/{name}: row group {group}"
        values, offsets = _lists(said, self._column, table.column(self._column))
        most = INT32_MAX if self._vocab_size is None else self._vocab_size - 1
        if len(values) and (int(values.min()) < 0 or int(values.max()) > most):
            raise OstracaError(
                f"{said} has ids from {values.min()} to {values.max()}; allowed are 0 to {most}"
            )
        mask = None
        if self._loss_mask is not None:
            mask, ends = _lists(said, self._loss_mask, table.column(self._loss_mask))
            if not np.array_equal(offsets, ends):
                raise OstracaError(f"{said}: a row's {self._loss_mask} is not as long as its {self._column}")
            mask = (mask != 0).astype(np.uint8)
        return values.astype(np.int32), offsets.astype(np.int32), mask

    def _footer(self, folder: Folder, name: str) -> pq.FileMetaData:
        """Of a file whose columns are what they must be."""
        try:
            with closing(folder.open(name)) as file:
                footer = pq.read_metadata(file)
        except FAILURES as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise OstracaError(f"{folder}/{name}: is no Parquet file that can be read ({reason})") from error
        schema = footer.schema.to_arrow_schema()
        for column in filter(None, (self._column, self._loss_mask)):
            if column not in schema.names:
                has = ", ".join(schema.names)
                raise ConfigError(
                    f"{folder}/{name}: no column {column!r}{nearest(column, schema.names)}; it has {has}"
                )
            kind = schema.field(column).type
            ids = column == self._column
            if not (_is_lists(kind, ids) or (not ids and pa.types.is_binary(kind))):
                wanted = "lists of integers" if ids else "lists of 0 and 1, or a byte a token"
                hint = "; tokenise the texts first" if pa.types.is_string(kind) and ids else ""
                raise ConfigError(f"{folder}/{name}: column {column!r} is {kind}, not {wanted}{hint}")
        return footer


def _is_lists(kind: pa.DataType, ids: bool) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (
        pa.types.is_integer(kind.value_type) or (not ids and pa.types.is_boolean(kind.value_type))
    )


def _lists(said: str, name: str, column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values of all rows and where each begins and the last ends: int64 [rows + 1]."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no rows
        return np.zeros(0, np.int32), np.zeros(1, np.int64)
    if pa.types.is_binary(array.type):
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int32)[: len(array) + 1].astype(np.int64)
        values = np.frombuffer(data if data is not None else b"", np.uint8)
        return values[ends[0] : ends[-1]], ends - ends[0]
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    flat = array.flatten()  # without what null rows may hide
    if flat.null_count:
        raise OstracaError(f"{said} has nulls among the values of {name}")
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return flat.to_numpy(zero_copy_only=False), ends


def _joined(
    values: Sequence[NDArray[Any]], offsets: Sequence[NDArray[Any]], dtype: Any
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Ragged arrays, end to end."""
    if len(values) == 1:
        return values[0], offsets[0]
    lengths = np.concatenate([np.diff(own) for own in offsets])
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if ends[-1] > INT32_MAX:
        raise ConfigError("a window has over 2^31 tokens; take a smaller window_blocks")
    return np.concatenate(values).astype(dtype, copy=False), ends.astype(np.int32)


def _leaf(footer: pq.FileMetaData, column: str) -> int:
    """The place of a column's values among the leaves of a file."""
    paths = [footer.schema.column(place).path for place in range(len(footer.schema))]
    return next(place for place, path in enumerate(paths) if path.split(".")[0] == column)


def _told(footer: pq.FileMetaData, group: int) -> list[Any]:
    """What a footer tells of a row group that changes whenever its bytes do, nearly always."""
    part = footer.row_group(group)
    return [
        part.num_rows,
        [
            (chunk.path_in_schema, chunk.num_values, chunk.data_page_offset, chunk.total_compressed_size)
            for chunk in (part.column(place) for place in range(part.num_columns))
        ],
    ]


def _whole(pattern: str | Path) -> str:
    """A pattern that means the same in another working folder."""
    return str(local_path(pattern)) if is_local(pattern) else str(pattern)


def _name(patterns: Sequence[str]) -> str:
    return patterns[0] if len(patterns) == 1 else f"{patterns[0]}, ..."


def _matching(pattern: str | Path) -> list[tuple[Folder, str]]:
    """(folder, name in it) of the files that a pattern stands for, by name."""
    protocol, slashes, rest = str(pattern).rpartition("://")
    parts = rest.split("/")
    fixed = next((place for place, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    above = "/".join(parts[:fixed]) or ("/" if rest.startswith("/") else ".")
    folder = open_folder(f"{protocol}{slashes}{above}")
    below = "/".join(parts[fixed:])
    if not _WILD.search(below):
        return [(folder, below)] if folder.size(below) is not None else []
    wanted = re.compile(_regex(below))
    return [(folder, name) for name in sorted(folder.names()) if wanted.fullmatch(name)]


def _regex(pattern: str) -> str:
    """A regular expression for a pattern in which * and ? stay within a name and ** does not."""
    text, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            text, at = text + "(?:[^/]+/)*", at + 3
        elif pattern.startswith("**", at):
            text, at = text + ".*", at + 2
        elif pattern[at] == "*":
            text, at = text + "[^/]*", at + 1
        elif pattern[at] == "?":
            text, at = text + "[^/]", at + 1
        elif pattern[at] == "[" and "]" in pattern[at + 2 :]:
            end = pattern.index("]", at + 2)
            inside = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            text, at = text + (f"[^{inside[1:]}]" if inside[0] == "!" else f"[{inside}]"), end + 1
        else:
            text, at = text + re.escape(pattern[at]), at + 1
    return text
