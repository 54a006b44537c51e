"""Tokens a second of another project's shuffling reader, in its own environment: mosaic | litdata FOLDER.

See tests/peers/environments.py. Rows are read as each library's documentation shows, with its default
shuffle, and made what a training step takes: batches of 8, int64 ids and labels, -100 where there is no loss.
"""

import json
import sys
import time
from unittest.mock import MagicMock

import torch
from torch.utils.data import DataLoader


def mosaic(folder: str):
    """Rows of an MDS folder."""
    sys.modules["streaming.vision"] = MagicMock()  # for pictures; it needs torchvision
    from streaming import StreamingDataset

    return StreamingDataset(local=folder, shuffle=True, shuffle_seed=0, batch_size=8)


def litdata(folder: str):
    """Rows of a litData folder."""
    from litdata import StreamingDataset

    return StreamingDataset(folder, shuffle=True, seed=0)


def stacked(rows):
    """The ids and masks of rows; the one that is not full, the last of all, is left out."""
    rows = [row for row in rows if len(row[column]) == 2048]
    return [torch.stack([torch.as_tensor(row[name]) for row in rows]) for name in (column, "loss_mask")]


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    rows = {"mosaic": mosaic, "litdata": litdata}[name](folder)
    column = {"mosaic": "tokens", "litdata": "input_ids"}[name]
    best = 0.0
    for _ in range(2):
        begun, tokens = time.perf_counter(), 0
        for ids, mask in DataLoader(rows, batch_size=8, collate_fn=stacked):
            labels = torch.where(mask.bool(), ids.long(), -100)
            tokens += labels.numel()
        best = max(best, tokens / 1e6 / (time.perf_counter() - begun))
    print(json.dumps({"rate": best, "tokens": tokens}))
