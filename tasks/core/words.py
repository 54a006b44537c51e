"""Distinct words: a node's name is a word of several tokens, the last of which ends it.

A word's length is uniform on min_tlen..max_tlen, its tokens uniform on 1..mini_vocab, and the last one is
shifted by mini_vocab. Words are drawn until enough distinct ones are found; where too few exist the
config is refused, so the loop always ends: by a coupon collector's argument after about
(number of lengths) * n * log n draws at the very worst.

Where a draw was refused, as its word was there already, the words are then shuffled. In the order in which
they were drawn they would not be exchangeable: short words run out, so late ones are long, and a word's
length would tell its node's place. Where none was refused, they are independent draws, whose order tells
nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .kernels import inlined
from .rng import integers

_MAX_WORDS = 2**62  # words are numbered in int64
_DIRECT_SLOTS = 1 << 14  # up to here the table has a slot for every word, and probing never collides
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def count_words(mini_vocab: int, min_tlen: int, max_tlen: int) -> int:
    """How many different words there are."""
    return sum(mini_vocab**length for length in range(min_tlen, max_tlen + 1))


def check_words(task: str, needed: int, mini_vocab: int, min_tlen: int, max_tlen: int) -> None:
    """ConfigError where the lengths are impossible or fewer than `needed` words exist."""
    if min_tlen > max_tlen:
        raise ConfigError(f"{task}: min_tlen={min_tlen} must not be larger than max_tlen={max_tlen}")
    if max_tlen * np.log2(mini_vocab) > 61:
        raise ConfigError(
            f"{task}: mini_vocab={mini_vocab} with max_tlen={max_tlen} makes over 2^61 words; "
            "lower one of them"
        )
    words = count_words(mini_vocab, min_tlen, max_tlen)
    if words < needed:
        raise ConfigError(
            f"{task}: N={needed} nodes need {needed} distinct words, but mini_vocab={mini_vocab} with "
            f"min_tlen={min_tlen}, max_tlen={max_tlen} has only {words}; "
            "lower N or raise mini_vocab or max_tlen"
        )


def first_word_numbers(mini_vocab: int, min_tlen: int, max_tlen: int) -> NDArray[np.int64]:
    """Words are numbered by length, then by tokens: the number of the first of each length.

    int64 [max_tlen + 1], indexed by length; entries below min_tlen are 0.
    """
    firsts = np.zeros(max_tlen + 1, dtype=np.int64)
    for length in range(min_tlen + 1, max_tlen + 1):
        firsts[length] = firsts[length - 1] + mini_vocab ** (length - 1)
    return firsts


def table_bits(needed: int, mini_vocab: int, min_tlen: int, max_tlen: int) -> int:
    """log2 of the slots that `draw_distinct_words` needs to find `needed` words."""
    words = count_words(mini_vocab, min_tlen, max_tlen)
    slots = words if words <= _DIRECT_SLOTS else 4 * needed
    return max(1, int(slots - 1).bit_length())


def word_tokens(mini_vocab: int, max_tlen: int) -> dict[int, str]:
    """id -> name of the tokens of words; one that ends a word has a dot."""
    names = {token: str(token) for token in range(1, mini_vocab + 1)} if max_tlen > 1 else {}
    return names | {mini_vocab + token: f"{token}." for token in range(1, mini_vocab + 1)}


@lru_cache(maxsize=64)
def mean_lengths(most: int, mini_vocab: int, min_tlen: int, max_tlen: int) -> NDArray[np.float64]:
    """The mean length of n distinct words, for n = 0..most (float64 [most + 1]; entry 0 is 0).

    Short words run out as they are taken: the taken of each length are followed as fractions, in at most
    1,000 steps of equal size.
    """
    lengths = np.arange(min_tlen, max_tlen + 1)
    words = np.array([float(mini_vocab ** int(length)) for length in lengths])
    steps = min(most, 1000)
    taken = np.zeros(len(lengths))
    counts, totals = [0.0], [0.0]
    for step in range(1, steps + 1):
        left = np.maximum(1 - taken / words, 0)
        fresh = np.minimum(left / max(left.sum(), 1e-300) * (most / steps), words - taken)
        taken = taken + fresh
        counts.append(most * step / steps)
        totals.append(float(taken @ lengths))
    nodes = np.arange(most + 1)
    means = np.interp(nodes, counts, totals) / np.maximum(nodes, 1)
    means.flags.writeable = False
    return means


@inlined
def draw_distinct_words(
    state, count, mini_vocab, min_tlen, firsts, words, lengths, seen, seen_in, round_number
):
    """Draw `count` distinct words, in an order that tells nothing of them.

    They come to words int32 [count, max_tlen], where what follows a word's last token means nothing, and
    lengths int32 [count]. seen int64 and seen_in int32, [2^`table_bits`], are a hash set kept over calls; an
    entry counts only where seen_in holds this call's round_number, so it is never cleared.
    """
    max_tlen = len(firsts) - 1
    length_choices = len(firsts) - min_tlen
    mask = np.uint64(len(seen) - 1)
    shift = np.uint64(64)
    while (1 << (np.uint64(64) - shift)) < len(seen):
        shift -= np.uint64(1)
    total = firsts[max_tlen] + mini_vocab**max_tlen
    direct = total <= len(seen)
    distinct = 0
    drawn = 0
    while distinct < count:
        length = min_tlen + integers(state, length_choices)
        number = np.int64(0)
        drawn += 1
        # As many tokens are drawn for every word: no branch depends on the length, which is random.
        word = np.uint64(distinct)
        for place in range(max_tlen):
            token = integers(state, mini_vocab)
            words[word, np.uint64(place)] = token + 1
            if place < length:
                number = number * mini_vocab + token
        number += firsts[np.uint64(length)]
        words[word, np.uint64(length - 1)] += mini_vocab
        lengths[word] = length
        if direct:
            slot = np.uint64(number)
            fresh = seen_in[slot] != round_number
            seen_in[slot] = round_number
        else:
            slot = (np.uint64(number) * _MULTIPLIER) >> shift
            while seen_in[slot] == round_number and seen[slot] != number:
                slot = (slot + _ONE) & mask
            fresh = seen_in[slot] != round_number
            seen[slot] = number
            seen_in[slot] = round_number
        # A word that is there already is written over by the next.
        distinct += int(fresh)
    unsettled = count - 1 if drawn > count else 0
    for place in range(unsettled, 0, -1):
        other = integers(state, place + 1)
        lengths[place], lengths[other] = lengths[other], lengths[place]
        for digit in range(max_tlen):
            words[place, digit], words[other, digit] = words[other, digit], words[place, digit]


@inlined
def put_word(tokens, at, words, lengths, node):
    """Copy a node's word to tokens[at:] and return the place after it."""
    # The whole row is written: the next token overwrites what is too much, and no branch depends on
    # the length, which is random. `tokens` needs room for one word more. Places have no sign: what has one
    # might count from an array's end, and costs a question each.
    first, word = np.uint64(at), np.uint64(node)
    tokens[first] = words[word, _ZERO]
    if words.shape[1] > 1:
        tokens[first + _ONE] = words[word, _ONE]
        for place in range(_TWO, np.uint64(words.shape[1])):
            tokens[first + place] = words[word, place]
    return at + lengths[word]
