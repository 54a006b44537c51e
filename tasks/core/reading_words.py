"""Reading an example of nodes back for the audit: its words in their order, numbered, with their surface."""

from __future__ import annotations

import numpy as np

from .kernels import inlined

LENGTH, FIRST, LAST = range(3)  # of a word: its tokens, its first and its last one (counted from 0)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@inlined
def read_words(
    tokens,
    place,
    end,
    mini_vocab,
    most_token,
    low,
    high,
    node,
    surface,
    asked,
    seen,
    seen_in,
    seen_node,
    turn,
):
    """The words in tokens[place:end]: (words, words before the first question, nodes, questions).

    A word is tokens up to mini_vocab and one above, which is its last (mini_vocab 0: every id up to
    most_token is a word). Ids low..high begin a question: their numbers id - low go to asked. Other ids are
    passed over. node int32 [words] numbers the words in the order in which they first come; surface int32
    [words, 3]. seen, seen_in, seen_node [2^k] are a hash map kept over calls, entries of another `turn` do
    not count.
    """
    slots = len(seen) - 1
    words, before, nodes, questions = np.int64(0), np.int64(-1), np.int64(0), np.int64(0)
    name, length, first = np.int64(0), np.int64(0), np.int64(0)
    while place < end:
        token = np.int64(tokens[place])
        place += 1
        if token < 1 or token > most_token:
            if low <= token and token <= high:
                if before < 0:
                    before = words
                asked[questions] = token - low
                questions += 1
            continue
        ends = token > mini_vocab
        digit = token - 1 - (mini_vocab if ends else 0)
        if length == 0:
            first = digit
        # Digits are counted from 1 in the name, so that words of different lengths have different ones.
        name = name * max(mini_vocab, 1) + digit + 1
        length += 1
        if not ends:
            continue
        slot = np.int64((np.uint64(name) * _MULTIPLIER) >> np.uint64(32)) & slots
        while seen_in[slot] == turn and seen[slot] != name:
            slot = (slot + 1) & slots
        if seen_in[slot] != turn:
            seen[slot], seen_in[slot], seen_node[slot] = name, turn, nodes
            nodes += 1
        node[words] = seen_node[slot]
        surface[words, 0], surface[words, 1], surface[words, 2] = length, first, digit
        words += 1
        name, length = np.int64(0), np.int64(0)
    return words, before, nodes, questions
