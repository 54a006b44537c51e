"""Best-fit decreasing: which documents share a row, in n log(length) time.

The longest document first, each into the fullest row that still has room for it (of equally full ones the
row that was opened first), else into a new row. At most 11/9 of the fewest rows possible, plus 4
(Johnson et al. 1974).

Open rows stand in one heap for each number of free places; a binary tree above the heaps finds the nearest
one that is not empty. A new row is a leaf of that tree too, which is always there: so a search ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...tasks.core.kernels import inlined, kernel

_NONE = np.int64(-1)


def best_fit_rows(offsets: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pack documents offsets[d]..offsets[d + 1], none empty and none longer than `length`.

    Returns the documents int64 [documents], row after row, and where each row begins among them, int64
    [rows + 1]. Rows come in the order of their smallest document, a row's documents in rising order.
    """
    count = len(offsets) - 1
    capacity = min(length, max(int(offsets[-1]), 1))  # no row needs more than there is
    leaves = 1 << capacity.bit_length()
    order = np.empty(count, dtype=np.int64)
    _longest_first(offsets, np.zeros(capacity + 2, dtype=np.int64), order)
    row_of = np.empty(count, dtype=np.int64)
    rows = _best_fit(
        offsets,
        order,
        capacity,
        np.zeros(2 * leaves, dtype=np.uint8),
        np.full(capacity + 1, _NONE),
        np.empty(count, dtype=np.int64),
        np.empty(count, dtype=np.int64),
        row_of,
    )
    begins = np.zeros(rows + 1, dtype=np.int64)
    _row_by_row(row_of, np.full(rows, _NONE), np.empty(rows, dtype=np.int64), begins, order)
    return order, begins


@kernel
def _longest_first(offsets, places, order):
    """Sort documents by falling length, then by number; places: zeros int64 [largest length + 2]."""
    count = len(order)
    largest = len(places) - 2
    for document in range(count):
        places[largest - (offsets[document + 1] - offsets[document]) + 1] += 1
    for shorter in range(1, largest + 2):
        places[shorter] += places[shorter - 1]
    for document in range(count):
        shorter = largest - (offsets[document + 1] - offsets[document])
        order[places[shorter]] = document
        places[shorter] += 1


@inlined
def _fullest(filled, leaves, room):
    """The nearest leaf at `room` or to its right; the tree has one."""
    node = leaves + room
    while filled[node] == 0:
        while node & 1:
            node >>= 1
        node += 1
    while node < leaves:
        node *= 2
        if filled[node] == 0:
            node += 1
    return node - leaves


@inlined
def _mark(filled, leaves, room):
    """A leaf is not empty any more; nor are the nodes above it, up to one that was not before."""
    node = leaves + room
    while filled[node] == 0:
        filled[node] = 1
        node >>= 1


@inlined
def _clear(filled, leaves, room):
    """A leaf is empty now, and so are the nodes above it whose other half is; the root never is."""
    node = leaves + room
    filled[node] = 0
    while filled[node ^ 1] == 0:
        node >>= 1
        filled[node] = 0


@inlined
def _joined(child, sibling, one, other):
    """Two pairing heaps become one (Fredman et al. 1986); returns its smallest row."""
    top = min(one, other)
    below = max(one, other)
    sibling[below] = child[top]
    child[top] = below
    return top


@inlined
def _without_top(child, sibling, top):
    """What is left of a pairing heap without its smallest row, or -1: children joined in pairs, then all."""
    paired = _NONE
    node = child[top]
    while node != _NONE:
        joined, other = node, sibling[node]
        node = _NONE
        if other != _NONE:
            node = sibling[other]
            joined = _joined(child, sibling, joined, other)
        sibling[joined] = paired
        paired = joined
    rest = paired
    if paired != _NONE:
        node = sibling[paired]
        while node != _NONE:
            after = sibling[node]
            rest = _joined(child, sibling, rest, node)
            node = after
    return rest


@kernel
def _best_fit(offsets, order, capacity, filled, heaps, child, sibling, row_of):
    """Give every document its row, in the order `order`; returns the number of rows.

    filled: zeros uint8 [2 * leaves], leaf `room` for the rows with so many free places; heaps: -1 int64
    [capacity + 1], the first row of each; child, sibling: scratch int64 [documents], the heaps' links.
    """
    count = len(order)
    leaves = len(filled) // 2
    rows = 0
    _mark(filled, leaves, capacity)  # a new row is always at hand
    place = 0
    while place < count:
        size = offsets[order[place] + 1] - offsets[order[place]]
        room = _fullest(filled, leaves, size)
        if room == capacity:
            row = rows
            rows += 1
        else:
            row = heaps[room]
            heaps[room] = _without_top(child, sibling, row)
            if heaps[room] == _NONE:
                _clear(filled, leaves, room)
        # While documents of this size fit, the row stays the fullest of those with room.
        same = True
        while same:
            row_of[order[place]] = row
            room -= size
            place += 1
            same = room >= size and place < count
            if same:
                same = offsets[order[place] + 1] - offsets[order[place]] == size
        if room > 0:
            child[row] = _NONE
            if heaps[room] == _NONE:
                heaps[room] = row
                _mark(filled, leaves, room)
            else:
                heaps[room] = _joined(child, sibling, heaps[room], row)
    return rows


@kernel
def _row_by_row(row_of, ranks, places, begins, order):
    """Number the rows by their smallest document and lay the documents row by row.

    ranks: -1 int64 [rows]; places: scratch int64 [rows]; begins: zeros int64 [rows + 1].
    """
    seen = 0
    for document in range(len(row_of)):
        row = row_of[document]
        if ranks[row] == _NONE:
            ranks[row] = seen
            seen += 1
        begins[ranks[row] + 1] += 1
    for rank in range(len(places)):
        places[rank] = begins[rank]
        begins[rank + 1] += begins[rank]
    for document in range(len(row_of)):
        rank = ranks[row_of[document]]
        order[places[rank]] = document
        places[rank] += 1
