"""What a stream draws from: an endless or finite sequence of rows, readable from any position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tasks.core.batch import unragged


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some consecutive rows of a sequence: single examples or, where they have `starts`, packed ones."""

    tokens: NDArray[np.int32]  # values of all rows
    offsets: NDArray[np.int32]  # [stored rows + 1]
    mask: NDArray[np.uint8]  # loss mask, values of all rows
    mask_offsets: NDArray[np.int32]  # [stored rows + 1]
    order: NDArray[np.int64]  # [rows]: the stored row of each row, in the sequence's order
    starts: NDArray[np.int32] | None = None  # where in its row each document begins, of all rows
    starts_offsets: NDArray[np.int32] | None = None  # [stored rows + 1]

    def __len__(self) -> int:
        return len(self.order)

    @staticmethod
    def of(batch: pa.RecordBatch, order: NDArray[np.int64]) -> Rows:
        """The rows of a batch with `input_ids` and `loss_mask`, in `order`; nothing is copied.

        Where it has a column `starts` (see `pipeline.build.shards.pack`), they are packed ones.
        """
        tokens, offsets = unragged(batch.column("input_ids"))
        mask, mask_offsets = unragged(batch.column("loss_mask"))
        packed = "starts" in batch.schema.names
        starts, starts_offsets = unragged(batch.column("starts")) if packed else (None, None)
        return Rows(
            tokens=tokens,
            offsets=offsets,
            mask=mask,
            mask_offsets=mask_offsets,
            order=order,
            starts=starts,
            starts_offsets=starts_offsets,
        )

    def reordered(self, order: NDArray[np.int64]) -> Rows:
        """The same stored rows in another order, or some of them."""
        return replace(self, order=order)

    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row, in order."""
        lengths: NDArray[np.int32] = self.offsets[self.order + 1] - self.offsets[self.order]
        return lengths


class Source(Protocol):
    """A sequence of examples, the same at every reading."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The task's complete config."""

    @property
    def vocab_size(self) -> int:
        """No id is larger than this - 1."""

    @property
    def row_length(self) -> int | None:
        """Tokens of a row at most, where a row holds several examples, as it was built; None: one example."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the sequence: plain values; two sources with the same one are the same."""

    def rows_from(self, position: int) -> Iterator[Rows]:
        """The examples at `position` and after, in pieces; ends where the sequence does."""
