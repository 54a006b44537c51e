"""Packed rows: their columns, and the pieces of documents in them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...tasks.core.batch import column, list_type, ragged, unragged

PACKED_SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),  # of the row's first document
        column("offset", pa.int32()),  # which of that document's tokens is the row's first
        column("starts", list_type(pa.int32())),  # where in the row each document begins; the first is 0
        column("documents", list_type(pa.int64())),  # the index of each document in the row
    ]
)
PIECES_SCHEMA = pa.schema(
    [
        column("index", pa.int64()),
        column("offset", pa.int32()),  # which of the document's tokens is the piece's first
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
    ]
)


def unpack_batch(packed: pa.RecordBatch) -> pa.RecordBatch:
    """The pieces of documents in packed rows, row after row: PIECES_SCHEMA; no token is copied."""
    tokens, offsets = unragged(packed.column("input_ids"))
    mask, mask_offsets = unragged(packed.column("loss_mask"))
    starts, pieces = unragged(packed.column("starts"))
    documents, document_offsets = unragged(packed.column("documents"))
    counts = np.diff(pieces)
    begins = starts[pieces[0] : pieces[-1]] + np.repeat(offsets[:-1] - offsets[0], counts)
    ends = np.append(begins, offsets[-1] - offsets[0]).astype(np.int32)
    skipped = np.zeros(len(begins), dtype=np.int32)
    skipped[pieces[:-1] - pieces[0]] = packed.column("offset").to_numpy()
    columns = [
        pa.array(documents[document_offsets[0] : document_offsets[-1]]),
        pa.array(skipped),
        ragged(tokens[offsets[0] : offsets[-1]], ends),
        ragged(mask[mask_offsets[0] : mask_offsets[-1]], ends),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PIECES_SCHEMA)
