"""The processes of a run: who this one is, and what they tell one another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, final

import torch
from torch import Tensor, distributed

from ...loaders.ranks import rank_and_world
from ...tasks.errors import ConfigError, OstracaError, first_line
from .sums import tree_sum

_PATIENCE = timedelta(hours=2)  # one writes a checkpoint or draws a picture while the others wait


@final
class Ranks:
    """This process among `world_size` of them; one alone needs no process group.

    What is told goes through the CPU, so that nothing waits for a GPU.
    """

    def __init__(self, device: torch.device, rank: int = 0, world_size: int = 1) -> None:
        self.device, self.rank, self.world_size = device, rank, world_size
        self._host: Any = None
        if world_size > 1:
            self._host = distributed.new_group(backend="gloo", timeout=_PATIENCE)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def gathered(self, value: Tensor) -> list[Tensor]:
        """A CPU tensor of the same shape from each rank, in order."""
        if self._host is None:
            return [value]
        parts = [torch.empty_like(value) for _ in range(self.world_size)]
        distributed.all_gather(parts, value.contiguous(), group=self._host)
        return parts

    def total(self, value: Tensor) -> Tensor:
        """The sum of a CPU tensor over the ranks, added up in the same order everywhere."""
        return tree_sum([[part] for part in self.gathered(value)])[0]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put the sums over the ranks into these CPU tensors, added up in the same order everywhere."""
        if self._host is None:
            return
        flat = self.total(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        first = 0
        for tensor in tensors:
            tensor.copy_(flat[first : first + tensor.numel()].view_as(tensor))
            first += tensor.numel()

    def told(self, value: Any) -> Any:
        """What the main rank gives."""
        if self._host is None:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self._host)
        return box[0]

    @contextmanager
    def on_main(self) -> Iterator[bool]:
        """A block in which the main rank does something (true there) that all wait for.

        Where it fails with an Exception, all raise; otherwise some would wait for ever.
        """
        failed: Exception | None = None
        try:
            yield self.main
        except Exception as error:
            failed = error
        said = None if failed is None else (isinstance(failed, ConfigError), str(failed))
        told = self.told(said)
        if failed is not None:
            raise failed
        if told is not None:
            raise (ConfigError if told[0] else OstracaError)(told[1])

    def wait(self) -> None:
        """Until all are here."""
        self.total(torch.zeros(1))


@contextmanager
def ranks_of(device: str) -> Iterator[Ranks]:
    """This process as RANK and WORLD_SIZE say (torchrun sets them), or of torch's process group.

    device: as `resolve_device` takes it; of several GPUs each process of a machine has its own. ConfigError
    where it cannot be used.
    """
    rank, world_size = rank_and_world(None, None)
    local = int(os.environ.get("LOCAL_RANK", rank))
    place = resolve_device(device if world_size == 1 else _of_rank(device, local))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if world_size == 1:
        yield Ranks(place)
        return
    made_here = not distributed.is_initialized()
    if made_here:
        backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
        try:
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except ValueError as error:  # what torchrun sets is not all there
            raise ConfigError(
                f"RANK and WORLD_SIZE are set, but the processes do not find one another ({error}); start "
                "them with torchrun, or unset both"
            ) from error
    try:
        yield Ranks(place, rank, world_size)
    finally:
        if made_here:
            distributed.destroy_process_group()


def _of_rank(device: str, local: int) -> str:
    """The device of the process with this number on its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{local}" if device == "cuda" else device


_DEVICES = ("cpu", "cuda", "mps")


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA GPU, else the CPU; anything else is torch's own name of a device.

    A GPU has a number. OstracaError where the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device("cuda:0" if name == "cuda" else name)
        torch.empty(0, device=device)
        reason = f"training is on {', '.join(_DEVICES)}"
    except (RuntimeError, AssertionError) as error:  # torch raises either where it lacks the device
        device, reason = torch.device("meta"), first_line(error)
    if device.type not in _DEVICES:
        raise OstracaError(
            f"train.device={name!r} cannot be used ({reason}); use auto, cpu, or cuda where there is a GPU"
        )
    return device
