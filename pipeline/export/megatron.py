"""Megatron-LM: SPLIT.bin and SPLIT.idx, an indexed dataset (`--data-path FOLDER/DATASET/SPLIT`).

`.bin` holds the ids alone, end to end. `.idx` holds, little-endian:

    b"MMIDIDX\\0\\0", uint64 version 1, uint8 dtype (8 uint16, 4 int32),
    uint64 sequences, uint64 document indices (documents + 1),
    int32 [sequences] lengths, int64 [sequences] byte pointers, int64 [documents + 1] document indices, from 0

An example is a sequence and a document. There is no place for a loss mask: Megatron learns every token.
"""

from __future__ import annotations

import struct

import numpy as np

from pipeline.export.base import Dataset, Files, Part

DTYPES = ("uint16", "int32")
TEXTS = False
NOT_CARRIED = "the loss mask (every token is learned) and the metadata columns"

_CODES = {"uint16": 8, "int32": 4}
_BLOCK = 1 << 20  # document indices written at a time


def write(dataset: Dataset, files: Files) -> None:
    """Write a pair of files for every split."""
    for part in dataset.parts:
        _write(part, files)


def _write(part: Part, files: Files) -> None:
    stem = f"{part.dataset}/{part.split}"
    assert part.dtype is not None
    documents, size = part.documents, part.dtype.itemsize
    with files.spool() as lengths:
        with files.create(f"{stem}.bin") as file:
            for rows in part.rows():
                file.write(rows.tokens.data)
                lengths.add(rows.lengths)
        with files.create(f"{stem}.idx") as file:
            file.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, _CODES[part.dtype.name]))
            file.write(struct.pack("<QQ", documents, documents + 1))
            for block in lengths.blocks():
                file.write(block.astype("<i4").data)
            start = 0
            for block in lengths.blocks():
                ends = start + size * np.cumsum(block)
                file.write((ends - size * block).astype("<i8").data)
                start = int(ends[-1])
            for first in range(0, documents + 1, _BLOCK):
                file.write(np.arange(first, min(first + _BLOCK, documents + 1), dtype="<i8").data)
