"""A Llama: RMSNorm, SwiGLU, untied embeddings, and what architectures of today change about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import Seen, attend, can_pack, seen
from .base import LanguageModel
from .canon import Canon
from .pointwise import RMSNorm, Rope, Turn, rotate, swiglu


@dataclass(frozen=True, kw_only=True)
class Form:
    """What all blocks have in common."""

    width: int
    heads: int
    mlp_width: int
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

    sees: Seen
    turn: Turn | None  # None: no RoPE
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
            qk_norm=qk_norm,
            canon=canon,
            canon_kernel=canon_kernel,
            canon_residual=canon_residual,
            canon_activation=canon_activation,
        )
        self.loops, self._sliding_window = loops, sliding_window
        self._head_dim, self._recompute = width // heads, False
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(form) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.output = nn.Linear(width, vocab_size, bias=False)
        self.rope = Rope(width // heads, rotated, rope_theta) if rotated else None
        self._initialise(init_std, layers * loops)

    def _initialise(self, std: float, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if "canon" in name or parameter.ndim < 2:
                continue
            scale = (2 * layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
            nn.init.normal_(parameter, std=std * scale)

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """See `LanguageModel.hidden`; normed, ready for `head`."""
        return self._through(input_ids, self._around(input_ids, position_ids))

    def compile_hidden(self, **options: Any) -> None:
        """See `LanguageModel.compile_hidden`; angles, masks and borders stay outside, made once a step."""
        self._through = self.in_training(self._through, **options)  # type: ignore[method-assign]

    def recompute_activations(self) -> None:
        """See `LanguageModel.recompute_activations`."""
        self._recompute = True

    def _around(self, input_ids: Tensor, position_ids: Tensor | None) -> Around:
        packs = can_pack(input_ids.device, self.output.weight.dtype, self._head_dim)
        return Around(
            sees=seen(input_ids, position_ids, self._sliding_window, packs),
            turn=None if self.rope is None else self.rope(input_ids.shape[1], position_ids),
            position_ids=position_ids,
        )

    def _through(self, input_ids: Tensor, around: Around) -> Tensor:
        x = self.embedding(input_ids)
        again = self._recompute and torch.is_grad_enabled()
        for _ in range(self.loops):
            for block in self.blocks:
                if again:  # nothing in a block is random
                    x = checkpoint(block, x, around, use_reentrant=False, preserve_rng_state=False)
                else:
                    x = block(x, around)
        normed: Tensor = self.norm(x)
        return normed

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocab_size]."""
        logits: Tensor = self.output(hidden)
        return logits


@final
class Block(nn.Module):
    """Attention, then SwiGLU, each on the normed stream, with Canon layers where the form has them."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.heads, width = form.heads, form.width
        self.attention_norm = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp_norm = RMSNorm(width)
        self.gate_up = nn.Linear(width, 2 * form.mlp_width, bias=False)
        self.down = nn.Linear(form.mlp_width, width, bias=False)
        head_width = width // form.heads
        self.q_norm = RMSNorm(head_width) if form.qk_norm else None
        self.k_norm = RMSNorm(head_width) if form.qk_norm else None
        self.attention_canon = form.canon_at("A", width)
        self.qkv_canon = form.canon_at("B", 3 * width)
        self.mlp_canon = form.canon_at("C", width)
        self.gate_up_canon = form.canon_at("D", 2 * form.mlp_width)

    def forward(self, x: Tensor, around: Around) -> Tensor:
        """[B, L, width] -> [B, L, width]."""
        x = x + self._attend(self.attention_norm(x), around)
        y = _canon(self.mlp_canon, self.mlp_norm(x), around)
        added: Tensor = self.down(swiglu(_canon(self.gate_up_canon, self.gate_up(y), around)))
        return x + added

    def _attend(self, y: Tensor, around: Around) -> Tensor:
        y = _canon(self.attention_canon, y, around)
        qkv = _canon(self.qkv_canon, self.qkv(y), around)
        # [B, L, heads, head_dim] each; queries and keys lie side by side.
        parts = qkv.unflatten(-1, (3 * self.heads, -1))  # type: ignore[no-untyped-call]
        qk, v = parts.tensor_split((2 * self.heads,), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.chunk(2, dim=2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=2)
        if around.turn is not None:
            qk = rotate(qk, around.turn)
        q, k = qk.chunk(2, dim=2)
        added: Tensor = self.out(attend(q, k, v, around.sees))
        return added


def _canon(layer: nn.Module | None, x: Tensor, around: Around) -> Tensor:
    if layer is None:
        return x
    y: Tensor = layer(x, around.position_ids)
    return y
