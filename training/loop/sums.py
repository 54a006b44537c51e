"""Sums of gradients whose bits depend on the parts of a batch alone, not on who worked on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch
from torch import Tensor


@final
class TreeSum:
    """Adds lists of tensors up in pairs, the pairs in pairs, and so on: (a + b) + (c + d).

    Whoever adds up a half of them, or a quarter, finds what stands in that place of the tree; so 2^k ranks
    that share a power of two of parts, and add their sums up in the same way, have the bits of one process
    that adds up all. It holds a list for each level of the tree.
    """

    def __init__(self) -> None:
        self._open: list[tuple[int, Sequence[Tensor]]] = []  # (level, sum), the largest first

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Add the next list; its tensors are the sum's from now on."""
        level = 0
        while self._open and self._open[-1][0] == level:
            tensors = _added(self._open.pop()[1], tensors)
            level += 1
        self._open.append((level, tensors))

    def total(self) -> Sequence[Tensor]:
        """The sum of all lists, of which there is one at least."""
        _, tensors = self._open.pop()
        while self._open:
            tensors = _added(self._open.pop()[1], tensors)
        return tensors


def tree_sum(lists: Iterable[Sequence[Tensor]]) -> Sequence[Tensor]:
    """The sum of lists of tensors as `TreeSum` makes it."""
    tree = TreeSum()
    for tensors in lists:
        tree.add(tensors)
    return tree.total()


def _added(first: Sequence[Tensor], second: Sequence[Tensor]) -> Sequence[Tensor]:
    """Their sums, in the place of the first."""
    with torch.no_grad():
        torch._foreach_add_(list(first), list(second))
    return first
