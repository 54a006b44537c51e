"""How a model is worked on by several processes, and whether it is compiled."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...tasks.errors import ConfigError, first_line
from ..models.base import LanguageModel
from ..models.own_model import OwnModel
from ..settings import TrainSettings
from .data import Part
from .objective import Objective, resolve_precision
from .ranks import Ranks


@dataclass(kw_only=True)
class Spread:
    """A model over the ranks.

    kind "sum": each has all weights, and gradients are added up when all are there, in an order that depends
    on the parts of the batch alone. "ddp": added up while the backward pass goes on. "fsdp": each has a share
    of the weights.
    """

    model: LanguageModel
    settings: TrainSettings
    ranks: Ranks
    kind: str
    objective: Objective
    called: nn.Module  # the objective, in DDP where that is the kind
    seed: int  # of what is random in the model (dropout)
    proven: bool  # whether what is compiled, if anything, was tried

    def backward(self, part: Part, last: bool, scale: float) -> Tensor:
        """Add the gradients of scale times the objective of a part; its loss, detached.

        last: whether it is this rank's last part of the batch, after which gradients go around.
        """
        if not self.proven:
            self._prove(part)
        waits: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if isinstance(self.called, DistributedDataParallel) and not last:
            waits = self.called.no_sync()
        if self.kind == "fsdp":
            cast(Any, self.model).set_requires_gradient_sync(last)
        if self.kind != "sum":
            scale *= self.ranks.world_size  # torch takes the mean over the ranks
        with waits:
            loss, added = self.called(part)
            ((loss + added) * scale).backward()
        detached: Tensor = loss.detach()
        return detached

    def _prove(self, part: Part) -> None:
        """Try what is compiled once, to no effect; where it fails, go on without, and say why."""
        self.proven = True
        device = self.ranks.device
        kept = [buffer.clone() for buffer in self.model.buffers()]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            failed = self._tried(part)
            if failed is not None:
                self.model.compiled = False
                again = self._tried(part)
                if again is not None:
                    raise again
                reason = first_line(failed)
                print(f"ostraca: train.compile: going on without, since it failed: {reason}", file=sys.stderr)
        with torch.no_grad():
            for buffer, value in zip(self.model.buffers(), kept, strict=True):
                if buffer.shape == value.shape:  # RoPE's tables may have grown
                    buffer.copy_(value)

    def _tried(self, part: Part) -> Exception | None:
        """Forward and backward pass of a part; the gradients are thrown away."""
        try:
            loss, added = self.objective(part)
            (loss + added).backward()
        except Exception as error:  # of many kinds
            return error
        finally:
            self.model.zero_grad(set_to_none=True)
        return None


def spread(model: LanguageModel, settings: TrainSettings, ranks: Ranks, seed: int = 0) -> Spread:
    """Lay a model, which is on the rank's device, over the ranks; ConfigError where that cannot be."""
    device, kind = ranks.device, settings.parallel
    if ranks.world_size == 1:
        kind = "sum"
    elif kind == "auto":
        kind = "ddp" if device.type == "cuda" else "sum"
    if kind == "sum" and ranks.world_size > 1 and device.type != "cpu":
        raise ConfigError(f"train.parallel=sum is for CPUs, not for {device}; take ddp, fsdp or auto")
    compiled = settings.compile == "always" or (settings.compile == "auto" and device.type == "cuda")
    if settings.activation_checkpointing:
        model.recompute_activations()
    if kind == "fsdp":
        _shard(model, settings, device, compiled)
    objective = Objective(model, settings, device)
    if compiled and kind != "fsdp":
        model.compile_hidden(dynamic=False)
    called: nn.Module = objective
    if kind == "ddp":
        called = DistributedDataParallel(
            objective,
            device_ids=[device] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            broadcast_buffers=False,  # RoPE's tables
            find_unused_parameters=isinstance(model, OwnModel),
        )
    return Spread(
        model=model,
        settings=settings,
        ranks=ranks,
        kind=kind,
        objective=objective,
        called=called,
        seed=seed,
        proven=not compiled,
    )


def _shard(model: LanguageModel, settings: TrainSettings, device: torch.device, compiled: bool) -> None:
    """Give each rank a share of each block's weights, and of the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    precision = resolve_precision(settings.precision, device)
    policy = MixedPrecisionPolicy(
        param_dtype=None if precision == torch.float32 else precision, reduce_dtype=torch.float32
    )
    for block in blocks_of(model):
        if compiled:
            block.forward = model.in_training(block.forward, dynamic=False)
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for name in ("hidden", "head"):
        register_fsdp_forward_method(model, name)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks that most of a model is made of: its longest list of modules, where it has one."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
