"""What a block does between its matrix products: RMSNorm, SwiGLU and RoPE.

Each is a plain formula, which `torch.compile` makes one kernel, and the same by hand with its gradient for a
CPU that runs it as it stands: there every operation reads and writes all of a tensor, and autograd's chain of
them takes up to twice as many.
"""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional


def by_hand(*tensors: Tensor) -> bool:
    """Whether the operations by hand take these: on a CPU, not compiled, all float32 or all float64."""
    dtype = tensors[0].dtype
    return (
        tensors[0].device.type == "cpu"
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype for tensor in tensors)
        and not torch.compiler.is_compiling()
    )


@final
class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last `width` channels.

    In the dtype of `x`, or of autocast: what follows works in that, and a Canon layer between moves half as
    many bytes.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        if by_hand(x, self.weight) and not torch.is_autocast_enabled("cpu"):
            y: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return y
        y = functional.rms_norm(x, (len(self.weight),), self.weight.to(x.dtype), self.eps)
        kind = x.device.type
        return y.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else y


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, weight, scale)
        return normed * weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, weight, scale = ctx.saved_tensors
        both = grad * normed
        along = (both @ weight)[..., None].div_(-len(weight))  # mean of grad weight normed, negative
        to_x = torch.addcmul(grad * weight, normed, along).mul_(scale)
        return to_x, both.flatten(0, -2).sum(0), None


def swiglu(x: Tensor) -> Tensor:
    """`silu(gate) * up` of `x` [..., 2 inner], gate before up -> [..., inner]."""
    if by_hand(x):
        y: Tensor = _SwiGLU.apply(x)  # type: ignore[no-untyped-call]
        return y
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        open_ = gate.sigmoid()
        ctx.save_for_backward(x, open_)
        return (gate * open_).mul_(up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, open_ = ctx.saved_tensors
        gate, up = x.chunk(2, dim=-1)
        to_x = torch.empty_like(x)
        to_gate, to_up = to_x.chunk(2, dim=-1)
        silu = gate * open_
        torch.mul(grad, silu, out=to_up)
        slope = silu.addcmul_(silu, open_, value=-1).add_(open_)  # silu' = s + silu (1 - s), s the sigmoid
        torch.mul(grad, up, out=to_gate).mul_(slope)
        return to_x


class Turn(NamedTuple):
    """By how much RoPE turns each channel at each position."""

    cos: Tensor  # [1 or B, L, 1, head_dim] float32; 1 in channels that are not turned
    sin: Tensor  # likewise, negative in the first of a pair; 0 in channels that are not turned
    half: int  # channels i and i + half, i < half, are a pair; those from 2 half on are not turned


@final
class Rope(nn.Module):
    """Cosines and sines of RoPE, made once for as many positions as have been asked for.

    turned: how many of a head's `head_dim` channels are turned, an even number. theta: the base.
    """

    cos: Tensor  # [positions, head_dim]
    sin: Tensor

    def __init__(self, head_dim: int, turned: int, theta: float) -> None:
        super().__init__()
        self._head_dim, self._turned, self._theta = head_dim, turned, theta
        self.register_buffer("cos", torch.empty(0, head_dim), persistent=False)
        self.register_buffer("sin", torch.empty(0, head_dim), persistent=False)

    def forward(self, length: int, position_ids: Tensor | None = None) -> Turn:
        """For positions 0 .. length - 1, or `position_ids` (int64 [B, L], all below `length`)."""
        if len(self.cos) < length:
            self._grow(length)
        at = slice(length) if position_ids is None else position_ids
        cos, sin = (table[at].unsqueeze(-2) for table in (self.cos, self.sin))
        if position_ids is None:
            cos, sin = cos[None], sin[None]
        return Turn(cos, sin, self._turned // 2)

    def _grow(self, length: int) -> None:
        # What is made in an evaluation is used in training too.
        with torch.inference_mode(False), torch.no_grad():
            # float32 [turned / 2]: radians a position turns each pair of channels by.
            pairs = torch.arange(0, self._turned, 2, device=self.cos.device)
            frequencies = self._theta ** (-pairs / self._turned)
            angles = torch.arange(length, device=self.cos.device)[:, None].float() * frequencies
            rest = self._head_dim - self._turned
            self.cos = functional.pad(angles.cos().repeat(1, 2), (0, rest), value=1.0)
            self.sin = functional.pad(torch.cat((-angles.sin(), angles.sin()), dim=-1), (0, rest))


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """RoPE: turn the pairs of channels of `x` [B, L, heads, head_dim] by their angles.

    Dot products of turned vectors depend on the difference of their positions alone.
    """
    cos, sin, half = turn.cos.to(x.dtype), turn.sin.to(x.dtype), turn.half
    if by_hand(x):
        turned: Tensor = _Rotate.apply(x, cos, sin, half)  # type: ignore[no-untyped-call]
        return turned
    # Nothing is concatenated: `torch.compile` fuses a flip and a padding into the product, not a `cat`.
    pairs = x[..., : 2 * half].unflatten(-1, (2, half))  # type: ignore[no-untyped-call]
    other = pairs.flip(-2).flatten(-2)
    return x * cos + functional.pad(other, (0, x.shape[-1] - 2 * half)) * sin


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, half: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.half = half
        return _rotated(x, Turn(cos, sin, half), 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, Turn(cos, sin, ctx.half), -1), None, None, None


def _rotated(x: Tensor, turn: Turn, sign: int) -> Tensor:
    """Turned by the angles, or back by them where `sign` is -1."""
    cos, sin, half = turn
    y = x * cos
    y[..., :half].addcmul_(x[..., half : 2 * half], sin[..., :half], value=sign)
    y[..., half : 2 * half].addcmul_(x[..., :half], sin[..., half : 2 * half], value=sign)
    return y
