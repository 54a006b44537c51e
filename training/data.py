"""The token stream as training and evaluation take it."""

from __future__ import annotations

import torch

from ..loaders.torch_data import StreamDataset, Tensors, move

__all__ = ["Batch", "StreamDataset", "to_device"]

Batch = Tensors


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch's tensors on `device`."""
    return move(batch, device)
