"""Canon layer: every token adds a weighted sum of itself and the few tokens before it.

"Physics of Language Models: Part 4.1" (arXiv 2512.17351).
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from .pointwise import by_hand

PLACES = "ABCD"  # before attention, in its queries, keys and values, before the MLP, inside it


@final
class Canon(nn.Module):
    """`y[t] = x[t] + sum_j weight[j] * x[t - j]`, j = 0 .. kernel - 1, each channel for itself.

    A causal depthwise convolution without bias, residual and linear as published. residual False leaves out
    the first `x[t]`; activation True takes SiLU of the sum. Tokens before the start count as zero. `kernel`
    shifted products stand for the convolution: `conv1d` wants [B, width, L], and two transposes cost more
    than the four fused multiply-adds (width 128 on a CPU: 2.5x); compiled, they are one kernel.
    """

    def __init__(
        self, width: int, kernel: int = 4, *, residual: bool = True, activation: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.residual, self.activation = kernel, residual, activation
        # [kernel, width]; row j weighs the token j places back.
        self.weight = nn.Parameter(torch.empty(kernel, width))
        self.reset()

    def reset(self) -> None:
        """Draw the weights as `nn.Conv1d` would (uniform, bound 1/sqrt(kernel)).

        Not zeros: the point of the layer is that neighbours can be seen from the first step on.
        """
        bound = self.kernel**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """[B, L, width] -> [B, L, width], same dtype.

        With `position_ids` (int64 [B, L], 0 at the first token of each example) no token sees one
        of an earlier example: the token j places back counts only where position >= j.
        """
        weight = self.weight.to(x.dtype)
        linear = self.residual and not self.activation
        y: Tensor
        if by_hand(x, self.weight):
            near = _near(position_ids, min(self.kernel, x.shape[1]))
            y = _Sum.apply(x, weight, linear, near)  # type: ignore[no-untyped-call]
        else:
            y = _FusedSum.apply(x, weight, linear, position_ids)  # type: ignore[no-untyped-call]
        if self.activation:
            y = nn.functional.silu(y)
            return x + y if self.residual else y
        return y


def _near(position_ids: Tensor | None, kernel: int) -> tuple[Tensor, ...] | None:
    """For j = 1 .. kernel - 1: bool [B, L - j, 1], whether the token j places back is of the same example."""
    if position_ids is None:
        return None
    return tuple(position_ids[:, j:, None] >= j for j in range(1, kernel))


class _FusedSum(torch.autograd.Function):
    """The weighted sum for `torch.compile`: one kernel forward; back one for `x` and one for all the weights.

    By itself it would keep the shifted products, or sum them up one by one: shifted tensors all have the
    length of the row here, filled with zeros, so that their sums have one shape.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, linear: bool, position_ids: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, position_ids)
        ctx.linear = linear
        y = torch.addcmul(x, x, weight[0]) if linear else x * weight[0]
        for j in range(1, min(len(weight), x.shape[1])):
            y = y + _seen_from(_back(x, j), position_ids, j) * weight[j]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, position_ids = ctx.saved_tensors
        to_x = torch.addcmul(grad, grad, weight[0]) if ctx.linear else grad * weight[0]
        to_weight = [(grad * x).sum((0, 1))]
        for j in range(1, len(weight)):
            if j >= x.shape[1]:
                to_weight.append(torch.zeros_like(weight[j]))
                continue
            later = _seen_from(grad, position_ids, j)
            to_x = to_x + nn.functional.pad(later[:, j:], (0, 0, 0, j)) * weight[j]
            to_weight.append((later * _back(x, j)).sum((0, 1)))
        return to_x, torch.stack(to_weight), None, None


def _back(x: Tensor, j: int) -> Tensor:
    """At t what stands at t - j, zeros before the start."""
    return nn.functional.pad(x[:, :-j], (0, 0, j, 0))


def _seen_from(x: Tensor, position_ids: Tensor | None, j: int) -> Tensor:
    """Zeros where the token j places back is of another example."""
    return x if position_ids is None else x * (position_ids[..., None] >= j)


class _Sum(torch.autograd.Function):
    """The weighted sum by hand, see `pointwise`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, linear: bool, near: tuple[Tensor, ...] | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.linear, ctx.near = linear, near
        y = torch.addcmul(x, x, weight[0]) if linear else x * weight[0]
        for j in range(1, min(len(weight), x.shape[1])):
            past = x[:, :-j] if near is None else x[:, :-j] * near[j - 1]
            y[:, j:].addcmul_(past, weight[j])
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        to_x = torch.addcmul(grad, grad, weight[0]) if ctx.linear else grad * weight[0]
        to_weight = torch.zeros_like(weight)
        torch.sum(grad * x, (0, 1), out=to_weight[0])
        for j in range(1, min(len(weight), x.shape[1])):
            later = grad[:, j:] if ctx.near is None else grad[:, j:] * ctx.near[j - 1]
            to_x[:, :-j].addcmul_(later, weight[j])
            torch.sum(later * x[:, :-j], (0, 1), out=to_weight[j])
        return to_x, to_weight, None, None
