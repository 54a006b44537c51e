"""What a stream draws from: rows in blocks of known sizes, or fresh examples without end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tasks.core.batch import unragged
from ..tasks.errors import OstracaError


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows: single examples or, where they have `starts`, packed ones."""

    tokens: NDArray[np.int32]  # values of all rows
    mask: NDArray[np.uint8]  # the loss mask, of each token
    offsets: NDArray[np.int32]  # [rows + 1], from 0
    starts: NDArray[np.int32] | None = None  # where in its row each document begins, of all rows
    starts_offsets: NDArray[np.int32] | None = None  # [rows + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @staticmethod
    def of(batch: pa.RecordBatch) -> Rows:
        """The rows of a batch with `input_ids` and, for each of them, `loss_mask`; no token is copied.

        Where it has a column `starts` (see `pipeline.corpus.packed`), they are packed ones.
        """
        tokens, offsets = _from_zero(batch.column("input_ids"))
        mask, mask_offsets = _from_zero(batch.column("loss_mask"))
        if not np.array_equal(offsets, mask_offsets):
            raise OstracaError("a row's loss_mask is not as long as its input_ids")
        packed = "starts" in batch.schema.names
        starts, starts_offsets = _from_zero(batch.column("starts")) if packed else (None, None)
        return Rows(tokens=tokens, mask=mask, offsets=offsets, starts=starts, starts_offsets=starts_offsets)

    @staticmethod
    def empty(rows: int, packed: bool) -> Rows:
        """So many rows without a token."""
        none, offsets = np.zeros(0, np.int32), np.zeros(rows + 1, np.int32)
        return Rows(
            tokens=none,
            mask=np.zeros(0, np.uint8),
            offsets=offsets,
            starts=none if packed else None,
            starts_offsets=offsets if packed else None,
        )

    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row: int32 [rows]."""
        return np.diff(self.offsets)


def _from_zero(lists: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The values of these lists and no others, and where they begin, from 0 on."""
    values, offsets = unragged(lists)
    first, last = int(offsets[0]), int(offsets[-1])
    return values[first:last], offsets - np.int32(first) if first else offsets


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """The blocks of a source, which are read one at a time; a block is a row group of a corpus.

    Blocks of one dataset stand one after another; each has rows.
    """

    rows: NDArray[np.int64]  # [blocks]
    tokens: NDArray[np.int64]  # [blocks]; zeros where they were not asked for
    strata: tuple[int, ...]  # how many blocks each dataset has
    names: tuple[str, ...]  # the datasets

    def digest(self) -> str:
        """Of where the rows are cut into blocks: 16 hexadecimal digits."""
        cuts = repr(self.strata).encode() + self.rows.astype("<i8").tobytes()
        return hashlib.sha256(cuts).hexdigest()[:16]


@runtime_checkable
class Source(Protocol):
    """Rows that are the same at every reading."""

    @property
    def vocab_size(self) -> int:
        """No id is larger than this - 1."""

    @property
    def row_length(self) -> int | None:
        """Tokens of a row at most, where a row holds several examples, as it was built; None: one example."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the rows: plain values; two sources with the same one have the same rows."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What makes the source again, plain values: `kind`, and the rest for its constructor."""

    def blocks(self, tokens: bool) -> Blocks | None:
        """The blocks, known without reading them; None: it is endless, see `EndlessSource`.

        tokens: whether the tokens of each are needed (else they may be zeros): not every source knows them at
        once.
        """

    def read(self, blocks: Sequence[int]) -> Rows:
        """The rows of some blocks, end to end. Called from several threads at a time.

        OstracaError where they cannot be read or are not what they should be.
        """


@runtime_checkable
class EndlessSource(Protocol):
    """Beside `Source`: fresh examples, without end."""

    @property
    def name(self) -> str:
        """Of the task, for whoever asks where a line is from."""

    @property
    def mean_tokens(self) -> float:
        """Of an example, about."""

    @property
    def counted(self) -> bool:
        """Whether examples belong together by their numbers, so that none may be left out."""

    def make(self, first: int, count: int) -> Rows:
        """Examples first..first+count-1. Called from several threads at a time."""
