"""Batches: arrays of lines, and what they may hold beside ids, labels and positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.batch import LABEL_IGNORED
from .buffers import Buffers
from .lay import Lines, lay
from .plan import Piece

Batch = dict[str, Any]
EXTRAS = ("document_ids", "cu_seqlens", "dataset")
_NO_STARTS = np.zeros(0, np.int32)


@dataclass(frozen=True, kw_only=True)
class Form:
    """What batches hold."""

    dtype: np.dtype[Any]
    pad_id: int
    attention_mask: bool
    extras: tuple[str, ...]

    @property
    def documents(self) -> bool:
        """Whether the documents of tokens have to be numbered."""
        return "document_ids" in self.extras or "cu_seqlens" in self.extras


class Laid:
    """The lines of some batches, one behind the other, in arrays that all of these are views of."""

    def __init__(self, lines: int, length: int, form: Form, buffers: Buffers) -> None:
        self._form = form
        names = ("input_ids", "labels", "position_ids")
        memory = buffers.take(len(names) * lines * length * form.dtype.itemsize)
        arrays = np.frombuffer(memory, form.dtype).reshape(len(names), lines, length)
        self._arrays = dict(zip(names, arrays, strict=True))
        self._documents = np.empty((lines, length) if form.documents else (0, 0), np.int32)
        self._filled, self._begun = np.zeros(lines, np.int64), np.zeros(lines, np.int64)
        self._datasets = np.full(lines, "", object) if "dataset" in form.extras else None

    def lay(self, piece: Piece, window: Lines, names: Sequence[str]) -> None:
        """Lay the lines of a piece, which are of this window. names: of the part's datasets."""
        rows = window.rows
        lay(
            rows.tokens,
            rows.mask,
            window.order,
            window.begins,
            window.ends,
            _NO_STARTS if rows.starts is None else rows.starts,
            _NO_STARTS if rows.starts_offsets is None else rows.starts_offsets,
            window.first,
            window.skip,
            window.stop,
            piece.lines,
            piece.targets,
            self._form.pad_id,
            *self._arrays.values(),
            self._documents,
            self._filled,
            self._begun,
        )
        if self._datasets is not None:
            of_lines = 0 if window.dataset is None else window.dataset[piece.lines]
            self._datasets[piece.targets] = np.array(names, object)[of_lines]

    def pad(self, targets: NDArray[np.int64]) -> None:
        """Fill lines with padding."""
        for name, value in zip(self._arrays, (self._form.pad_id, LABEL_IGNORED, 0), strict=True):
            self._arrays[name][targets] = value
        if len(self._documents):
            self._documents[targets] = -1

    def batches(self, size: int) -> Iterator[tuple[Batch, int]]:
        """Batches of `size` lines, and how many examples begin in each."""
        begun = self._begun.reshape(-1, size).sum(1).tolist()
        for number, count in enumerate(begun):
            yield self._batch(slice(number * size, (number + 1) * size)), count

    def _batch(self, lines: slice) -> Batch:
        form = self._form
        batch: Batch = {name: values[lines] for name, values in self._arrays.items()}
        if form.attention_mask:
            places = np.arange(batch["input_ids"].shape[1])
            batch["attention_mask"] = (places < self._filled[lines, None]).astype(form.dtype)
        if "document_ids" in form.extras:
            batch["document_ids"] = self._documents[lines]
        if "cu_seqlens" in form.extras:
            batch |= sequence_lengths(self._documents[lines])
        if self._datasets is not None:
            batch["dataset"] = self._datasets[lines].tolist()
        return batch


def sequence_lengths(documents: NDArray[np.int32]) -> dict[str, Any]:
    """`cu_seqlens` int32 [sequences + 1] and `max_seqlen`, as flash attention's varlen functions take them.

    documents: int32 [lines, length], of each token, -1 in padding. A sequence is a document in a line, or the
    padding of a line; all together they are the lines, end to end.
    """
    begins = np.ones(documents.shape, bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    bounds = np.append(np.flatnonzero(begins), documents.size).astype(np.int32)
    return {"cu_seqlens": bounds, "max_seqlen": int(np.diff(bounds).max())}
