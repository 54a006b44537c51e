"""Packing kernels: ragged rows into arrays [batch, length]."""

from __future__ import annotations

import numpy as np

from ..tasks.core.batch import LABEL_IGNORED
from ..tasks.core.kernels import kernel

_IGNORED = np.int64(LABEL_IGNORED)


@kernel
def pack_left_aligned(
    tokens, offsets, mask, mask_offsets, order, first, line, place, input_ids, labels, position_ids
):
    """Lay examples order[first:] end to end into lines of int64 [batch, length], from (line, place).

    A line begins with a whole example; its last one is cut where the line ends, and what is cut off is
    dropped. Returns the next example and where it goes, (first, line, place); line == batch: all is full.
    """
    batch, length = input_ids.shape
    while first < len(order) and line < batch:
        row = order[first]
        source = np.int64(offsets[row])
        source_mask = np.int64(mask_offsets[row])
        count = min(np.int64(offsets[row + 1]) - source, length - place)
        for token in range(count):
            value = np.int64(tokens[source + token])
            input_ids[line, place + token] = value
            labels[line, place + token] = value if mask[source_mask + token] else _IGNORED
            position_ids[line, place + token] = token
        first += 1
        place += count
        if place == length:
            line += 1
            place = 0
    return first, line, place


@kernel
def pack_padded(
    tokens, offsets, mask, mask_offsets, order, first, line, input_ids, labels, position_ids, attention
):
    """Lay one example a line, from `line`; the arrays hold padding already. Returns (first, line)."""
    batch, length = input_ids.shape
    while first < len(order) and line < batch:
        row = order[first]
        source = np.int64(offsets[row])
        source_mask = np.int64(mask_offsets[row])
        count = min(np.int64(offsets[row + 1]) - source, length)
        for token in range(count):
            value = np.int64(tokens[source + token])
            input_ids[line, token] = value
            labels[line, token] = value if mask[source_mask + token] else _IGNORED
            position_ids[line, token] = token
            attention[line, token] = 1
        first += 1
        line += 1
    return first, line


@kernel
def pack_rows(
    tokens,
    offsets,
    mask,
    mask_offsets,
    order,
    starts,
    starts_offsets,
    first,
    line,
    input_ids,
    labels,
    position_ids,
):
    """Lay one packed row a line, from `line`; the arrays hold padding already. Returns (first, line).

    starts: where documents, and their positions, begin in the rows; no row is longer than a line.
    """
    batch = len(input_ids)
    while first < len(order) and line < batch:
        row = order[first]
        source = np.int64(offsets[row])
        source_mask = np.int64(mask_offsets[row])
        count = np.int64(offsets[row + 1]) - source
        for token in range(count):
            value = np.int64(tokens[source + token])
            input_ids[line, token] = value
            labels[line, token] = value if mask[source_mask + token] else _IGNORED
        begin = np.int64(0)
        for piece in range(starts_offsets[row], starts_offsets[row + 1]):
            # Up to the next document; a start outside the row can do no harm.
            end = count if piece + 1 == starts_offsets[row + 1] else min(np.int64(starts[piece + 1]), count)
            for token in range(begin, end):
                position_ids[line, token] = token - begin
            begin = max(begin, end)
        first += 1
        line += 1
    return first, line
