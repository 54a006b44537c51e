"""Weights and the optimizer's state by name, whole on the CPU, whoever holds shares of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..tasks.errors import OstracaError


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights and buffers on the CPU; what shares a storage comes once, by one name.

    Where ranks hold shares of weights all must call this.
    """
    seen: set[tuple[Any, ...]] = set()
    found = {}
    for name, tensor in model.state_dict().items():
        own = _local(tensor)
        key = own.data_ptr(), own.storage_offset(), tuple(tensor.shape)
        if own.numel() and key in seen:
            continue
        seen.add(key)
        found[name] = to_cpu(tensor)
    return found


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights that `weights_of` gave into a model; OstracaError where they are another model's."""
    own = model.state_dict()
    named = weights_of(model)
    wrong = [name for name in {**named, **weights} if name not in named or name not in weights]
    wrong += [name for name in named if name in weights and named[name].shape != weights[name].shape]
    if wrong:
        shapes = [tuple(side[wrong[0]].shape) if wrong[0] in side else "none" for side in (weights, named)]
        raise OstracaError(
            f"{where} is of another model: of {wrong[0]} it has {shapes[0]}, the model {shapes[1]}; take the "
            "model that it was written with, or another out="
        )
    with torch.no_grad():
        for name, weight in weights.items():  # those that share a storage are named once
            own[name].copy_(_like(weight, own[name]))


def optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    """What the optimizer knows of each parameter, by the parameter's name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: {key: to_cpu(value) for key, value in optimizer.state[parameter].items()}
        for parameter in _optimized(optimizer)
        if parameter in optimizer.state
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put what `optimizer_state` gave into an optimizer; KeyError where a parameter is missing."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter in _optimized(optimizer):
        if names[parameter] not in state and state:
            raise KeyError(names[parameter])
    for parameter in _optimized(optimizer):
        if names[parameter] in state:
            known = state[names[parameter]]
            optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in known.items()}


def to_cpu(value: Any) -> Any:
    """The same nested value with copies of its tensors on the CPU, whole."""
    if isinstance(value, Tensor):
        whole = value.full_tensor() if hasattr(value, "full_tensor") else value
        return whole.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, Mapping):
        return {key: to_cpu(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_cpu(one) for one in value)
    return value


def _optimized(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def _placed(value: Any, parameter: Tensor) -> Any:
    """A value of the optimizer's on the device of its parameter, shared out as that is."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        # A fused optimizer wants its count of steps where the parameter is.
        return value.to(_local(parameter).device) if isinstance(value, Tensor) else value
    return _like(value, parameter)


def _like(whole: Tensor, target: Any) -> Tensor:
    """A whole tensor as the target is: on its device, this rank's share of it where it is shared out."""
    if not hasattr(target, "device_mesh"):
        return whole.to(target.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(_local(target).device), target.device_mesh, target.placements)
