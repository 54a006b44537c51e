"""OLMo-core: SPLIT/token_ids.npy, a raw array without a header; labels_mask.npy and token_ids.csv.gz with it.

`labels_mask.npy` (`label_mask_paths`) has a byte per token, 1 if it is in the loss. `token_ids.csv.gz` holds
a line for every document: start, end (in tokens), id, source, index in the source. OLMo-core reads it where
it is told to (`use_array_if_local=False`); by default it looks for an end-of-text id, which not every task
has.
"""

from __future__ import annotations

import gzip
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from .base import Dataset, ExportedSplit, Files

DTYPES = ("uint16", "uint32")
TEXTS = False
NOT_CARRIED = "the metadata columns; boundaries are in token_ids.csv.gz, not in the ids"

_GZIP_LEVEL = 1


def write(dataset: Dataset, files: Files) -> None:
    """Write a folder with three files for every split."""
    for part in dataset.parts:
        _write(part, files)


def _write(part: ExportedSplit, files: Files) -> None:
    stem = f"{part.dataset}/{part.split}"
    with (
        files.create(f"{stem}/token_ids.npy") as ids,
        files.create(f"{stem}/labels_mask.npy") as mask,
        files.create(f"{stem}/token_ids.csv.gz") as file,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, cast(IO[bytes], file), mtime=0) as lines,
    ):
        first = start = 0
        for rows in part.rows():
            ids.write(rows.tokens.data)
            mask.write(rows.mask.data)
            ends = start + np.cumsum(rows.documents)
            indices = pa.array(np.arange(first, first + len(ends)))
            table = pa.table(
                {
                    "start": ends - rows.documents,
                    "end": ends,
                    "id": indices,
                    "source": pa.repeat(f"{part.dataset}-{part.split}", len(ends)),
                    "location": indices,
                }
            )
            options = pc.WriteOptions(include_header=False, quoting_style="none")
            pc.write_csv(table, lines, options)
            first, start = first + len(ends), int(ends[-1])
