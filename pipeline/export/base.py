"""What a format gets: the rows of a dataset's splits in index order, and a place for its files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import unragged
from ...tasks.errors import OstracaError
from ..corpus.reader import SplitReader
from ..store.atomic import HashingFile, atomic_file, plain_errors

_SPOOL_ITEMS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TokenRows:
    """The tokens of a row group, end to end."""

    tokens: NDArray[Any]  # [tokens], of the dtype of the export
    mask: NDArray[np.uint8]  # [tokens]: 1 where the token is in the loss
    lengths: NDArray[np.int64]  # [rows]
    # Of packed rows, which hold several documents or pieces of them; None: a row is a document.
    starts: NDArray[np.int32] | None = None  # [documents]: where in its row each begins
    counts: NDArray[np.int64] | None = None  # [rows]: its documents

    @property
    def documents(self) -> NDArray[np.int64]:
        """The length of each document: int64 [documents]."""
        if self.starts is None or self.counts is None:
            return self.lengths
        ends = np.cumsum(self.lengths)
        begins = np.repeat(ends - self.lengths, self.counts) + self.starts
        return np.diff(begins, append=ends[-1:])


@dataclass(frozen=True, kw_only=True)
class ExportedSplit:
    """The rows of one split of a dataset."""

    reader: SplitReader
    dtype: np.dtype[Any] | None  # of the ids; None of texts, and where the format has none
    vocab_size: int | None  # None of texts
    on_shard: Callable[[Mapping[str, Any]], None]

    @property
    def dataset(self) -> str:
        return self.reader.split.dataset

    @property
    def split(self) -> str:
        return self.reader.split.name

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """The manifest's, in the order of their rows."""
        return self.reader.records

    @property
    def packed(self) -> bool:
        """Whether a row holds several documents."""
        return self.reader.split.pack is not None

    @property
    def row_count(self) -> int:
        return sum(record["rows"] for record in self.records)

    @property
    def tokens(self) -> int:
        """Tokens of all rows; bytes where they are texts."""
        return sum(record["tokens"] for record in self.records)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in index order, a row group at a time."""
        for shard, record in enumerate(self.records):
            for batch in self.reader.shard_batches(shard, columns):
                if self.vocab_size is not None:
                    self._check_ids(record, batch)
                if batch.num_rows:
                    yield batch
            self.on_shard(record)

    def rows(self) -> Iterator[TokenRows]:
        """The tokens in index order, a row group at a time, in the export's dtype."""
        for batch in self.batches(["input_ids", "loss_mask", *["starts"] * self.packed]):
            tokens, offsets = _whole(batch.column("input_ids"))
            mask, _ = _whole(batch.column("loss_mask"))
            starts = counts = None
            if self.packed:
                starts, firsts = _whole(batch.column("starts"))
                counts = np.diff(firsts).astype(np.int64)
            yield TokenRows(
                tokens=tokens if self.dtype is None else tokens.astype(self.dtype, copy=False),
                mask=mask,
                lengths=(offsets[1:] - offsets[:-1]).astype(np.int64),
                starts=starts,
                counts=counts,
            )

    def _check_ids(self, record: Mapping[str, Any], batch: pa.RecordBatch) -> None:
        """OstracaError where an id is none of the spec's, so that none is ever cut to a smaller dtype."""
        tokens, _ = _whole(batch.column("input_ids"))
        assert self.vocab_size is not None
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < self.vocab_size):
            raise OstracaError(
                f"{self.reader.folder}/{record['path']}: holds ids that its spec does not have "
                f"(0..{self.vocab_size - 1}); "
                f"run `ostraca verify path={self.reader.folder} content=true`"
            )


def _whole(array: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The values of exactly these rows, and their offsets."""
    values, offsets = unragged(array)
    return values[offsets[0] : offsets[-1]], offsets


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset of a corpus and those of its splits that are exported."""

    name: str
    parts: list[ExportedSplit]
    dtype: np.dtype[Any] | None  # as in its parts
    vocab_size: int | None  # the largest id + 1; None where it holds only texts
    names: Callable[[], dict[int, str]]  # id -> name


@dataclass(kw_only=True)
class Files:
    """Writes files below a folder, each whole or not at all, and remembers what to remove after an error."""

    root: Path
    written: list[dict[str, Any]] = field(default_factory=list)  # path, bytes and sha256 of each
    _paths: list[Path] = field(default_factory=list)
    _folders: list[Path] = field(default_factory=list)  # made here, the outermost first

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it that are missing."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        with plain_errors(folder):
            for parent in reversed(missing):
                parent.mkdir()
                self._folders.append(parent)
            folder.mkdir(exist_ok=True)  # fails where it is a file

    @contextmanager
    def create(self, path: str) -> Iterator[HashingFile]:
        """Write the file `path`, relative to the folder."""
        self.make_folder((self.root / path).parent)
        self._paths.append(self.root / path)
        with atomic_file(self.root / path) as file:
            yield file
        self.written.append({"path": path, "bytes": file.size, "sha256": file.sha256})

    def spool(self) -> Spool:
        """A place for numbers that are needed again after the file that they describe."""
        return Spool(self.root)

    def remove_all(self) -> None:
        """Remove every file and folder that was made here."""
        for path in self._paths:
            with suppress(OSError):
                path.unlink()
        for folder in reversed(self._folders):
            with suppress(OSError):
                folder.rmdir()


class Spool:
    """A nameless temporary file of int64: memory stays flat, whatever the number of documents."""

    def __init__(self, folder: Path) -> None:
        with plain_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, values: NDArray[np.int64]) -> None:
        self._file.write(np.ascontiguousarray(values, dtype=np.int64).data)

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """All values from the first on, in blocks."""
        self._file.seek(0)
        while block := self._file.read(8 * _SPOOL_ITEMS):
            yield np.frombuffer(block, dtype=np.int64)
