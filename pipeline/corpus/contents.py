"""What is in a row group: its examples, first draws and redrawn ones, as the corpus has them.

The one place that says so, for a build (which checks what is drawn) and for a replay (which does not).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .fingerprint import ContentDigest, content_digest
from .pack import pack_batch
from .split import Split

# (attempt, indices int64 [n], ascending) -> these examples, with published ids.
Draw = Callable[[int, NDArray[np.int64]], pa.RecordBatch]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A row group of a split."""

    split: Split
    drawn: list[tuple[int, pa.RecordBatch]]  # of each attempt, its examples with the corpus's ids
    examples: pa.RecordBatch  # all of these, by ascending index
    rows: pa.RecordBatch  # as they are written

    def digest(self) -> ContentDigest:
        """The content digest of the rows; all columns must be there."""
        pieces = self.drawn if self.split.pack is None else [(0, self.rows)]
        digests = (content_digest(batch, self.split.key(attempt)) for attempt, batch in pieces)
        return sum(digests, ContentDigest())


def contents_of(
    split: Split,
    draws: Iterable[tuple[int, NDArray[np.int64]]],
    draw: Draw,
    columns: Collection[str] | None = None,
) -> Contents:
    """The row group of the examples that `draw` gives for each of (attempt, indices).

    columns: those that are asked for (None: all); others may be there as well, in the schema's order.
    """
    wanted = None
    if columns is not None:
        needed = {"index", *(columns if split.pack is None else ("input_ids", "loss_mask"))}
        wanted = [name for name in split.content_schema.names if name in needed]
    drawn = []
    for attempt, indices in draws:
        batch = draw(attempt, indices)
        batch = batch if wanted is None else batch.select(wanted)
        if split.renaming is not None and (wanted is None or "input_ids" in wanted):
            batch = split.renaming.batch(batch)
        drawn.append((attempt, batch))
    examples = _by_index([batch for _, batch in drawn])
    pack = split.pack
    rows = examples if pack is None else pack_batch(examples, pack["length"], pack["mode"])
    return Contents(split=split, drawn=drawn, examples=examples, rows=rows)


def _by_index(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of some batches by ascending index."""
    if len(batches) == 1:
        return batches[0]
    joined = pa.concat_batches(batches)
    return joined.take(pa.array(np.argsort(joined.column("index").to_numpy())))
