"""litgpt: SPLIT/chunk-0-0.bin ... and SPLIT/index.json, litData chunks of ids alone for its TokensLoader.

`--data LitData --data.data_path FOLDER/DATASET --data.split_names '["train", "test"]'`. TokensLoader cuts the
ids of a chunk (64 MB) into blocks and drops what is left at its end. Where each document begins stands in the
chunk, but TokensLoader does not look at it, and it has no place for a loss mask; litdata.py carries both.
"""

from __future__ import annotations

import json

import numpy as np

from .base import Dataset, Files, TokenRows
from .chunked import Samples
from .litdata import LEAF, write_chunks

DTYPES = ("uint16", "int32")
TEXTS = False
NOT_CARRIED = (
    "the loss mask (every token is in the loss) and the metadata columns; TokensLoader sees no boundaries"
)

_CODES = {"uint16": 20, "int32": 16}  # litData's numbers of PyTorch's types


def write(dataset: Dataset, files: Files) -> None:
    """Write a folder for every split."""
    for part in dataset.parts:
        assert part.dtype is not None
        config = {
            "data_format": [f"no_header_tensor:{_CODES[part.dtype.name]}"],
            "data_spec": json.dumps([1, LEAF]),
            "item_loader": "TokensLoader",
        }
        samples = (_samples(rows) for rows in part.rows())
        write_chunks(part, files, samples, config, id_bytes=part.dtype.itemsize)


def _samples(rows: TokenRows) -> Samples:
    data = np.ascontiguousarray(rows.tokens).view(np.uint8)
    return Samples(data=data, sizes=rows.tokens.itemsize * rows.lengths)
