"""The token stream as torch sees it: the one way that data reaches training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..loaders import TokenStream

Batch = dict[str, Tensor]


@final
class StreamDataset(IterableDataset[Batch]):
    """The batches of a `TokenStream` as torch tensors over the same memory, int64 [batch, length].

    Give it to a `DataLoader` with `batch_size=None` and no workers (batches are made; worker processes
    would each yield the whole stream), or iterate over it.
    """

    def __init__(self, stream: TokenStream) -> None:
        super().__init__()
        self._stream = stream

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._stream:
            yield {name: torch.from_numpy(values) for name, values in batch.items()}

    @property
    def examples_seen(self) -> int:
        """Examples in the batches given so far."""
        return self._stream.examples_seen

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._stream.load_state_dict(state)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch's tensors on `device`."""
    return {name: values.to(device, non_blocking=True) for name, values in batch.items()}
