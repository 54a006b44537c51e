"""Probability kernels of Lano: inside weights of spans, and what they give for every prefix.

inside(X, i, j) is the weight of all expansions of X to word[i:j], outer(X, i) that of all beginnings of
a derivation that go over word[:i] and come to X there. From the start down, outer of a symbol's children
follows from inside of the children before them; outer of a terminal at i is the weight of all sentences
that begin with word[:i] and that terminal.

A weight over word[i:j] is multiplied by the scales of tokens i to j-1, powers of two near the inverse of
their probability, so weights stay near 1; ratios at one token do not depend on them. A parse may still be so
much less likely than others that its weights leave what a double can hold, and be the only one that goes on
later. The kernels notice it (`healthy`), and do the same with logarithms instead: `logs` is None for plain
weights, True where weights, scales and results are natural logarithms (-inf: none).
"""

from __future__ import annotations

import math

from ..core.kernels import inlined, kernel
from .spans import NO_ROOM

_LOST = 1e-300  # weights of anything below this are not exact any more and call for logarithms


@inlined
def _times(one, other, logs):
    """The product of two weights."""
    if logs is None:
        product = one * other
    else:
        product = one + other
    return product


@inlined
def _plus(one, other, logs):
    """The sum of two weights, not both of them -inf."""
    if logs is None:
        total = one + other
    else:
        high, low = max(one, other), min(one, other)
        total = high + math.log1p(math.exp(low - high))
    return total


@kernel
def find_inside(
    word, n, tables, weights, scales, logs, healthy, cells, ends, values, prefixes, sums, stamps, reach
):
    """Fill the chart of word[:n] with weights; returns how much of `ends` is in use, or NO_ROOM.

    The chart is that of `tasks.lano.spans`, of all spans that a tiling from the left reaches, with values
    float64 beside `ends`. prefixes int32 [prefixes x (n + 1), 2] is the same for the rules' prefixes, at row
    prefix_bases[level] * (n + 1) + start * (prefixes of the level) + prefix. weights float64 [symbols]: of
    each rule of a symbol. scales float64 [n]: of each token. healthy uint8 [1] is set to 0 where a weight is
    too small to be exact. Scratch: sums float64 and stamps int64 [n + 2].
    """
    zero = 0.0 if logs is None else -math.inf
    least = _LOST if logs is None else -math.inf
    exact = True
    levels = tables.levels
    stamp = stamps[len(stamps) - 1]
    top = 0
    for level in range(1, levels + 1):
        size = tables.sizes[level]
        base = tables.bases[level] * (n + 1)
        first_prefix = tables.prefix_bases[level]
        count = tables.prefix_bases[level + 1] - first_prefix
        prefix_base = first_prefix * (n + 1)
        below = tables.sizes[level - 1]
        base_below = tables.bases[level - 1] * (n + 1)
        for place in range(size):  # nothing begins at the end
            cells[base + n * size + place, 0] = 0
            cells[base + n * size + place, 1] = 0
        for place in range(count):
            prefixes[prefix_base + n * count + place, 0] = 0
            prefixes[prefix_base + n * count + place, 1] = 0
        for at in range(n + 1):
            reach[at] = 0
        reach[0] = 1
        for start in range(n if level < levels else min(n, 1)):
            if reach[start] == 0:
                continue
            if len(ends) - top < tables.list_room[level]:
                stamps[len(stamps) - 1] = stamp
                return NO_ROOM
            row = base + start * size
            if level == 1:
                group = word[start] * size
                for place in range(size):
                    cells[row + place, 0] = top
                    first, last = tables.group_bases[group + place], tables.group_bases[group + place + 1]
                    for rule in range(first, last):
                        letter = tables.group_starts[rule]
                        stop = tables.group_starts[rule + 1]
                        value = _times(weights[place], scales[start], logs)
                        at = start + 1
                        while letter < stop and tables.letters[letter] == word[at]:
                            value = _times(value, scales[at], logs)
                            letter += 1
                            at += 1
                        if letter == stop:
                            ends[top] = at
                            values[top] = value
                            exact &= value >= least
                            top += 1
                            reach[at] = 1
                    cells[row + place, 1] = top
                continue
            row_below = base_below + start * below
            prefix_row = prefix_base + start * count
            for prefix in range(count):
                cell = prefix_row + prefix
                prefixes[cell, 0] = top
                stamp += 1
                left = tables.prefix_left[first_prefix + prefix]
                if left >= 0:
                    first, last = cells[row_below + left, 0], cells[row_below + left, 1]
                else:
                    other = prefix_row - 2 - left - first_prefix
                    first, last = prefixes[other, 0], prefixes[other, 1]
                right = base_below + tables.prefix_right[first_prefix + prefix]
                for place in range(first, last):
                    value = values[place]
                    middle = right + ends[place] * below
                    for other in range(cells[middle, 0], cells[middle, 1]):
                        end = ends[other]
                        if stamps[end] != stamp:
                            stamps[end] = stamp
                            sums[end] = zero
                            ends[top] = end
                            top += 1
                        sums[end] = _plus(sums[end], _times(value, values[other], logs), logs)
                for place in range(prefixes[cell, 0], top):
                    values[place] = sums[ends[place]]
                    exact &= values[place] >= least
                prefixes[cell, 1] = top
            for symbol in range(size):
                cells[row + symbol, 0] = top
                stamp += 1
                number = tables.bases[level] + symbol
                for rule in range(tables.rule_bases[number], tables.rule_bases[number + 1]):
                    left = tables.rule_left[rule]
                    right = base_below + tables.rule_right[rule]
                    if left == -1:
                        middle = right + start * below
                        for other in range(cells[middle, 0], cells[middle, 1]):
                            end = ends[other]
                            if stamps[end] != stamp:
                                stamps[end] = stamp
                                sums[end] = zero
                                ends[top] = end
                                top += 1
                            sums[end] = _plus(sums[end], values[other], logs)
                        continue
                    if left >= 0:
                        first, last = cells[row_below + left, 0], cells[row_below + left, 1]
                    else:
                        other = prefix_row - 2 - left - first_prefix
                        first, last = prefixes[other, 0], prefixes[other, 1]
                    for place in range(first, last):
                        value = values[place]
                        middle = right + ends[place] * below
                        for other in range(cells[middle, 0], cells[middle, 1]):
                            end = ends[other]
                            if stamps[end] != stamp:
                                stamps[end] = stamp
                                sums[end] = zero
                                ends[top] = end
                                top += 1
                            sums[end] = _plus(sums[end], _times(value, values[other], logs), logs)
                for place in range(cells[row + symbol, 0], top):
                    values[place] = _times(sums[ends[place]], weights[number], logs)
                    exact &= values[place] >= least
                    reach[ends[place]] = 1
                cells[row + symbol, 1] = top
        stamps[len(stamps) - 1] = stamp
    if not exact:
        healthy[0] = 0
    return top


@kernel
def find_outer(
    word, n, tables, weights, scales, logs, healthy, cells, ends, values, prefixes, outer, shares, places
):
    """Fill outer float64 [symbols x (n + 1)] from a chart of `find_inside`.

    Outer of a level's symbol at a token stands at (sizes[0] + bases[level]) * (n + 1) + token * sizes[level]
    + symbol, of terminals (level 0) at token * sizes[0] + terminal. healthy: as in `find_inside`. Scratch:
    shares float64 [nodes, 2] and places int32 [nodes].
    """
    zero, one = (0.0, 1.0) if logs is None else (-math.inf, 0.0)
    least = _LOST if logs is None else -math.inf
    exact = True
    levels = tables.levels
    terminals = tables.sizes[0]
    for place in range((terminals + tables.bases[levels + 1]) * (n + 1)):
        outer[place] = zero
    outer[(terminals + tables.bases[levels]) * (n + 1)] = one
    for level in range(levels, 0, -1):
        size = tables.sizes[level]
        base = (terminals + tables.bases[level]) * (n + 1)
        below = tables.sizes[level - 1]
        base_below = (terminals + tables.bases[level - 1]) * (n + 1) if level > 1 else 0
        cell_base = tables.bases[level - 1] * (n + 1)
        first_node = tables.node_bases[level]
        last_node = tables.node_bases[level + 1]
        first_prefix = tables.prefix_bases[level]
        count = tables.prefix_bases[level + 1] - first_prefix
        for start in range(n + 1 if level < levels else 1):
            reached = False
            for symbol in range(size):
                reached |= outer[base + start * size + symbol] != zero
            if not reached:
                continue
            # What comes to each beginning of a rule: a node of the tree, and all longer ones.
            for node in range(first_node, last_node):
                shares[node, 0] = zero
            for symbol in range(size):
                number = tables.bases[level] + symbol
                if outer[base + start * size + symbol] != zero:
                    share = _times(outer[base + start * size + symbol], weights[number], logs)
                    exact &= share >= least
                    for rule in range(tables.rule_bases[number], tables.rule_bases[number + 1]):
                        node = tables.rule_node[rule]
                        shares[node, 0] = _plus(shares[node, 0], share, logs)
            for node in range(last_node - 1, first_node - 1, -1):
                parent = tables.node_parent[node]
                if parent >= 0 and shares[node, 0] != zero:
                    shares[parent, 0] = _plus(shares[parent, 0], shares[node, 0], logs)
            prefix_row = first_prefix * (n + 1) + start * count - 2 - first_prefix
            for node in range(first_node, last_node):
                share = shares[node, 0]
                symbol = tables.node_symbol[node]
                if level == 1:
                    parent = tables.node_parent[node]
                    place = start if parent < 0 else places[parent]
                    value = one if parent < 0 else shares[parent, 1]
                    places[node] = -1
                    if place >= 0 and share != zero:
                        product = _times(share, value, logs)
                        exact &= product >= least
                        at = place * terminals + symbol
                        outer[at] = _plus(outer[at], product, logs)
                        if word[place] == symbol:
                            places[node] = place + 1
                            shares[node, 1] = _times(value, scales[place], logs)
                    continue
                if share == zero:
                    continue
                left = tables.node_left[node]
                if left == -1:
                    at = base_below + start * below + symbol
                    outer[at] = _plus(outer[at], share, logs)
                    continue
                if left >= 0:
                    cell = cell_base + start * below + left
                    first, last = cells[cell, 0], cells[cell, 1]
                else:
                    first, last = prefixes[prefix_row - left, 0], prefixes[prefix_row - left, 1]
                for place in range(first, last):
                    product = _times(share, values[place], logs)
                    exact &= product >= least
                    at = base_below + ends[place] * below + symbol
                    outer[at] = _plus(outer[at], product, logs)
    if not exact:
        healthy[0] = 0
