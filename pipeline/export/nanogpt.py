"""nanoGPT: train.bin and val.bin, raw little-endian uint16, and meta.pkl (vocab_size, itos, stoi).

The split `train` becomes train.bin; `val`, or where there is none `test`, becomes val.bin; any other keeps
its name. Documents are run together with no sign between them, and there is no loss mask: nanoGPT learns
every token of random windows.
"""

from __future__ import annotations

import pickle

from .base import Dataset, Files

DTYPES = ("uint16",)
TEXTS = False
NOT_CARRIED = "document boundaries, the loss mask (every token is in the loss) and the metadata columns"

_PICKLE_PROTOCOL = 4  # fixed: the same corpus gives the same bytes with any Python


def write(dataset: Dataset, files: Files) -> None:
    """Write a file for every split, and meta.pkl."""
    splits = {part.split for part in dataset.parts}
    for part in dataset.parts:
        name = "val" if part.split == "test" and "val" not in splits else part.split
        with files.create(f"{dataset.name}/{name}.bin") as file:
            for rows in part.rows():
                file.write(rows.tokens.data)
    names = dataset.names()
    meta = {
        "vocab_size": dataset.vocab_size,
        "itos": dict(sorted(names.items())),
        "stoi": {name: token for token, name in sorted(names.items())},
    }
    with files.create(f"{dataset.name}/meta.pkl") as file:
        file.write(pickle.dumps(meta, protocol=_PICKLE_PROTOCOL))
