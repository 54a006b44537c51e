"""Canon layer: every token adds a weighted sum of itself and the few tokens before it.

"Physics of Language Models: Part 4.1" (arXiv 2512.17351).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

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
        y = torch.addcmul(x, x, weight[0]) if linear else x * weight[0]
        for j in range(1, min(self.kernel, x.shape[1])):
            past = x[:, :-j] * weight[j]
            if position_ids is not None:
                past = past * (position_ids[:, j:, None] >= j)
            y = y + nn.functional.pad(past, (0, 0, j, 0))
        if self.activation:
            y = nn.functional.silu(y)
            return x + y if self.residual else y
        return y
