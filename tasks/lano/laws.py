"""Exact laws of what can be seen in a grammar's sentences, by recursion over its rules.

A grammar is ambiguous, so which rules made a sentence cannot be told from it. But every choice of a rule
moves something that can be seen: lengths, numbers of terminals and of pairs of them, what stands at each
place, how a sentence begins and ends. Each of these has a law that two strings joined get from those of both;
what a symbol gives is the mean over its rules, which are chosen uniformly and apart from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .grammar import Grammar

_MOST_LENGTH = 4096
_MOST_WORK = 1 << 27  # symbols of all rules * longest sentence * strings at its ends, or pairs of pairs
_MOST_ENDS = 64  # strings of terminals at a sentence's ends that are told apart
_TINY = 1e-15  # below: noise of Fourier transforms

Array = NDArray[np.float64]
Spectra = NDArray[np.complex128]
Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class SentenceLaws:
    """Of a grammar with T terminals, each known by its place among them; n is the longest sentence.

    Ends are strings of `width` terminals, numbered as to base T, of sentences that have so many.
    """

    width: int
    length: Array  # [n + 1]
    token: Array  # [n, T + 1]: the terminal at each place, T beyond the end
    token_back: Array  # [n, T + 1]: the same, counted from the end
    following: Array  # [n, T, T + 1]: of each place, P(terminal, next one), T where there is none
    ends: Array  # [T ** width, T ** width]: P(beginning, end)
    begin_length: Array  # [T ** width, n + 1]
    end_length: Array  # [T ** width, n + 1]
    counts: Array  # [T, n + 1]: how often each terminal comes
    pairs: Array  # [T, T, n + 1]: how often each two stand side by side


def can_follow(grammar: Grammar) -> bool:
    """Whether the laws of a grammar are worked out in some seconds."""
    size, longest = len(grammar.terminals), grammar.max_length
    symbols = sum(len(one) for level in grammar.rules for all_of in level for one in all_of)
    most = max(size**4, _MOST_ENDS)
    return size <= _MOST_ENDS and longest <= _MOST_LENGTH and symbols * longest * most <= _MOST_WORK


@lru_cache(maxsize=8)
def sentence_laws(grammar: Grammar) -> SentenceLaws:
    """The laws of a grammar that `can_follow` lets be followed."""
    size, longest = len(grammar.terminals), grammar.max_length
    width = 1
    while size > 1 and size ** (width + 1) <= _MOST_ENDS:
        width += 1
    forth, back = _run(grammar, False), _run(grammar, True)
    ends, back_ends = _both_ends(grammar, width, False), _both_ends(grammar, width, True)
    # A string read backwards is that of its terminals in the other order.
    numbers = np.arange(size**width)
    turned = sum(
        (numbers // size**place % size * size ** (width - 1 - place) for place in range(width)),
        start=np.zeros_like(numbers),
    )
    token = np.concatenate([forth.at, 1 - forth.at.sum(1, keepdims=True)], 1)
    alone = forth.at - forth.two.sum(2)
    return SentenceLaws(
        width=width,
        length=forth.length,
        token=token.clip(0),
        token_back=np.concatenate([back.at, 1 - back.at.sum(1, keepdims=True)], 1).clip(0),
        following=np.concatenate([forth.two, alone[:, :, None]], 2).clip(0),
        ends=ends.joint,
        begin_length=ends.lengths,
        end_length=back_ends.lengths[turned],
        counts=_counts(grammar, longest),
        pairs=_pair_counts(grammar, longest),
    )


def _folded(
    grammar: Grammar,
    of_terminal: Callable[[int], Part],
    join: Callable[[Part, Part], Part],
    mean: Callable[[list[Part]], Part],
    backwards: bool = False,
) -> Part:
    """What the start symbol gives; terminals are known by their places."""
    below = {terminal: of_terminal(place) for place, terminal in enumerate(grammar.terminals)}
    for level, rules in zip(grammar.levels[-2::-1], grammar.rules[::-1], strict=True):
        below = {
            symbol: mean(
                [
                    reduce(join, [below[child] for child in (one[::-1] if backwards else one)])
                    for one in alternatives
                ]
            )
            for symbol, alternatives in zip(level, rules, strict=True)
        }
    return below[grammar.start]


def _mean(arrays: list[Array]) -> Array:
    """The mean of arrays whose first axes are padded with 0 to the longest."""
    longest = max(map(len, arrays))
    total = np.zeros((longest, *arrays[0].shape[1:]))
    for array in arrays:
        total[: len(array)] += array
    return total / len(arrays)


def _after(length: Array, later: Array) -> Array:
    """The law of what is `later` counted from 0, once a string of such a length stands before it."""
    flat = later.reshape(len(later), -1)
    moved = np.stack([np.convolve(length, column) for column in flat.T], 1)
    return moved.reshape(-1, *later.shape[1:])


# ---- along the string


@dataclass(frozen=True)
class _Run:
    length: Array  # [n + 1]
    at: Array  # [n, T]
    two: Array  # [n, T, T]: at a place and the next one
    last: Array  # [n + 1, T]: P(length, last terminal)
    first: Array  # [1, T]


def _run(grammar: Grammar, backwards: bool) -> _Run:
    size = len(grammar.terminals)

    def of_terminal(place: int) -> _Run:
        own = np.zeros((1, size))
        own[0, place] = 1.0
        last = np.concatenate([np.zeros((1, size)), own])
        return _Run(np.array([0.0, 1.0]), own, np.zeros((1, size, size)), last, own)

    def join(one: _Run, other: _Run) -> _Run:
        longest = len(one.length) + len(other.length) - 2

        def summed(own: Array, moved: Array) -> Array:
            total = np.zeros((longest, *own.shape[1:]))
            total[: len(own)] += own
            total[: len(moved)] += moved[:longest]
            return total

        two = summed(one.two, _after(one.length, other.two))
        two[: len(one.last) - 1] += one.last[1:, :, None] * other.first[0]
        return _Run(
            np.convolve(one.length, other.length),
            summed(one.at, _after(one.length, other.at)),
            two,
            _after(one.length, other.last),
            one.first,
        )

    def mean(all_of: list[_Run]) -> _Run:
        return _Run(*(_mean([getattr(law, name) for law in all_of]) for name in _Run.__dataclass_fields__))

    return _folded(grammar, of_terminal, join, mean, backwards)


# ---- at the ends


@dataclass(frozen=True)
class _Ends:
    """Strings shorter than `width` whole, of the others both ends."""

    short: dict[tuple[int, ...], float]
    joint: Array  # [beginnings, ends]
    lengths: Array  # [beginnings, n + 1]
    length: Array  # [n + 1], of all


def _both_ends(grammar: Grammar, width: int, backwards: bool) -> _Ends:
    size = len(grammar.terminals)
    strings = size**width

    def number(string: tuple[int, ...]) -> int:
        return sum(terminal * size**place for place, terminal in enumerate(reversed(string)))

    def put(target: _Ends, string: tuple[int, ...], chance: float) -> None:
        if len(string) < width:
            target.short[string] = target.short.get(string, 0.0) + chance
        else:
            begin = number(string[:width])
            target.joint[begin, number(string[-width:])] += chance
            target.lengths[begin, len(string)] += chance

    def empty(longest: int) -> _Ends:
        return _Ends({}, np.zeros((strings,) * 2), np.zeros((strings, longest + 1)), np.zeros(longest + 1))

    def of_terminal(place: int) -> _Ends:
        own = empty(1)
        put(own, (place,), 1.0)
        own.length[1] = 1.0
        return own

    def join(one: _Ends, other: _Ends) -> _Ends:
        total = empty(len(one.length) + len(other.length) - 2)
        total.length[:] = np.convolve(one.length, other.length)
        total.joint[:] = np.outer(one.joint.sum(1), other.joint.sum(0))
        total.lengths[:] = _after(other.length, one.lengths.T).T
        codes = np.arange(strings)
        for string, chance in other.short.items():
            ends = codes % size ** (width - len(string)) * size ** len(string) + number(string)
            np.add.at(total.joint.T, ends, one.joint.T * chance)
        for string, chance in one.short.items():
            begins = number(string) * size ** (width - len(string)) + codes // size ** len(string)
            np.add.at(total.joint, begins, other.joint * chance)
            moved = np.zeros((strings, total.lengths.shape[1]))
            moved[:, len(string) : len(string) + other.lengths.shape[1]] = other.lengths * chance
            np.add.at(total.lengths, begins, moved)
            for second, again in other.short.items():
                put(total, string + second, chance * again)
        return total

    def mean(all_of: list[_Ends]) -> _Ends:
        total = empty(max(len(law.length) for law in all_of) - 1)
        for law in all_of:
            total.joint[:] += law.joint / len(all_of)
            total.lengths[:, : len(law.length)] += law.lengths / len(all_of)
            total.length[: len(law.length)] += law.length / len(all_of)
            for string, chance in law.short.items():
                put(total, string, chance / len(all_of))
        return total

    return _folded(grammar, of_terminal, join, mean, backwards)


# ---- counts, as polynomials in the frequency domain


def _frequencies(longest: int) -> Spectra:
    size = 1 << int(longest + 1).bit_length()
    step: Spectra = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    return step


def _mean_spectra(all_of: list[Spectra]) -> Spectra:
    return np.add.reduce(all_of) / len(all_of)  # type: ignore[no-any-return]


def _counted(spectra: Spectra, longest: int) -> Array:
    law = np.fft.irfft(spectra, axis=-1)[..., : longest + 1]
    return np.where(law < _TINY, 0.0, law)


def _counts(grammar: Grammar, longest: int) -> Array:
    step, size = _frequencies(longest), len(grammar.terminals)

    def of_terminal(place: int) -> Spectra:
        own = np.ones((size, len(step)), np.complex128)
        own[place] = step
        return own

    return _counted(_folded(grammar, of_terminal, lambda one, other: one * other, _mean_spectra), longest)


def _pair_counts(grammar: Grammar, longest: int) -> Array:
    """Matrices [first terminal, last terminal] of each pair and frequency."""
    step, size = _frequencies(longest), len(grammar.terminals)
    between = np.ones((size, size, len(step), size, size), np.complex128)
    for one in range(size):
        for other in range(size):
            between[one, other, :, one, other] = step

    def of_terminal(place: int) -> Spectra:
        own = np.zeros((size, size), np.complex128)
        own[place, place] = 1.0
        return np.broadcast_to(own, between.shape)

    def join(one: Spectra, other: Spectra) -> Spectra:
        return one @ between @ other

    law = _folded(grammar, of_terminal, join, _mean_spectra)
    return _counted(law.sum((-1, -2)), longest)
