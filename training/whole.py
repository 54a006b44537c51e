"""Weights and the optimizer's state by name, whole on the CPU, whoever holds shares of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..tasks.errors import OstracaError


def weights_of(model: nn.Module, keep: bool = True) -> dict[str, Tensor]:
    """Copies of a model's weights and buffers on the CPU; what is tied comes once, by its first name.

    Where ranks hold shares of weights all must call this; those that do not keep them get none.
    """
    found = {}
    for name, tensor in _named(model).items():
        whole = whole_of(tensor)
        if keep:
            found[name] = to_cpu(whole)
    return found


def _named(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, without the further names of tied weights."""
    once = {name for name, _ in model.named_parameters()}
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights that `weights_of` gave into a model; OstracaError where they are another model's."""
    own = _named(model)
    wrong = [name for name in {**own, **weights} if name not in own or name not in weights]
    wrong += [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if wrong:
        shapes = [tuple(side[wrong[0]].shape) if wrong[0] in side else "none" for side in (weights, own)]
        raise OstracaError(
            f"{where} is of another model: of {wrong[0]} it has {shapes[0]}, the model {shapes[1]}; take the "
            "model that it was written with, or another out="
        )
    with torch.no_grad():
        for name, weight in weights.items():
            own[name].copy_(_like(weight, own[name]))


def optimizer_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, keep: bool = True
) -> dict[str, dict[str, Any]]:
    """What the optimizer knows of each parameter, by the parameter's name; nothing of one without a gradient.

    keep: as of `weights_of`.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    found: dict[str, dict[str, Any]] = {}
    for parameter in _optimized(optimizer):
        whole = {key: whole_of(value) for key, value in optimizer.state.get(parameter, {}).items()}
        if keep:
            found[names[parameter]] = {key: to_cpu(value) for key, value in whole.items()}
    return found


def load_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put what `optimizer_state` gave into an optimizer; KeyError where a parameter is missing."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter in _optimized(optimizer):
        known = state[names[parameter]]
        if known:
            optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in known.items()}


def to_cpu(value: Any) -> Any:
    """A value with a copy of its tensor on the CPU."""
    return value.detach().to("cpu", copy=True).contiguous() if isinstance(value, Tensor) else value


def whole_of(value: Any) -> Any:
    """A tensor, put together where ranks hold shares of it."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


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
