"""Causal attention: over the row, over a window of it, or within the examples of a row."""

from __future__ import annotations

import functools
import inspect
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_MOST_BORDERS = 65_536  # CUDA takes a grid of 65,535 examples


class Seen(NamedTuple):
    """Which tokens a token sees; by default all before it and itself."""

    mask: Tensor | None = None  # bool [1 or B, 1, L, L]
    borders: Tensor | None = None  # see `document_borders`; then there is no mask
    window: int | None = None  # beside borders: tokens that a token sees, itself among them


def document_mask(position_ids: Tensor) -> Tensor:
    """bool [B, 1, L, L], true where query t may see key s: s <= t and both in one example.

    An example starts where `position_ids` (int64 [B, L]) is 0: positions 0 1 2 0 1 are two examples, of
    three tokens and of two.
    """
    example = (position_ids == 0).cumsum(dim=1)
    same = example[:, None, :, None] == example[:, None, None, :]
    return same.tril()


def document_borders(position_ids: Tensor) -> Tensor:
    """Where each example begins with the rows laid end to end, then B L: int32 [a power of two].

    The end stands more than once, as examples of no tokens: compiled code is made for a shape, and so meets
    few. `position_ids` as in `document_mask`. On a GPU this waits for it, so it is done once a step.
    """
    begins = position_ids == 0
    begins[:, 0] = True
    # What a row is filled up with has position 0 too: it is one example, not one a token.
    filled = position_ids.flip(1).cumsum(1).flip(1) == 0
    begins[:, 1:] &= ~(filled[:, 1:] & filled[:, :-1])
    found = begins.flatten().nonzero().flatten()
    size = 1 << len(found).bit_length()  # at least one more than there are examples
    return functional.pad(found, (0, size - len(found)), value=begins.numel()).int()


def seen(like: Tensor, position_ids: Tensor | None, window: int | None, packs: bool) -> Seen:
    """What tokens of ids `like` [B, L] see: of their example, where there are positions, and of the window.

    packs: as `can_pack` says; otherwise masks of L^2 booleans a row stand for all but plain attention.
    """
    batch, length = like.shape
    if window is not None and window >= length:
        window = None
    if position_ids is None and window is None:
        return Seen()
    if packs:
        if position_ids is None:
            borders = torch.arange(0, batch * length + 1, length, dtype=torch.int32, device=like.device)
        else:
            borders = document_borders(position_ids)
        if len(borders) <= _MOST_BORDERS:
            return Seen(borders=borders, window=window)
    mask = None if position_ids is None else document_mask(position_ids)
    if window is not None:
        near = torch.ones(length, length, dtype=torch.bool, device=like.device).tril().triu(1 - window)
        mask = near[None, None] if mask is None else mask & near
    return Seen(mask=mask)


def attend(q: Tensor, k: Tensor, v: Tensor, sees: Seen) -> Tensor:
    """Attention of [B, L, heads, head_dim] each -> [B, L, width]."""
    batch, length = q.shape[:2]
    if sees.borders is not None:
        q, k, v = (part.flatten(0, 1) for part in (q, k, v))
        out = within_borders(q, k, v, sees.borders, length, sees.window)
    else:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mask = sees.mask
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        out = out.transpose(1, 2)
    return out.reshape(batch, length, -1)


def within_borders(
    q: Tensor, k: Tensor, v: Tensor, borders: Tensor, longest: int, window: int | None
) -> Tensor:
    """Causal attention of tokens laid end to end, [tokens, heads, head_dim] each, within their example.

    borders: int32, where each begins, and the end. longest: tokens that no example has more of.
    """
    from torch.nn.attention.varlen import varlen_attn

    back = -1 if window is None else window - 1
    out = varlen_attn(q, k, v, borders, borders, longest, longest, window_size=(back, 0))
    assert isinstance(out, Tensor)
    return out


def can_pack(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether `within_borders` works there, with weights of `dtype`: flash attention on a GPU, in 16 bits."""
    if device.type != "cuda":
        return False
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    return head_dim % 8 == 0 and head_dim <= 256 and _has_flash(device)


@functools.cache
def _has_flash(device: torch.device) -> bool:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before torch 2.10
        return False
    windows = "window_size" in inspect.signature(varlen_attn).parameters  # from torch 2.11 on
    return windows and torch.cuda.get_device_capability(device) >= (8, 0)
