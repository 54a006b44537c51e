"""How a model is worked on by several processes, and whether it is compiled."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...tasks.errors import ConfigError
from ..models.base import LanguageModel
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
    called: nn.Module  # the objective, in DDP where that is the kind
    proven: bool  # whether what is compiled, if anything, was tried

    def backward(self, part: Part, last: bool, scale: float) -> Tensor:
        """Add the gradients of scale times the objective of a part; its loss, detached.

        last: whether it is this rank's last part of the batch, after which gradients go around.
        """
        if self.proven:
            return self._backward(part, last, scale)
        self.proven = True
        random = torch.get_rng_state()
        try:
            return self._backward(part, last, scale)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of many kinds; where it is the model's own it comes again
            self._give_up_compiling(error)
            self.model.zero_grad(set_to_none=True)
            torch.set_rng_state(random)
            return self._backward(part, last, scale)

    def _backward(self, part: Part, last: bool, scale: float) -> Tensor:
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

    def _give_up_compiling(self, error: Exception) -> None:
        """Go on without, and say why."""
        self.model.compiled = False
        for module in blocks_of(self.model):
            module._compiled_call_impl = None
        reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        print(f"ostraca: train.compile: going on without, since it failed: {reason}", file=sys.stderr)


def spread(model: LanguageModel, settings: TrainSettings, ranks: Ranks) -> Spread:
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
        )
    return Spread(
        model=model,
        settings=settings,
        ranks=ranks,
        kind=kind,
        called=called,
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
            block.compile(dynamic=False)
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for name in ("hidden", "head"):
        register_fsdp_forward_method(model, name)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks that most of a model is made of: its longest list of modules, where it has one."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
