"""Ragged columns: Arrow's list layout around NumPy arrays, without a copy in either direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LABEL_IGNORED = -100


def list_type(value_type: pa.DataType) -> pa.DataType:
    """list<value_type> whose values are never null: Parquet then stores one level less."""
    return pa.list_(pa.field("element", value_type, nullable=False))


def column(name: str, data_type: pa.DataType) -> pa.Field:
    """A column that is never null."""
    return pa.field(name, data_type, nullable=False)


def dtype_of(data_type: pa.DataType) -> np.dtype[Any]:
    """NumPy's type of Arrow's integers (`to_pandas_dtype` needs pandas before pyarrow 26)."""
    return np.dtype(str(data_type))


def ragged(values: NDArray[Any], offsets: NDArray[np.int32]) -> pa.ListArray:
    """Wrap values [offsets[-1]] and offsets [rows + 1] as an Arrow list array; nothing is copied."""
    value_type = pa.from_numpy_dtype(values.dtype)
    child = pa.Array.from_buffers(value_type, len(values), [None, pa.py_buffer(values)])
    buffers = [None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(list_type(value_type), len(offsets) - 1, buffers, children=[child])


def texts(values: NDArray[np.uint8], offsets: NDArray[np.int32]) -> pa.StringArray:
    """Wrap UTF-8 bytes [offsets[-1]] and offsets [rows + 1] as an Arrow string array; nothing is copied."""
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(values))


def unragged(array: pa.ListArray | pa.StringArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The values (a text's are its bytes) and offsets [rows + 1] of an array, a slice too; nothing is copied.

    Values start at offsets[0], which is not 0 for a slice.
    """
    _, offsets, *data = array.buffers()
    first = np.frombuffer(offsets, dtype=np.int32, count=len(array) + 1, offset=4 * array.offset)
    first.flags.writeable = False  # whatever the buffer: Numba would compile kernels once for each kind
    if pa.types.is_string(array.type):
        values = np.frombuffer(data[0] if data[0] is not None else b"", dtype=np.uint8)
        values.flags.writeable = False
        return values, first
    return array.values.to_numpy(zero_copy_only=True), first


def labels_of(batch: pa.RecordBatch) -> pa.ListArray:
    """labels[i] = input_ids[i] where loss_mask[i] is 1, else -100: list<int32>, unshifted."""
    tokens, offsets = unragged(batch.column("input_ids"))
    mask, mask_offsets = unragged(batch.column("loss_mask"))
    start, stop = offsets[0], offsets[-1]
    kept = mask[mask_offsets[0] : mask_offsets[-1]].astype(bool)
    labels = np.where(kept, tokens[start:stop], np.int32(LABEL_IGNORED)).astype(np.int32)
    return ragged(labels, (offsets - start).astype(np.int32))


def with_labels(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with the column `labels` after `loss_mask`, where they have one."""
    if "loss_mask" not in batch.schema.names:
        return batch
    position = batch.schema.get_field_index("loss_mask") + 1
    return batch.add_column(position, column("labels", list_type(pa.int32())), labels_of(batch))


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Plain dictionaries of lists, for the edge of the system only (one example, a printout)."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows
