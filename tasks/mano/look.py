"""How an expression is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..base import Look
from .config import FIRST_VALUE, SYMBOLS

if TYPE_CHECKING:
    pass


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """The answer underlined; below the tokens the expression as one writes it, and its value."""
    facts = f"length {example['length']}, answer {example['answer']}"
    last = len(example["input_ids"]) - 1
    written = infix(example["input_ids"][2:-2], config["value_mod"])
    return Look(facts=facts, underlined=[(last, last + 1)], below=[written] if written else [])


def infix(expression: Sequence[int], modulus: int) -> str:
    """ "(3 - 22) * 5 = 20 (mod 23)" of the tokens in prefix form; "" where they are no expression.

    Brackets stand only where the value would be another without them.
    """
    parts: list[tuple[str, int, int]] = []  # text, how tightly it binds, value
    for token in reversed(expression):
        if FIRST_VALUE <= token < FIRST_VALUE + modulus:
            parts.append((str(token - FIRST_VALUE), 3, token - FIRST_VALUE))
            continue
        if not 1 <= token <= 8 or len(parts) < 2:
            return ""
        symbol = SYMBOLS[(token - 1) % 4]
        binds = 1 if symbol in "+-" else 2
        (left, left_binds, a), (right, right_binds, b) = parts.pop(), parts.pop()
        if symbol == "/" and b == 0:
            return ""
        if left_binds < binds:
            left = f"({left})"
        if right_binds < binds or (right_binds == binds and symbol in "-/"):
            right = f"({right})"
        value = {"+": a + b, "-": a - b, "*": a * b}.get(symbol)
        if value is None:
            value = a * pow(b, -1, modulus)
        parts.append((f"{left} {symbol} {right}", binds, value % modulus))
    return f"{parts[0][0]} = {parts[0][2]} (mod {modulus})" if len(parts) == 1 else ""
