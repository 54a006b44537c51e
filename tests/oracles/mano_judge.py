"""A slow judge of Mano examples, written from the definition of the layout and from nothing else.

    <bos> <len_l> expression <ans_l> answer

The prefix form is read from its beginning, by the grammar: an operator and two expressions, or a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def judge(config: Mapping[str, Any], tokens: Sequence[int], **metadata: Any) -> bool:
    """Whether the tokens are an example of this config, and the metadata (if given) is theirs."""
    if len(tokens) < 7:
        return False
    bos, named, *expression, ending, answer = tokens
    forms = (0, 1) if config["knowledge_augment"] else (0,)
    if bos not in [config["bos_token_id"] - form for form in forms]:
        return False
    asked = {config["fixed_length"]} if config["fixed_length"] else set(range(1, config["L"] + 1))
    if config["qa"] and not config["fixed_length"]:
        asked = {config["L"]}
    fitting = [n for n in asked if named in [10 * n + form for form in forms]]
    if not fitting:
        return False
    (length,) = fitting
    operators = [token for token in expression if token < 5000]
    if len(operators) != length or ending not in [10 * length + 4 + form for form in forms]:
        return False
    value = evaluate(config, expression)
    if value is None or answer != 5000 + value:
        return False
    true_metadata = {
        "loss_mask": [1] * len(tokens),
        "length": length,
        "answer": value,
        "labels": list(tokens),
    }
    return all(true_metadata[name] == given for name, given in metadata.items() if name != "index")


def evaluate(config: Mapping[str, Any], expression: Sequence[int]) -> int | None:
    """The value of one whole expression, or None where there is none."""
    modulus = config["value_mod"]
    pending: list[list[Any]] = []  # an operator's letter and the operands read so far
    for place, token in enumerate(expression):
        if 5000 <= token < 5000 + modulus:
            value = token - 5000
        else:
            numbers = range(1, 9 if config["knowledge_augment"] else 5)
            letter = "asmdasmd"[token - 1] if token in numbers else "?"
            if letter not in config["ttype"]:
                return None
            pending.append([letter])
            continue
        while pending and len(pending[-1]) == 2:
            letter, first = pending.pop()
            result = apply(letter, first, value, modulus)
            if result is None:
                return None
            value = result
        if not pending:
            return value if place == len(expression) - 1 else None
        pending[-1].append(value)
    return None


def apply(letter: str, a: int, b: int, modulus: int) -> int | None:
    """a op b; None for a division by zero. The quotient is found by trying all of them."""
    if letter == "d":
        return next((q for q in range(modulus) if b and q * b % modulus == a), None)
    return {"a": a + b, "s": a - b, "m": a * b}[letter] % modulus
