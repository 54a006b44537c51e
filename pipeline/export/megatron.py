"""Megatron-LM: SPLIT.bin and SPLIT.idx, an indexed dataset (`--data-path FOLDER/DATASET/SPLIT`).

`.bin` holds the ids alone, end to end. `.idx` holds, little-endian:

    b"MMIDIDX\\0\\0", uint64 version 1, uint8 dtype (8 uint16, 4 int32),
    uint64 sequences, uint64 document indices (documents + 1),
    int32 [sequences] lengths, int64 [sequences] byte pointers, int64 [documents + 1] document indices, from 0

An example is a sequence and a document; of a packed corpus a sequence is one, or a piece of one, and a
document is a row. There is no place for a loss mask: every token of Megatron is in the loss.
"""

from __future__ import annotations

import struct

import numpy as np

from .base import Dataset, ExportedSplit, Files

DTYPES = ("uint16", "int32")
TEXTS = False
NOT_CARRIED = "the loss mask (every token is in the loss) and the metadata columns"

_CODES = {"uint16": 8, "int32": 4}


def write(dataset: Dataset, files: Files) -> None:
    """Write a pair of files for every split."""
    for part in dataset.parts:
        _write(part, files)


def _write(part: ExportedSplit, files: Files) -> None:
    stem = f"{part.dataset}/{part.split}"
    assert part.dtype is not None
    size, sequences = part.dtype.itemsize, 0
    with files.spool() as lengths, files.spool() as counts:
        with files.create(f"{stem}.bin") as file:
            for rows in part.rows():
                file.write(rows.tokens.data)
                lengths.add(rows.documents)
                counts.add(np.ones_like(rows.lengths) if rows.counts is None else rows.counts)
                sequences += len(rows.documents)
        with files.create(f"{stem}.idx") as file:
            file.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, _CODES[part.dtype.name]))
            file.write(struct.pack("<QQ", sequences, part.row_count + 1))
            for block in lengths.blocks():
                file.write(block.astype("<i4").data)
            start = 0
            for block in lengths.blocks():
                ends = start + size * np.cumsum(block)
                file.write((ends - size * block).astype("<i8").data)
                start = int(ends[-1])
            first = 0
            file.write(np.zeros(1, dtype="<i8").data)
            for block in counts.blocks():
                indices = first + np.cumsum(block)
                file.write(indices.astype("<i8").data)
                first = int(indices[-1])
