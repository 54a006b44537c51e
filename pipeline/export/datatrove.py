"""datatrove and nanotron: SPLIT.ds, SPLIT.ds.index, SPLIT.ds.loss and SPLIT.ds.metadata.

.ds           the ids, end to end, little-endian uint16 or uint32
.ds.index     uint64 [documents]: the end of each document, in tokens
.ds.loss      one byte a token: 1 where it is in the loss
.ds.metadata  NAME|BYTES OF AN ID, then the number of tokens, then the same for people
"""

from __future__ import annotations

import numpy as np

from .base import Dataset, ExportedSplit, Files

DTYPES = ("uint16", "uint32")
TEXTS = False
NOT_CARRIED = "the metadata columns"


def write(dataset: Dataset, files: Files) -> None:
    """Write four files for every split."""
    for part in dataset.parts:
        _write(part, files)


def _write(part: ExportedSplit, files: Files) -> None:
    stem = f"{part.dataset}/{part.split}.ds"
    assert part.dtype is not None
    with (
        files.create(stem) as ids,
        files.create(f"{stem}.index") as index,
        files.create(f"{stem}.loss") as loss,
    ):
        start = 0
        for rows in part.rows():
            ids.write(rows.tokens.data)
            loss.write(rows.mask.data)
            ends = start + np.cumsum(rows.documents)
            index.write(ends.astype("<u8").data)
            start = int(ends[-1])
    with files.create(f"{stem}.metadata") as file:
        lines = (f"{part.dataset}|{part.dtype.itemsize}", str(start), _for_people(start))
        file.write("\n".join(lines).encode())


def _for_people(tokens: int) -> str:
    """Three digits: 1234567 -> '1.23 MT', 9099 -> '9.10 kT'."""
    value, exponent = f"{tokens:.2e}".split("e")
    power, shift = divmod(int(exponent), 3)
    return f"{float(value) * 10**shift:.{2 - shift}f} {' kMGTPE'[power].strip()}T"
