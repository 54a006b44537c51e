"""Exact laws of the words that name nodes: n distinct draws, shuffled over the nodes.

The lengths of two nodes are exchangeable but not independent, since short words run out. How many words of
each length there are after m distinct draws is a Markov chain; its law is followed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..auditing import MOST_CELLS
from .sizes import MIN_SIZE, size_probabilities

_MOST_STATES = 1 << 16
_MOST_STEPS = 1 << 25  # states * draws
_TOKEN_GROUPS = 64


@lru_cache(maxsize=16)
def length_laws(
    most: int, mini_vocab: int, min_tlen: int, max_tlen: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Of n = 0..most distinct words, shuffled: P(length of one) and P(length of another given the first's).

    float64 [most + 1, lengths] and [most + 1, lengths, lengths]; NaN where nothing can be said (n = 0; n = 1;
    a length that no word has). None where the chain has too many states to be followed.
    """
    lengths = max_tlen - min_tlen + 1
    words = [min(mini_vocab**length, 1 << 62) for length in range(min_tlen, max_tlen + 1)]
    shape = tuple(min(count, most) + 1 for count in words[:-1])
    states = math.prod(shape)
    if states > _MOST_STATES or states * most > _MOST_STEPS:
        return None
    taken = np.stack([*np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), np.zeros(shape)])
    capacity = np.array(words, float).reshape(-1, *([1] * len(shape)))
    chances = np.zeros(shape)
    chances[(0,) * len(shape)] = 1.0
    one = np.full((most + 1, lengths), np.nan)
    other = np.full((most + 1, lengths, lengths), np.nan)
    known = taken[:-1].sum(0) if lengths > 1 else np.zeros(shape)
    for drawn in range(1, most + 1):
        taken[-1] = drawn - 1 - known
        left = np.clip(1 - taken / capacity, 0, 1)
        left[:, known > drawn - 1] = 0
        share = chances / np.maximum(left.sum(0), 1e-300)
        chances = share * left[-1]
        for axis in range(lengths - 1):
            moved = share * left[axis]
            target = [slice(None)] * len(shape)
            source = [slice(None)] * len(shape)
            target[axis], source[axis] = slice(1, None), slice(None, -1)
            chances[tuple(target)] += moved[tuple(source)]
        taken[-1] = np.maximum(drawn - known, 0)
        mean = (chances * taken).reshape(lengths, -1).sum(1)
        one[drawn] = mean / mean.sum()
        if drawn > 1:
            flat = taken.reshape(lengths, -1)
            joint = (flat * chances.reshape(-1)) @ flat.T - np.diag(mean)
            with np.errstate(invalid="ignore", divide="ignore"):
                other[drawn] = np.clip(joint, 0, None) / joint.sum(1, keepdims=True)
    for law in (one, other):
        law.flags.writeable = False
    return one, other


def size_law(config: Mapping[str, Any]) -> NDArray[np.float64]:
    """P(n) of n = 0..N for Depo and Brevo, whose test form has n = N: float64 [N + 1]."""
    law = np.zeros(config["N"] + 1)
    if config["qa"]:
        law[-1] = 1.0
    else:
        law[MIN_SIZE:] = size_probabilities(config["N"])
    return law


def token_groups(mini_vocab: int, lengths: int) -> int:
    """How many groups of tokens are told apart: token t (counted from 0) is in group t % groups."""
    return max(1, min(mini_vocab, _TOKEN_GROUPS, math.isqrt(MOST_CELLS) // lengths))


def token_law(mini_vocab: int, lengths: int) -> NDArray[np.float64]:
    """P(group) of the first, or of the last, token of a word: float64 [groups]."""
    return np.bincount(np.arange(mini_vocab) % token_groups(mini_vocab, lengths)) / mini_vocab


@lru_cache(maxsize=16)
def token_pair_law(mini_vocab: int, min_tlen: int, max_tlen: int) -> NDArray[np.float64]:
    """P(group of another word's first token | both lengths, group of the first word's).

    float64 [lengths, lengths, groups, groups]; of last tokens it is the same. Words of one length differ, so
    their tokens are equal a little less often; words of two lengths are independent.
    """
    lengths = max_tlen - min_tlen + 1
    groups = token_groups(mini_vocab, lengths)
    sizes = np.bincount(np.arange(mini_vocab) % groups).astype(float)
    law = np.empty((lengths, lengths, groups, groups))
    law[:] = sizes / mini_vocab
    for place, length in enumerate(range(min_tlen, max_tlen + 1)):
        words = mini_vocab**length
        if words == 1:
            law[place, place] = np.nan
            continue
        same = (mini_vocab ** (length - 1) - 1) / (words - 1)
        one_other = (1 - same) / (mini_vocab - 1) if mini_vocab > 1 else 0.0
        own = np.tile(sizes * one_other, (groups, 1))
        own[np.diag_indices(groups)] = same + (sizes - 1) * one_other
        law[place, place] = own
    law.flags.writeable = False
    return law
