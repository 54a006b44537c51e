"""Rows of Lano by the weights of their spans: how likely each is, and each next token of it.

See `tasks.lano.inside` for weights, scales and logs.
"""

from __future__ import annotations

import math

from ..core.kernels import kernel
from .inside import find_inside, find_outer
from .spans import NO_ROOM, read_word

_LEAST, _MOST = 1e-200, 1e200  # weights of a prefix beyond these call for logarithms


@kernel
def weigh_rows(
    tokens,
    begins,
    lengths,
    row,
    stop,
    tables,
    weights,
    scales,
    logs,
    totals,
    healthy,
    word,
    cells,
    ends,
    values,
    prefixes,
    sums,
    stamps,
    reach,
):
    """Write the scaled weight of each sentence to totals float64 [rows]; returns the row it stopped at.

    A weight that is not exact is NaN. It stops where `ends` has no room, and at `stop`.
    """
    zero = 0.0 if logs is None else -math.inf
    while row < stop:
        n = lengths[row]
        healthy[0] = 1
        read_word(tokens, begins[row], n, tables, word)
        used = find_inside(
            word,
            n,
            tables,
            weights,
            scales,
            logs,
            healthy,
            cells,
            ends,
            values,
            prefixes,
            sums,
            stamps,
            reach,
        )
        if used == NO_ROOM:
            return row
        cell = tables.bases[tables.levels] * (n + 1)
        total = zero
        for place in range(cells[cell, 0], cells[cell, 1]):
            if ends[place] == n:
                total = values[place]
        totals[row] = total if healthy[0] else math.nan
        row += 1
    return row


@kernel
def predict_rows(
    tokens,
    begins,
    lengths,
    row,
    stop,
    places,
    tables,
    weights,
    scales,
    logs,
    shares_out,
    healthy,
    word,
    cells,
    ends,
    values,
    prefixes,
    sums,
    stamps,
    reach,
    outer,
    shares,
    node_places,
):
    """Write the next-token distributions of each row from `row` to `stop`; returns the row it stopped at.

    places int64 [rows]: a row's first position in shares_out float64 [positions, terminals + 1], NaN from the
    first prefix on that begins no sentence. healthy uint8 [1]: 0 where weights of the row it stopped at are
    near the ends of what a double can hold, or beyond. It also stops where `ends` has no room.
    """
    zero = 0.0 if logs is None else -math.inf
    terminals = tables.sizes[0]
    while row < stop:
        n = min(lengths[row], tables.longest)
        healthy[0] = 1
        read_word(tokens, begins[row], n, tables, word)
        used = find_inside(
            word,
            n,
            tables,
            weights,
            scales,
            logs,
            healthy,
            cells,
            ends,
            values,
            prefixes,
            sums,
            stamps,
            reach,
        )
        if used == NO_ROOM:
            return row
        find_outer(
            word,
            n,
            tables,
            weights,
            scales,
            logs,
            healthy,
            cells,
            ends,
            values,
            prefixes,
            outer,
            shares,
            node_places,
        )
        for at in range(n + 1):
            sums[at] = zero
        cell = tables.bases[tables.levels] * (n + 1)
        for place in range(cells[cell, 0], cells[cell, 1]):
            sums[ends[place]] = values[place]
        viable = True
        for at in range(lengths[row] + 1):
            place = places[row] + at
            viable = viable and at <= n
            total = 0.0
            if viable:
                high = sums[at]
                for terminal in range(terminals):
                    high = max(high, outer[at * terminals + terminal])
                viable = high != zero
                if logs is not None and viable:  # from here on relative to the likeliest
                    sums[at] = math.exp(sums[at] - high)
                    for terminal in range(terminals):
                        outer[at * terminals + terminal] = math.exp(outer[at * terminals + terminal] - high)
                total = sums[at]
                for terminal in range(terminals):
                    total += outer[at * terminals + terminal]
                if viable and not _LEAST < total < _MOST:  # NaN too
                    healthy[0] = 0
            if viable:
                for terminal in range(terminals):
                    shares_out[place, terminal] = outer[at * terminals + terminal] / total
                shares_out[place, terminals] = sums[at] / total
            else:
                for terminal in range(terminals + 1):
                    shares_out[place, terminal] = math.nan
        if not healthy[0]:
            return row
        row += 1
    return row
