"""Exact parsing kernels of Lano: which symbols span which tokens of a sentence.

Levels are strict, so the nodes of one level tile the sentence. Level by level from the terminals up, and
from left to right, only a token that such a tiling reaches is tried as the first of a symbol (`reach`); then,
from right to left, spans from which the end cannot be reached are dropped. What is left is nearly the
sentence's own parses, so a level costs what its nodes do, not all starts times all symbols times all ends.

The chart of a sentence of n tokens: `cells` int32 [symbols of levels 1 and up x (n + 1), 2] holds, at row
bases[level] * (n + 1) + start * sizes[level] + symbol, the places [from, to) in `ends` of the ends of
the symbol's spans that begin at `start`. It holds only what was reached.
"""

from __future__ import annotations

from ..core.kernels import kernel

MEMBER = -1
NO_ROOM = -2
TOO_MANY = -4  # steps


@kernel
def read_word(tokens, begin, length, tables, word):
    """Write the tokens as places of terminals, other ids as sizes[0], and sizes[0] after the last."""
    other = tables.sizes[0]
    for at in range(length):
        offset = int(tokens[begin + at]) - tables.lowest
        inside = 0 <= offset < len(tables.terminal_of)
        word[at] = tables.terminal_of[offset] if inside else other
    word[length] = other


@kernel
def find_spans(word, n, tables, cells, ends, prefixes, stamps, reach, patience):
    """Fill the chart of word[:n]; MEMBER, or the token up to which some level tiles the sentence.

    NO_ROOM where `ends` has no room for what a start might need: the caller then passes a longer one.
    TOO_MANY where over `patience` pairs of spans might have to be looked at.

    Scratch: prefixes int32 [prefixes, 2], stamps int64 [n + 2] (kept over calls, at first 0), reach uint8
    [n + 1].
    """
    steps = 0
    widest = 1  # ends of one start of a symbol of the level below, at most
    levels = tables.levels
    stamp = stamps[len(stamps) - 1]
    top = 0
    for level in range(1, levels + 1):
        size = tables.sizes[level]
        base = tables.bases[level] * (n + 1)
        for place in range(size):  # nothing begins at the end
            cells[base + n * size + place, 0] = 0
            cells[base + n * size + place, 1] = 0
        if level > 1:
            below = tables.sizes[level - 1]
            base_below = tables.bases[level - 1] * (n + 1)
            first_prefix = tables.prefix_bases[level]
            last_prefix = tables.prefix_bases[level + 1]
        for at in range(n + 1):
            reach[at] = 0
        reach[0] = 1
        furthest = 0
        for start in range(n if level < levels else 1):
            if reach[start] == 0:
                continue
            furthest = start
            if len(ends) - top < tables.list_room[level] or steps > patience:
                stamps[len(stamps) - 1] = stamp
                return TOO_MANY if steps > patience else NO_ROOM
            row = base + start * size
            if level == 1:
                group = word[start] * size
                for place in range(size):
                    cells[row + place, 0] = top
                    first, last = tables.group_bases[group + place], tables.group_bases[group + place + 1]
                    for rule in range(first, last):
                        letter = tables.group_starts[rule]
                        stop = tables.group_starts[rule + 1]
                        at = start + 1
                        while letter < stop and tables.letters[letter] == word[at]:
                            letter += 1
                            at += 1
                        if letter == stop:
                            ends[top] = at
                            top += 1
                            reach[at] = 1
                    cells[row + place, 1] = top
                continue
            row_below = base_below + start * below
            for prefix in range(first_prefix, last_prefix):
                prefixes[prefix, 0] = top
                stamp += 1
                left = tables.prefix_left[prefix]
                if left >= 0:
                    first, last = cells[row_below + left, 0], cells[row_below + left, 1]
                else:
                    first, last = prefixes[-2 - left, 0], prefixes[-2 - left, 1]
                steps += (last - first) * widest
                right = base_below + tables.prefix_right[prefix]
                for place in range(first, last):
                    cell = right + ends[place] * below
                    for other in range(cells[cell, 0], cells[cell, 1]):
                        end = ends[other]
                        if stamps[end] != stamp:
                            stamps[end] = stamp
                            ends[top] = end
                            top += 1
                prefixes[prefix, 1] = top
            for symbol in range(size):
                cells[row + symbol, 0] = top
                stamp += 1
                number = tables.bases[level] + symbol
                for rule in range(tables.rule_bases[number], tables.rule_bases[number + 1]):
                    left = tables.rule_left[rule]
                    right = base_below + tables.rule_right[rule]
                    if left == -1:
                        cell = right + start * below
                        for other in range(cells[cell, 0], cells[cell, 1]):
                            end = ends[other]
                            if stamps[end] != stamp:
                                stamps[end] = stamp
                                ends[top] = end
                                top += 1
                                reach[end] = 1
                        continue
                    if left >= 0:
                        first, last = cells[row_below + left, 0], cells[row_below + left, 1]
                    else:
                        first, last = prefixes[-2 - left, 0], prefixes[-2 - left, 1]
                    steps += (last - first) * widest
                    for place in range(first, last):
                        cell = right + ends[place] * below
                        for other in range(cells[cell, 0], cells[cell, 1]):
                            end = ends[other]
                            if stamps[end] != stamp:
                                stamps[end] = stamp
                                ends[top] = end
                                top += 1
                                reach[end] = 1
                cells[row + symbol, 1] = top
        stamps[len(stamps) - 1] = stamp
        if reach[n] == 0 or n == 0:
            return furthest
        if level == levels:
            break
        widest = 1
        for start in range(n - 1, -1, -1):
            if reach[start]:
                alive = 0
                row = base + start * size
                for symbol in range(size):
                    keep = first = cells[row + symbol, 0]
                    for place in range(first, cells[row + symbol, 1]):
                        ends[keep] = ends[place]
                        keep += reach[ends[place]]
                    cells[row + symbol, 1] = keep
                    widest = max(widest, keep - first)
                    alive |= keep > first
                reach[start] = alive
    return MEMBER
