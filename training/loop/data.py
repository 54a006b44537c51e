"""The token stream as training and evaluation take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...loaders.torch_data import StreamDataset, Tensors, move
from ...tasks.core.batch import LABEL_IGNORED

__all__ = ["Batch", "Part", "StreamDataset", "parts_of", "to_device"]

Batch = Tensors


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch's tensors on `device`."""
    return move(batch, device)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows of a batch on their device, and where the loss is in them."""

    input_ids: Tensor  # int64 [B, L]
    position_ids: Tensor | None  # int64 [B, L] where examples must not see one another
    places: Tensor  # int64 [labelled]: where in [B * L] a token stands whose successor is in the loss
    targets: Tensor  # int64 [labelled]: that successor


def labelled(batch: Batch) -> int:
    """How many tokens of a batch are in the loss; the first of a row never is. The batch is on the CPU."""
    return int((batch["labels"][:, 1:] != LABEL_IGNORED).sum())


def parts_of(batch: Batch, count: int, document_mask: bool, device: torch.device) -> Iterator[Part]:
    """A batch's rows in `count` parts of the same size.

    Where the loss is, is found on the CPU: a GPU would have to be waited for.
    """
    size = len(batch["input_ids"]) // count
    for first in range(0, size * count, size):
        rows = slice(first, first + size)
        labels = batch["labels"][rows]
        length = labels.shape[1]
        row, column = (labels[:, 1:] != LABEL_IGNORED).nonzero(as_tuple=True)
        yield Part(
            input_ids=_sent(batch["input_ids"][rows], device),
            position_ids=_sent(batch["position_ids"][rows], device) if document_mask else None,
            places=_sent(row * length + column, device),
            targets=_sent(labels[row, column + 1], device),
        )


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """On the device, copied to a GPU while the CPU goes on."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
