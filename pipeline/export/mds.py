"""MosaicML streaming (llm-foundry): SPLIT/shard.00000.mds ... and SPLIT/index.json, Mosaic data shards.

A sample is a row: a document or, of a packed corpus, several. Its columns, in the order of their names:

    loss_mask  ndarray:uint8   1 where the token is in the loss (llm-foundry does not look at it)
    starts     ndarray:int32   where each document begins; of packed corpora only
    tokens     ndarray:int32   the ids

It is the bytes of each column as uint32 [2], then the columns. A column is an array: a byte
4 * dimensions + k, the length as an unsigned integer of 2**k bytes (the least that holds it), the values.
A shard's header is the part of index.json that describes it before it is filled. index.json is written
last; it has the sha256 of every shard (`validate_hash="sha256"`).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Dataset, ExportedSplit, Files, TokenRows
from .chunked import Samples, cut, fields, joined, write_chunk

DTYPES = ("int32",)
TEXTS = False
NOT_CARRIED = "the metadata columns"

_SHARD_BYTES = 1 << 26


def write(dataset: Dataset, files: Files) -> None:
    """Write a folder for every split."""
    for part in dataset.parts:
        _write(part, files)


def _write(part: ExportedSplit, files: Files) -> None:
    folder = f"{part.dataset}/{part.split}"
    columns = {"loss_mask": "ndarray:uint8", "starts": "ndarray:int32", "tokens": "ndarray:int32"}
    if not part.packed:
        del columns["starts"]
    described = {
        "column_encodings": list(columns.values()),
        "column_names": list(columns),
        "column_sizes": [None] * len(columns),
        "compression": None,
        "format": "mds",
        "hashes": ["sha256"],
        "size_limit": _SHARD_BYTES,
        "version": 2,
    }
    header = json.dumps(described).encode()
    shards: list[dict[str, Any]] = []
    samples = (_samples(rows) for rows in part.rows())
    for shard in cut(samples, _SHARD_BYTES, empty=8 + len(header), extra=4):
        name = f"shard.{len(shards):05}.mds"
        with files.create(f"{folder}/{name}") as file:
            count = write_chunk(file, shard, header)
        raw = {"basename": name, "bytes": file.size, "hashes": {"sha256": file.sha256}}
        shards.append({**described, "raw_data": raw, "samples": count, "zip_data": None})
    with files.create(f"{folder}/index.json") as file:
        file.write(json.dumps({"shards": shards, "version": 2}, sort_keys=True).encode())


def _samples(rows: TokenRows) -> Samples:
    columns = [(rows.mask, rows.lengths), (rows.tokens, rows.lengths)]
    if rows.starts is not None and rows.counts is not None:
        columns.insert(1, (rows.starts, rows.counts))
    sizes, parts = [], []
    for values, lengths in columns:
        shapes, widths = _shapes(lengths)
        sizes.append(widths + values.itemsize * lengths)
        parts += [fields(shapes, widths), fields(values, lengths)]
    return joined(fields(np.stack(sizes, axis=1).astype("<u4")), *parts)


def _shapes(lengths: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The shapes of arrays of one dimension, end to end, and the bytes of each."""
    power = np.searchsorted([1 << 8, 1 << 16], lengths, side="right")
    table = np.zeros((len(lengths), 5), dtype=np.uint8)
    table[:, 0] = 4 + power
    table[:, 1:] = lengths.astype("<u4").view(np.uint8).reshape(-1, 4)
    widths = 1 + (1 << power)
    return table[np.arange(5) < widths[:, None]], widths
