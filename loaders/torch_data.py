"""A `TokenStream` as torch sees it: batches, or single lines, as tensors; in worker processes too."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..tasks.errors import ConfigError
from .plan import Steps

Tensors = dict[str, Any]  # str -> Tensor, but for what no tensor can hold


class Stream(Protocol):
    """What is asked of a `TokenStream`."""

    @property
    def step(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def examples_seen(self) -> int: ...
    @property
    def steps_per_epoch(self) -> int | None: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __len__(self) -> int: ...
    def steps_from(self, first: int) -> Steps: ...
    def batches(self, steps: Steps) -> Iterator[tuple[dict[str, Any], int]]: ...
    def of_one_process(self) -> Stream: ...
    def set_epoch(self, epoch: int) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@final
class StreamDataset(IterableDataset[Tensors]):
    """The batches of a stream that are this rank's, as tensors over the same memory.

    Give it to a `DataLoader` with `batch_size=None` and any number of workers: worker w of k makes every k-th
    batch, so that the loader's are those of no workers, in order. It begins where the stream stands, and the
    pass after a finished one with the next epochs. torchdata's `StatefulDataLoader` keeps its state.

    What shares out a dataset itself (accelerate's `prepare`, `transformers.Trainer`) takes `RowDataset`.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream
        # Workers tell the next ones, which are copies of this object too, where they ended.
        self._next = torch.tensor([stream.step], dtype=torch.int64).share_memory_()
        self._resumed: int | None = None  # in a worker: the step that its state told

    def __iter__(self) -> Iterator[Tensors]:
        _refuse_accelerate(self._stream)
        worker = get_worker_info()
        if worker is None:
            for batch in self._stream:
                self._next[0] = self._stream.step
                yield tensors(batch)
            return
        first = int(self._next[0])
        steps = self._stream.steps_from(first)
        begin = first + worker.id if self._resumed is None else self._resumed
        self._resumed = None
        self._at = begin
        for batch, _ in self._stream.batches(Steps(first=begin, stop=steps.stop, every=worker.num_workers)):
            self._at += worker.num_workers
            yield tensors(batch)
        if steps.stop is not None:
            self._next[0] = steps.stop

    def __len__(self) -> int:
        """Batches of a pass; TypeError where it has no end."""
        return len(self._stream)

    def set_epoch(self, epoch: int) -> None:
        """Begin the next pass with this epoch; an endless stream has none, and goes on."""
        if self._stream.steps_per_epoch is not None:
            self._stream.set_epoch(epoch)
            self._next[0] = self._stream.step

    @property
    def examples_seen(self) -> int:
        """See `TokenStream.examples_seen`."""
        return self._stream.examples_seen

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins; in a worker: the next one of its own."""
        state = self._stream.state_dict()
        worker = get_worker_info()
        if worker is None:
            return state
        return {**state, "step": getattr(self, "_at", int(self._next[0]) + worker.id)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._stream.load_state_dict(state)
        if get_worker_info() is None:
            self._next[0] = self._stream.step
        else:
            self._resumed = self._stream.step


@final
class RowDataset(IterableDataset[Tensors]):
    """The lines of a stream's global batches, one by one, the same on every rank.

    For what makes batches and shares them out over processes itself, as accelerate and
    `transformers.Trainer` do: with their global batch as large as the stream's they train on the stream's
    batches.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream.of_one_process()

    def __iter__(self) -> Iterator[Tensors]:
        worker = get_worker_info()
        if worker is not None and worker.num_workers > 1:
            raise ConfigError(
                "single lines come from one worker at most: several would give them in another order; take "
                "dataloader_num_workers=0 or 1 (threads read ahead)"
            )
        for batch in self._stream:
            lines = tensors(batch)
            for line in range(len(lines["input_ids"])):
                yield {name: values[line] for name, values in lines.items()}

    def set_epoch(self, epoch: int) -> None:
        """Begin the next pass with this epoch; an endless stream has none, and goes on."""
        if self._stream.steps_per_epoch is not None:
            self._stream.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._stream.load_state_dict(state)


def tensors(batch: Mapping[str, Any]) -> Tensors:
    """A batch's arrays as tensors over the same memory; what is none as it is."""
    return {
        name: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        for name, values in batch.items()
    }


def _refuse_accelerate(stream: Stream) -> None:
    """ConfigError where accelerate would share out what is this rank's share already."""
    state = getattr(sys.modules.get("accelerate.state"), "PartialState", None)
    processes = getattr(state, "_shared_state", {}).get("num_processes", 1) if state is not None else 1
    if processes > 1 and stream.world_size > 1:
        raise ConfigError(
            "accelerate shares out datasets itself, and this one holds the rank's share already; give it "
            "stream.rows(), or iterate over the stream without prepare()"
        )


def move(batch: Tensors, device: torch.device) -> Tensors:
    """The batch's tensors on a device, copied while the CPU goes on where that can be."""
    return {
        name: values.to(device, non_blocking=True) if isinstance(values, Tensor) else values
        for name, values in batch.items()
    }


def on_device(batches: Iterator[tuple[Mapping[str, Any], int]], device: Any) -> Iterator[tuple[Tensors, int]]:
    """The same batches as tensors on a device; to a GPU the next one is on its way while one is in use."""
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise ConfigError(f"device={device!r} is none of torch's; take e.g. 'cpu' or 'cuda:0'") from None
    if place.type != "cuda":
        for batch, begun in batches:
            yield move(tensors(batch), place), begun
        return
    aside = torch.cuda.Stream(place)
    waiting: tuple[Tensors, Tensors, int, torch.cuda.Event] | None = None
    for batch, begun in batches:
        pinned = {
            name: values.pin_memory() if isinstance(values, Tensor) else values
            for name, values in tensors(batch).items()
        }
        with torch.cuda.stream(aside):
            coming = (move(pinned, place), pinned, begun, aside.record_event())
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = coming
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(batch: Tensors, pinned: Tensors, begun: int, copied: torch.cuda.Event) -> tuple[Tensors, int]:
    """A batch whose copy from `pinned` was begun on another stream, for use on the current one."""
    here = torch.cuda.current_stream()
    here.wait_event(copied)
    for values in batch.values():
        if isinstance(values, Tensor):
            values.record_stream(here)
    return batch, begun
