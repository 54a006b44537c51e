"""litData: SPLIT/chunk-0-0.bin ... and SPLIT/index.json: `StreamingDataset("FOLDER/DATASET/SPLIT")`.

An item is a row as a dictionary of two arrays, `input_ids` (uint16 or uint32) and `loss_mask` (uint8); of a
packed corpus a third says where its documents begin, `starts` (int32): the bytes of each as uint32, then all.
For blocks of tokens, as litgpt reads them, see litgpt.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from .base import Dataset, ExportedSplit, Files, TokenRows
from .chunked import Samples, cut, fields, joined, write_chunk

DTYPES = ("uint16", "uint32")
TEXTS = False
NOT_CARRIED = "the metadata columns"

_CHUNK_BYTES = 64_000_000
_CODES = {"int32": 2, "uint8": 4, "uint16": 5, "uint32": 6}  # litData's numbers of NumPy's types
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def write(dataset: Dataset, files: Files) -> None:
    """Write a folder for every split."""
    for part in dataset.parts:
        assert part.dtype is not None
        types = {"input_ids": part.dtype.name, "loss_mask": "uint8"}
        if part.packed:
            types["starts"] = "int32"
        layout = {
            "type": "builtins.dict",
            "context": json.dumps(list(types)),
            "children_spec": [LEAF] * len(types),
        }
        config = {
            "data_format": [f"no_header_numpy:{_CODES[name]}" for name in types.values()],
            "data_spec": json.dumps([1, layout]),
            "item_loader": "PyTreeLoader",
        }
        write_chunks(part, files, (_samples(rows) for rows in part.rows()), config)


def write_chunks(
    part: ExportedSplit, files: Files, samples: Iterable[Samples], config: dict[str, Any], id_bytes: int = 0
) -> None:
    """Write a split's chunks, then its index.

    config: what the index says of items; id_bytes: of an id, where items are nothing but ids.
    """
    folder = f"{part.dataset}/{part.split}"
    chunks: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for chunk in cut(samples, _CHUNK_BYTES):
        name = f"chunk-0-{len(chunks)}.bin"
        with files.create(f"{folder}/{name}") as file:
            count = write_chunk(file, chunk)
        size = sum(len(item.data) for item in chunk)
        dim = size // id_bytes if id_bytes else None
        chunks.append({"chunk_bytes": file.size, "chunk_size": count, "dim": dim, "filename": name})
        digest.update(file.sha256.encode())
    plain = {"chunk_bytes": _CHUNK_BYTES, "chunk_size": None, "compression": None, "encryption": None}
    index = {
        "chunks": chunks,
        "config": {**plain, **config},
        # Only compared: a reader empties its cache where it changes. So the content says it, not the clock.
        "updated_at": digest.hexdigest(),
    }
    with files.create(f"{folder}/index.json") as file:
        file.write(json.dumps(index, sort_keys=True).encode())


def _samples(rows: TokenRows) -> Samples:
    columns = [(rows.tokens, rows.lengths), (rows.mask, rows.lengths)]
    if rows.starts is not None and rows.counts is not None:
        columns.append((rows.starts, rows.counts))
    sizes = np.stack([values.itemsize * lengths for values, lengths in columns], axis=1).astype("<u4")
    return joined(fields(sizes), *(fields(values, lengths) for values, lengths in columns))
