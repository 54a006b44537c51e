"""Packing when a row group is made: the documents of a row group become rows of at most `length` tokens.

A row group is packed by itself: where shards are whole row groups, the rows do not depend on their size.
Where documents begin in a row is kept, so that attention and positions can stay within them.

Modes:
    left_aligned  documents end to end; a row begins with a whole document (cut where it is longer than a
                  row), its last one is cut where the row ends, and what is cut off is dropped: as the paper
                  lays its examples
    whole         documents in order, none cut: a row ends where the next document does not fit
    best_fit      none cut: best-fit decreasing (see `best_fit.py`), rows in the order of their smallest
                  document, a row's documents in order
    concat        one stream, cut wherever a row is full; a document goes on in the next row

A row that is not full is shorter: no padding is stored.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import ragged, unragged
from ...tasks.core.kernels import kernel
from ...tasks.errors import OstracaError
from ..spec.packing import CUTTING, PACK_MODES
from .best_fit import best_fit_rows
from .packed import PACKED_SCHEMA


def pack_batch(batch: pa.RecordBatch, length: int, mode: str) -> pa.RecordBatch:
    """The documents of a batch (`input_ids`, `loss_mask`, `index` rising) as rows of PACKED_SCHEMA.

    A pure function of its arguments. whole and concat share the tokens of the batch, copying none.
    OstracaError where a document is empty or, in a mode that cuts none, longer than `length`.
    """
    assert mode in PACK_MODES
    assert length > 0
    tokens, mask, offsets, index = _documents(batch)
    _refuse_sizes(offsets, index, length, mode)
    total = int(offsets[-1])
    if mode == "concat":
        begins = np.arange(0, total, length, dtype=np.int64)
        ends = np.minimum(begins + length, total)
    elif mode == "best_fit":
        order, firsts = best_fit_rows(offsets, length)
        tokens, mask = _gathered(tokens, mask, offsets[order], offsets[order + 1])
        offsets = _ends(np.diff(offsets)[order])
        index = index[order]
        begins, ends = offsets[firsts[:-1]], offsets[firsts[1:]]
    else:
        begins, ends = np.empty(len(index), dtype=np.int64), np.empty(len(index), dtype=np.int64)
        spans = _left_aligned if mode == "left_aligned" else _whole
        rows = spans(offsets, length, begins, ends)
        begins, ends = begins[:rows], ends[:rows]
    return _packed(tokens, mask, offsets, index, begins, ends)


def _documents(
    batch: pa.RecordBatch,
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Tokens and mask of a batch's rows alone, offsets from 0 int64 [rows + 1], index int64 [rows]."""
    tokens, offsets = unragged(batch.column("input_ids"))
    mask, mask_offsets = unragged(batch.column("loss_mask"))
    plain = offsets.astype(np.int64) - offsets[0]
    assert np.array_equal(plain, mask_offsets - mask_offsets[0]), "loss_mask and input_ids differ in length"
    index = np.array(batch.column("index"))  # a copy: Numba compiles again for what is read-only
    assert (index[1:] > index[:-1]).all(), "index does not rise from row to row"
    return tokens[offsets[0] : offsets[-1]], mask[mask_offsets[0] : mask_offsets[-1]], plain, index


def _refuse_sizes(offsets: NDArray[np.int64], index: NDArray[np.int64], length: int, mode: str) -> None:
    """OstracaError where a document has no tokens, or more than a row where none may be cut."""
    sizes = np.diff(offsets)
    if len(sizes) and sizes.min() == 0:
        raise OstracaError(f"example {index[sizes.argmin()]} has no tokens: it cannot be packed")
    if mode not in CUTTING and len(sizes) and sizes.max() > length:
        row = sizes.argmax()
        raise OstracaError(
            f"example {index[row]} has {sizes[row]:,} tokens, which no row of length={length} holds, and "
            f"mode={mode} cuts none; raise length, or take mode {' or '.join(CUTTING)}"
        )


def _packed(
    tokens: NDArray[np.int32],
    mask: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    index: NDArray[np.int64],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> pa.RecordBatch:
    """The rows that hold tokens begins[r]..ends[r] of the documents offsets[d]..offsets[d + 1]."""
    rows, most = len(begins), len(begins) + len(index)  # a row may begin within a document
    first, skipped = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int32)
    pieces = np.zeros(rows + 1, dtype=np.int32)
    starts, documents = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int64)
    count = _pieces(offsets, index, begins, ends, first, skipped, pieces, starts, documents)
    bounds = _ends(ends - begins)
    if bounds[-1] < len(tokens):  # what was cut off is dropped
        tokens, mask = _gathered(tokens, mask, begins, ends)
    columns = [
        ragged(tokens, bounds.astype(np.int32)),
        ragged(mask, bounds.astype(np.int32)),
        pa.array(first),
        pa.array(skipped),
        ragged(starts[:count], pieces),
        ragged(documents[:count], pieces),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED_SCHEMA)


def _gathered(
    tokens: NDArray[np.int32], mask: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Copies of tokens and mask at begins[i]..ends[i], end to end."""
    total = int((ends - begins).sum())
    gathered = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.uint8)
    _gather(tokens, mask, begins, ends, *gathered)
    return gathered


def _ends(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets [rows + 1] of rows of these sizes."""
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


@kernel
def _gather(tokens, mask, begins, ends, tokens_out, mask_out):
    place = 0
    for span in range(len(begins)):
        begin, end = begins[span], ends[span]
        after = place + end - begin
        # Views, so that no index can be below 0: only then are the copies vectorised.
        source, source_mask = tokens[begin:end], mask[begin:end]
        target, target_mask = tokens_out[place:after], mask_out[place:after]
        for token in range(len(source)):
            target[token] = source[token]
        for token in range(len(source_mask)):
            target_mask[token] = source_mask[token]
        place = after


@kernel
def _left_aligned(offsets, length, begins, ends):
    """Where the rows begin and end among the tokens, int64 [documents]; returns how many there are."""
    count = len(offsets) - 1
    rows = 0
    document = 0
    while document < count:
        begins[rows] = offsets[document]
        end = min(offsets[document] + length, offsets[count])
        ends[rows] = end
        rows += 1
        while document < count and offsets[document] < end:
            document += 1
    return rows


@kernel
def _whole(offsets, length, begins, ends):
    """Where the rows begin and end among the tokens, int64 [documents]; returns how many there are."""
    count = len(offsets) - 1
    rows = 0
    document = 0
    while document < count:
        begin = offsets[document]
        begins[rows] = begin
        while document < count and offsets[document + 1] - begin <= length:
            document += 1
        ends[rows] = offsets[document]
        rows += 1
    return rows


@kernel
def _pieces(offsets, index, begins, ends, first, skipped, pieces, starts, documents):
    """What stands in the rows: see PACKED_SCHEMA; returns how many pieces of documents they have."""
    count = len(index)
    piece = 0
    document = 0
    for row in range(len(begins)):
        begin, end = begins[row], ends[row]
        while offsets[document + 1] <= begin:
            document += 1
        first[row] = index[document]
        skipped[row] = begin - offsets[document]
        while document < count and offsets[document] < end:
            starts[piece] = max(offsets[document] - begin, 0)
            documents[piece] = index[document]
            piece += 1
            document += 1
        document -= 1  # it may go on in the next row
        pieces[row + 1] = piece
    return piece
