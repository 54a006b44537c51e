"""The law of Mano's expressions, worked out from its definition: by enumeration and by convolution."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SYMBOLS = {"a": "+", "s": "-", "m": "*", "d": "/"}


def result(letter: str, a: int, b: int, modulus: int) -> int | None:
    """a op b modulo `modulus`, None for a division by zero."""
    if letter == "d":
        return a * pow(b, -1, modulus) % modulus if b else None
    return {"a": a + b, "s": a - b, "m": a * b}[letter] % modulus


@cache
def masses(length: int, modulus: int, letters: str) -> NDArray[np.float64]:
    """P(value v and no division by zero) of one draw of an expression of `length` operators: [modulus].

    The sum over all operators, sizes of the left child and pairs of values; nothing is used of what the
    values mean.
    """
    if length == 0:
        return np.full(modulus, 1 / modulus)
    pairs = sum(
        np.outer(masses(left, modulus, letters), masses(length - 1 - left, modulus, letters))
        for left in range(length)
    )
    law = np.zeros(modulus)
    for letter, a, b in itertools.product(letters, range(modulus), range(modulus)):
        value = result(letter, a, b, modulus)
        if value is not None:
            law[value] += pairs[a, b] / length / len(letters)
    return law


def answers(length: int, modulus: int, letters: str) -> NDArray[np.float64]:
    """P(answer v) of an example of `length` operators."""
    law = masses(length, modulus, letters)
    return law / law.sum()


def expressions(length: int, modulus: int, letters: str) -> Iterator[tuple[tuple[Any, ...], Fraction, Any]]:
    """Every expression in prefix form, its probability in one draw, and its value (None: no value)."""
    if length == 0:
        for value in range(modulus):
            yield (value,), Fraction(1, modulus), value
        return
    for left in range(length):
        firsts = list(expressions(left, modulus, letters))
        seconds = list(expressions(length - 1 - left, modulus, letters))
        for letter, (one, p, a), (other, q, b) in itertools.product(letters, firsts, seconds):
            value = None if a is None or b is None else result(letter, a, b, modulus)
            yield (SYMBOLS[letter], *one, *other), p * q / length / len(letters), value


def whole_law(length: int, modulus: int, letters: str) -> dict[tuple[Any, ...], tuple[Fraction, int]]:
    """Every expression that has a value -> its probability as an example, and its value."""
    found = [one for one in expressions(length, modulus, letters) if one[2] is not None]
    total = sum(probability for _, probability, _ in found)
    return {prefix: (probability / total, value) for prefix, probability, value in found}
