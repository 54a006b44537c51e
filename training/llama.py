"""A small Llama: RoPE, RMSNorm, SwiGLU, untied embeddings; Canon layers where asked for."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import LanguageModel, document_mask
from .canon import Canon


@final
class Llama(LanguageModel):
    """Decoder-only transformer of `layers` blocks over `width` channels.

    `heads=None` is width / 64 (at least 1), `mlp_width=None` is 8/3 width rounded up to a multiple of 8,
    as published. All weights are normal with `init_std`; what adds to the residual stream starts smaller
    by sqrt(2 layers), so that its size does not depend on the number of layers.
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
        canon: bool = False,
        canon_kernel: int = 4,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // 64)
        mlp_width = mlp_width or -(-8 * width // 24) * 8
        kernel = canon_kernel if canon else 0
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_width, kernel) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.output = nn.Linear(width, vocab_size, bias=False)
        # float32 [head_dim / 2]: radians a position turns each pair of channels by.
        frequencies = rope_theta ** (-torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self._initialise(init_std, layers)

    def _initialise(self, std: float, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if "canon" in name or parameter.ndim < 2:
                continue
            scale = (2 * layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
            nn.init.normal_(parameter, std=std * scale)

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """See `LanguageModel.hidden`; normed, ready for `head`."""
        mask = None
        if position_ids is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        else:
            positions, mask = position_ids, document_mask(position_ids)
        angles = positions[..., None].float() * self.get_buffer("frequencies")
        turn = angles.cos()[:, None], angles.sin()[:, None]  # each [1 or B, 1, L, head_dim / 2]
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, turn, mask, position_ids)
        normed: Tensor = self.norm(x)
        return normed

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocab_size]."""
        logits: Tensor = self.output(hidden)
        return logits


@final
class Block(nn.Module):
    """Attention, then SwiGLU, each on the normed stream (Canon first where `canon_kernel` > 0)."""

    def __init__(self, width: int, heads: int, mlp_width: int, canon_kernel: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=1e-6)
        self.gate_up = nn.Linear(width, 2 * mlp_width, bias=False)
        self.down = nn.Linear(mlp_width, width, bias=False)
        self.attention_canon = Canon(width, canon_kernel) if canon_kernel else None
        self.mlp_canon = Canon(width, canon_kernel) if canon_kernel else None

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        mask: Tensor | None,
        position_ids: Tensor | None,
    ) -> Tensor:
        """[B, L, width] -> [B, L, width]; `mask` bool [B, 1, L, L] or None for plain causal."""
        y = self.attention_norm(x)
        if self.attention_canon is not None:
            y = self.attention_canon(y, position_ids)
        batch, length, width = y.shape
        # [3, B, heads, L, head_dim]
        split = self.qkv(y).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind()
        y = functional.scaled_dot_product_attention(
            rotate(q, turn), rotate(k, turn), v, attn_mask=mask, is_causal=mask is None
        )
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        y = self.mlp_norm(x)
        if self.mlp_canon is not None:
            y = self.mlp_canon(y, position_ids)
        gate, up = self.gate_up(y).chunk(2, dim=-1)
        added: Tensor = self.down(functional.silu(gate) * up)
        return x + added


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """RoPE: turn the pairs (i, i + head_dim / 2) of `x` [B, heads, L, head_dim] by their angles.

    `turn` is (cos, sin), each [1 or B, 1, L, head_dim / 2] float32. Dot products of turned vectors
    depend on the difference of their positions alone.
    """
    cos, sin = (part.to(x.dtype) for part in turn)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
