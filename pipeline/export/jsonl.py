"""JSON lines: SPLIT.jsonl.zst, an object a row with all columns: input_ids, loss_mask (or text), metadata.

Nothing is lost. Lines are put together by Arrow, column by column; only texts are escaped row by row.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...tasks.core.batch import unragged
from .base import Dataset, Files

DTYPES: tuple[str, ...] = ()
TEXTS = True
NOT_CARRIED = ""


def write(dataset: Dataset, files: Files) -> None:
    """Write a file for every split."""
    for part in dataset.parts:
        with (
            files.create(f"{part.dataset}/{part.split}.jsonl.zst") as file,
            pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd") as stream,
        ):
            for batch in part.batches():
                stream.write(_lines(batch))


def _lines(batch: pa.RecordBatch) -> Any:
    """The rows as UTF-8 lines of JSON."""
    pieces: list[Any] = []
    for place, name in enumerate(batch.schema.names):
        pieces += [f"{', ' if place else '{'}{json.dumps(name)}: ", _values(batch.column(name))]
    lines = pc.binary_join_element_wise(*pieces, "}\n", "")
    values, offsets = unragged(lines)
    return values[offsets[0] : offsets[-1]].data


def _values(array: pa.Array) -> pa.Array:
    """Each value as JSON: string [rows]."""
    if pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if pa.types.is_list(array.type) and pa.types.is_integer(array.type.value_type):
        joined = pc.binary_join(array.cast(pa.list_(pa.string())), ", ")
        return pc.binary_join_element_wise("[", joined, "]", "")
    plain = [json.dumps(value, ensure_ascii=False) for value in array.to_pylist()]
    return pa.array(plain, type=pa.string())
