"""Exact laws of Mano's expressions, and of what can be read off them together with their answers.

Every table follows from the recipe by recursion over the number of operators: an expression of l operators
is an operator, uniform, over a left part of 0..l-1 operators, uniform, and the rest. All entries are masses
of one draw (of that feature, that answer and no division by zero); divided by the mass of the whole they are
the law of examples, which are redrawn where something is divided by zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .config import LETTERS

SHAPED = 4  # operators up to which whole shapes are told apart
SHAPES = 1 << (2 * SHAPED + 1)
_MOST_WORK = 1 << 28

Masses = NDArray[np.float64]  # [..., modulus]: the last axis is the answer's


@dataclass(frozen=True, kw_only=True)
class ExpressionLaws:
    """Masses of each number of operators 0..longest (a list entry each), the last axis the answer's."""

    answer: list[Masses]  # [modulus]
    first: list[Masses]  # [modulus, modulus]: the first operand in prefix order
    last: list[Masses]  # [modulus, modulus]: the last one
    left: list[Masses]  # [longest + 1, modulus]: operators of the root's left part
    token: list[Masses]  # [2 l + 1, letters + modulus, modulus]: operator or operand at each place
    size: list[Masses]  # [2 l + 1, longest + 1, modulus]: operators of what begins at each place
    depth: list[Masses]  # [longest + 1, modulus]
    counts: list[list[Masses]]  # of each letter: [longest + 1, modulus], how often it comes
    shape: list[Masses]  # [SHAPES, modulus] up to SHAPED operators: see `shape_of`
    distinct: list[Masses]  # [4, modulus] up to 2 operators: different operands


def can_follow(modulus: int, longest: int) -> bool:
    """Whether the laws of a config are worked out in about a second."""
    return (modulus * longest) ** 3 <= _MOST_WORK


@lru_cache(maxsize=8)
def expression_laws(modulus: int, letters: str, longest: int) -> ExpressionLaws:
    """The laws of expressions of up to `longest` operators."""
    results = np.stack([_results(letter, modulus) for letter in letters])  # [letters, a, b, value]
    kinds, values = len(letters), np.arange(modulus)
    answer: list[Masses] = [np.full(modulus, 1.0 / modulus)]
    by_right: list[NDArray[np.float64]] = []  # [letters, a, value]: given the left value, over the right part
    by_left: list[NDArray[np.float64]] = []
    left: list[Masses] = [np.zeros((longest + 1, modulus))]
    roots: list[Masses] = [np.zeros((kinds, modulus))]
    for length in range(longest + 1):
        if length:
            split = np.stack([answer[one] @ by_right[length - 1 - one] for one in range(length)])
            roots.append(split.sum(0) / (length * kinds))
            left.append(np.zeros((longest + 1, modulus)))
            left[-1][:length] = split.sum(1) / (length * kinds)
            answer.append(roots[-1].sum(0))
        by_right.append(np.einsum("oabv,b->oav", results, answer[length]))
        by_left.append(np.einsum("oabv,a->obv", results, answer[length]))
    over_right = [law.mean(0) for law in by_right]
    over_left = [law.mean(0) for law in by_left]
    leaf = np.diag(answer[0])
    first, last = [leaf], [leaf]
    for length in range(1, longest + 1):
        pairs = [(one, length - 1 - one) for one in range(length)]
        first.append(np.sum([first[one] @ over_right[other] for one, other in pairs], 0) / length)
        last.append(np.sum([last[other] @ over_left[one] for one, other in pairs], 0) / length)

    def at_places(own: list[Masses]) -> list[Masses]:
        """Of every place of an expression, from what its first place (own[l]: [values, modulus]) has."""
        laws = [own[0][None]]
        for length in range(1, longest + 1):
            table = np.zeros((2 * length + 1, *own[length].shape))
            for one in range(length):
                table[1 : 2 * one + 2] += laws[one] @ over_right[length - 1 - one]
                table[2 * one + 2 :] += laws[length - 1 - one] @ over_left[one]
            table /= length
            table[0] = own[length]
            laws.append(table)
        return laws

    tokens = [np.zeros((kinds + modulus, modulus)) for _ in range(longest + 1)]
    sizes = [np.zeros((longest + 1, modulus)) for _ in range(longest + 1)]
    for length in range(longest + 1):
        tokens[length][:kinds] = roots[length]
        sizes[length][length] = answer[length]
    tokens[0][kinds + values, values] = 1.0 / modulus
    return ExpressionLaws(
        answer=answer,
        first=first,
        last=last,
        left=left,
        token=at_places(tokens),
        size=at_places(sizes),
        depth=_depths(results, longest),
        counts=[_counts(results, which, longest) for which in range(kinds)],
        shape=_shapes(results, min(longest, SHAPED)),
        distinct=_distinct(letters, modulus, min(longest, 2)),
    )


def _results(letter: str, modulus: int) -> NDArray[np.float64]:
    """1 where a op b = value: float64 [a, b, value]; nothing where b has no inverse."""
    a, b = np.arange(modulus)[:, None], np.arange(modulus)[None, :]
    table = np.zeros((modulus,) * 3)
    if letter == "d":
        # a / b is the value whose product with b is a, where there is one and no other.
        value = np.arange(modulus)
        for divisor in range(modulus):
            if math.gcd(divisor, modulus) == 1:
                table[value * divisor % modulus, divisor, value] = 1.0
        return table
    table[a, b, {"a": a + b, "s": a - b, "m": a * b}[letter] % modulus] = 1.0
    return table


def _depths(results: NDArray[np.float64], longest: int) -> list[Masses]:
    modulus = results.shape[1]
    operator = results.mean(0)
    # Masses of at most each depth; [depth, a, value] with the right part summed over.
    within = [np.full((longest + 1, modulus), 1.0 / modulus)]
    folded = [np.einsum("db,abv->dav", within[0], operator)]
    for length in range(1, longest + 1):
        table = np.zeros((longest + 1, modulus))
        for one in range(length):
            both = within[one][:-1, None, :] @ folded[length - 1 - one][:-1]
            table[1:] += both[:, 0] / length
        within.append(table)
        folded.append(np.einsum("db,abv->dav", table, operator))
    return [np.diff(law, axis=0, prepend=0.0).clip(0) for law in within]


def _counts(results: NDArray[np.float64], which: int, longest: int) -> list[Masses]:
    kinds, modulus = results.shape[:2]
    held = np.zeros((longest + 1, modulus))
    held[0] = 1.0 / modulus
    laws = [held]
    folded = [np.einsum("jb,oabv->ojav", held[:1], results)]
    for length in range(1, longest + 1):
        table = np.zeros((longest + 1, modulus))
        for one in range(length):
            other = length - 1 - one
            # [letters, other's count, one's count, value]
            both = laws[one][None, None, : one + 1] @ folded[other]
            for kind in range(kinds):
                for more in range(other + 1):
                    begin = more + (kind == which)
                    table[begin : begin + one + 1] += both[kind, more]
        laws.append(table / (length * kinds))
        folded.append(np.einsum("jb,oabv->ojav", laws[-1][: length + 1], results))
    return laws


def _shapes(results: NDArray[np.float64], longest: int) -> list[Masses]:
    operator = results.mean(0)
    trees: list[dict[str, Masses]] = [{"0": np.full(results.shape[1], 1.0 / results.shape[1])}]
    for length in range(1, longest + 1):
        trees.append(
            {
                f"1{one}{other}": np.einsum("a,b,abv->v", p, q, operator) / length
                for begun in range(length)
                for one, p in trees[begun].items()
                for other, q in trees[length - 1 - begun].items()
            }
        )
    laws = []
    for tree in trees:
        table = np.zeros((SHAPES, results.shape[1]))
        for shape, masses in tree.items():
            table[int(shape, 2)] = masses
        laws.append(table)
    return laws


def _distinct(letters: str, modulus: int, longest: int) -> list[Masses]:
    """By listing all expressions of up to two operators."""
    laws = [np.zeros((4, modulus))]
    laws[0][1] = 1.0 / modulus
    inverse = np.array([pow(b, -1, modulus) if math.gcd(b, modulus) == 1 else 0 for b in range(modulus)])

    def applied(
        letter: str, a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        whole = inverse[b] > 0 if letter == "d" else np.ones(np.broadcast(a, b).shape, bool)
        value = {"a": a + b, "s": a - b, "m": a * b, "d": a * inverse[b]}[letter] % modulus
        return np.broadcast_to(value, whole.shape), whole

    if longest >= 1:
        a, b = np.meshgrid(np.arange(modulus), np.arange(modulus), indexing="ij")
        table = np.zeros((4, modulus))
        for letter in letters:
            value, whole = applied(letter, a, b)
            np.add.at(table, (1 + (a != b)[whole], value[whole]), 1.0 / (len(letters) * a.size))
        laws.append(table)
    if longest >= 2:
        a, b, c = np.meshgrid(*[np.arange(modulus)] * 3, indexing="ij")
        different = 1 + (b != a) + ((c != a) & (c != b))
        table = np.zeros((4, modulus))
        for one in letters:
            for other in letters:
                first, whole = applied(one, a, b)
                value, again = applied(other, first, c)
                inner, inside = applied(one, b, c)
                outer, outside = applied(other, a, inner)
                for result, held in ((value, whole & again), (outer, inside & outside)):
                    share = 1.0 / (2 * len(letters) ** 2 * a.size)
                    np.add.at(table, (different[held], result[held]), share)
        laws.append(table)
    return laws


def distinct_law(modulus: int, operands: int, size: int) -> NDArray[np.float64]:
    """P(different values among `operands` uniform ones), of 0..size-1: float64 [size]."""
    law = np.zeros(max(size, operands + 1))
    law[0] = 1.0
    for _ in range(operands):
        again = law * np.arange(len(law)) / modulus
        law = again + np.concatenate([[0.0], (law - again)[:-1]])
    return law[:size]


def letters_at(letters: str) -> NDArray[np.int64]:
    """Where each of "asmd" stands among a config's letters, -1 where it does not: int64 [4]."""
    return np.array([letters.find(letter) for letter in LETTERS])
