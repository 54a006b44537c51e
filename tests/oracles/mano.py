"""Mano examples replayed with plain NumPy, from the documented order of draws.

Shares nothing with `tasks.mano` but the stream (`numpy_generator`, whose own test stands in
`test_streams`). The draws of an example, in their order:

1. the number of operators, where there is a choice
2. the inner nodes in prefix order: one number below (operators left) * (kinds of operators), whose quotient
   by the kinds is the left child's operators and whose remainder is the place of its letter in ttype
3. the leaves: inner nodes in prefix order, for each its left child and then its right one, where it is a leaf
4. 2 and 3 again, until nothing is divided by zero
5. where there are aliases: 32 bits at a time, lowest first, one for <bos>, <len>, <ans> and every operator
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ostraca.tasks.core.rng import numpy_generator


class Node:
    """A leaf has a value from its draw on, an inner node from `evaluate` on."""

    def __init__(self, operators: int) -> None:
        self.operators = operators
        self.letter = ""
        self.children: list[Node] = []
        self.value: int | None = None


def replay(config: Mapping[str, Any], key: NDArray[np.uint64], index: int) -> dict[str, Any]:
    """The example at `index` of the stream `key`, as `rows_of(generate(...))` gives it."""
    draws = numpy_generator(key, index)
    if config["fixed_length"] is not None:
        length = config["fixed_length"]
    elif config["qa"]:
        length = config["L"]
    else:
        length = 1 + int(draws.integers(config["L"]))
    root = None
    while root is None or not evaluate(root, config["value_mod"]):
        root = draw_tree(draws, length, config)
    coins = [0] * (3 + length)
    if config["knowledge_augment"]:
        words = [int(draws.integers(2**32)) for _ in range((3 + length + 31) // 32)]
        coins = [words[place // 32] >> place % 32 & 1 for place in range(3 + length)]
    expression = []
    flips = iter(coins[3:])
    for node in in_prefix_order(root):
        if node.letter:
            expression.append("asmd".index(node.letter) + 1 + 4 * next(flips))
        else:
            expression.append(5000 + node.value)
    bos = config["bos_token_id"] - coins[0]
    ids = [bos, 10 * length + coins[1], *expression, 10 * length + 4 + coins[2], 5000 + root.value]
    return {
        "input_ids": ids,
        "loss_mask": [1] * len(ids),
        "index": index,
        "length": length,
        "answer": root.value,
    }


def in_prefix_order(root: Node) -> list[Node]:
    """All nodes, a parent before its left and that before its right child."""
    nodes, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.children[::-1]
    return nodes


def draw_tree(draws: np.random.Generator, length: int, config: Mapping[str, Any]) -> Node:
    root = Node(length)
    inner, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        if node.operators == 0:
            continue
        left, kind = divmod(int(draws.integers(node.operators * len(config["ttype"]))), len(config["ttype"]))
        node.letter = config["ttype"][kind]
        node.children = [Node(left), Node(node.operators - 1 - left)]
        inner.append(node)
        waiting += node.children[::-1]
    for node in inner:
        for child in node.children:
            if child.operators == 0:
                child.value = int(draws.integers(config["value_mod"]))
    return root


def evaluate(root: Node, modulus: int) -> bool:
    """Fill in the values of the inner nodes; False where something is divided by zero."""
    for node in reversed(in_prefix_order(root)):
        if not node.letter:
            continue
        a, b = (child.value for child in node.children)
        if node.letter == "d":
            if b == 0:
                return False
            node.value = a * pow(b, -1, modulus) % modulus
        else:
            node.value = {"a": a + b, "s": a - b, "m": a * b}[node.letter] % modulus
    return True
