"""A Llama: RMSNorm, SwiGLU, untied embeddings, and what architectures of today change about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import LanguageModel, document_mask
from .canon import Canon

_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class Form:
    """What all blocks have in common."""

    width: int
    heads: int
    mlp_width: int
    rotated: int  # channels of a head that RoPE turns
    qk_norm: bool
    canon: str
    canon_kernel: int
    canon_residual: bool
    canon_activation: bool

    def canon_at(self, place: str, width: int) -> Canon | None:
        """The Canon layer at a place, where there is one."""
        if place not in self.canon:
            return None
        return Canon(width, self.canon_kernel, residual=self.canon_residual, activation=self.canon_activation)


class Around(NamedTuple):
    """What every block needs beside the stream."""

    turn: tuple[Tensor, Tensor] | None  # cosine and sine, each [1 or B, 1, L, rotated / 2]; None: no RoPE
    mask: Tensor | None  # bool [1 or B, 1, L, L]; None: plain causal
    position_ids: Tensor | None  # int64 [B, L] where examples must not see one another


@final
class Llama(LanguageModel):
    """Decoder-only transformer of `layers` blocks over `width` channels.

    `heads=None` is width / 64 (at least 1), `mlp_width=None` is 8/3 width rounded up to a multiple of 8,
    as published. rope_fraction: the share of a head's channels that RoPE turns (0: no positions at all).
    qk_norm: RMSNorm of queries and keys. sliding_window: tokens that a token sees, itself among them.
    loops: how often the stream goes through the same blocks. canon: where Canon layers stand, of `PLACES`.

    All weights are normal with `init_std`; what adds to the residual stream starts smaller by
    sqrt(2 layers), so that its size does not depend on the number of layers.
    """

    def __init__(
        self,
        vocab_size: int,
        layers: int,
        width: int,
        *,
        heads: int | None = None,
        mlp_width: int | None = None,
        rope_theta: float = 10000.0,
        rope_fraction: float = 1.0,
        qk_norm: bool = False,
        sliding_window: int | None = None,
        loops: int = 1,
        canon: str = "",
        canon_kernel: int = 4,
        canon_residual: bool = True,
        canon_activation: bool = False,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // 64)
        mlp_width = mlp_width or -(-8 * width // 24) * 8
        rotated = 2 * int(rope_fraction * (width // heads) / 2)
        form = Form(
            width=width,
            heads=heads,
            mlp_width=mlp_width,
            rotated=rotated,
            qk_norm=qk_norm,
            canon=canon,
            canon_kernel=canon_kernel,
            canon_residual=canon_residual,
            canon_activation=canon_activation,
        )
        self.loops, self.sliding_window = loops, sliding_window
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(form) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=_EPS)
        self.output = nn.Linear(width, vocab_size, bias=False)
        # float32 [rotated / 2]: radians a position turns each pair of channels by.
        frequencies = rope_theta ** (-torch.arange(0, rotated, 2) / max(rotated, 1))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self._initialise(init_std, layers * loops)

    def _initialise(self, std: float, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if "canon" in name or parameter.ndim < 2:
                continue
            scale = (2 * layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
            nn.init.normal_(parameter, std=std * scale)

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """See `LanguageModel.hidden`; normed, ready for `head`."""
        around = Around(
            turn=self._turn(input_ids, position_ids),
            mask=self._mask(input_ids, position_ids),
            position_ids=position_ids,
        )
        x = self.embedding(input_ids)
        for _ in range(self.loops):
            for block in self.blocks:
                x = block(x, around)
        normed: Tensor = self.norm(x)
        return normed

    def _turn(self, input_ids: Tensor, position_ids: Tensor | None) -> tuple[Tensor, Tensor] | None:
        frequencies = self.get_buffer("frequencies")
        if not len(frequencies):
            return None
        positions = position_ids
        if positions is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        angles = positions[..., None].float() * frequencies
        return angles.cos()[:, None], angles.sin()[:, None]

    def _mask(self, input_ids: Tensor, position_ids: Tensor | None) -> Tensor | None:
        length, window = input_ids.shape[1], self.sliding_window
        mask = None if position_ids is None else document_mask(position_ids)
        if window is None or window >= length:
            return mask
        seen = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril().triu(1 - window)
        return seen[None, None] if mask is None else mask & seen

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocab_size]."""
        logits: Tensor = self.output(hidden)
        return logits


@final
class Block(nn.Module):
    """Attention, then SwiGLU, each on the normed stream, with Canon layers where the form has them."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.heads, self.rotated, width = form.heads, form.rotated, form.width
        self.attention_norm = nn.RMSNorm(width, eps=_EPS)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=_EPS)
        self.gate_up = nn.Linear(width, 2 * form.mlp_width, bias=False)
        self.down = nn.Linear(form.mlp_width, width, bias=False)
        head_width = width // form.heads
        self.q_norm = nn.RMSNorm(head_width, eps=_EPS) if form.qk_norm else None
        self.k_norm = nn.RMSNorm(head_width, eps=_EPS) if form.qk_norm else None
        self.attention_canon = form.canon_at("A", width)
        self.qkv_canon = form.canon_at("B", 3 * width)
        self.mlp_canon = form.canon_at("C", width)
        self.gate_up_canon = form.canon_at("D", 2 * form.mlp_width)

    def forward(self, x: Tensor, around: Around) -> Tensor:
        """[B, L, width] -> [B, L, width]."""
        x = x + self._attend(self.attention_norm(x), around)
        y = _canon(self.mlp_canon, self.mlp_norm(x), around)
        gate, up = _canon(self.gate_up_canon, self.gate_up(y), around).chunk(2, dim=-1)
        added: Tensor = self.down(functional.silu(gate) * up)
        return x + added

    def _attend(self, y: Tensor, around: Around) -> Tensor:
        y = _canon(self.attention_canon, y, around)
        batch, length, width = y.shape
        # [3, B, heads, L, head_dim]
        split = _canon(self.qkv_canon, self.qkv(y), around).view(
            batch, length, 3, self.heads, width // self.heads
        )
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind()
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if around.turn is not None:
            q, k = (rotate(part, around.turn, self.rotated) for part in (q, k))
        seen = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=around.mask, is_causal=around.mask is None
        )
        added: Tensor = self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return added


def _canon(layer: nn.Module | None, x: Tensor, around: Around) -> Tensor:
    if layer is None:
        return x
    y: Tensor = layer(x, around.position_ids)
    return y


def rotate(x: Tensor, turn: tuple[Tensor, Tensor], rotated: int) -> Tensor:
    """RoPE: turn the pairs (i, i + rotated / 2) of `x` [B, heads, L, head_dim] by their angles.

    `turn` is (cos, sin), each [1 or B, 1, L, rotated / 2] float32. Channels from `rotated` on stay as they
    are. Dot products of turned vectors depend on the difference of their positions alone.
    """
    cos, sin = (part.to(x.dtype) for part in turn)
    first, second, rest = x.tensor_split((rotated // 2, rotated), dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned if rotated == x.shape[-1] else (*turned, rest), dim=-1)
