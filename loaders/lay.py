"""Laying rows into lines of a batch: where each line begins, then the copy of any lines.

Modes:
    left_aligned  rows end to end; a line begins with a whole row, and its last row is cut where it ends. A
                  window of a corpus has to come out with the number of lines that was told before it was
                  read, so some lines end, padded, where a row ends: see `_left_aligned`.
    concat        one sequence, cut wherever a line is full; a row goes on in the next line
    padded        one row a line, filled up; a longer one is cut
    packed        one row a line, filled up; a row holds several documents, as it was built
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.batch import LABEL_IGNORED
from ..tasks.core.kernels import inlined, kernel
from ..tasks.errors import ConfigError
from .source import Rows

MODES = ("left_aligned", "concat", "padded", "packed")
_IGNORED = np.int64(LABEL_IGNORED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """Rows in an order, and the lines that they make."""

    rows: Rows
    order: NDArray[np.int64]  # [rows]
    begins: NDArray[np.int32]  # [rows], in the order: where their tokens are
    ends: NDArray[np.int32]
    first: NDArray[np.int64]  # [lines]: which row of the order stands first,
    skip: NDArray[np.int32]  # [lines]: from which of its tokens on,
    stop: NDArray[np.int64]  # [lines]: and which row of the order does not belong any more
    left: int  # rows that found no place
    dataset: NDArray[np.int32] | None = None  # [lines]: of the first row; None: there is one

    def __len__(self) -> int:
        return len(self.first)

    def lengths(self, lines: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of lines that are one row each: int64 [lines]."""
        places = self.first[lines]
        lengths: NDArray[np.int64] = (self.ends[places] - self.begins[places]).astype(np.int64)
        return lengths


def lines_of(rows: Rows, order: NDArray[np.int64], mode: str, length: int | None, lines: int) -> Lines:
    """The lines that rows in an order make, `lines` of them; ConfigError where a packed row is too long."""
    count, begins, ends = len(order), rows.offsets[order], rows.offsets[order + 1]
    first, skip = np.full(lines, count, np.int64), np.zeros(lines, np.int32)
    if mode in ("padded", "packed"):
        assert lines == count
        if (
            mode == "packed"
            and length is not None
            and count
            and (longest := int(rows.lengths().max())) > length
        ):
            raise ConfigError(
                f"length={length}: a packed row has {longest} tokens and is not cut; take the length that "
                "the corpus was packed with"
            )
        first, used = np.arange(count, dtype=np.int64), count
        stop = first + 1
    elif mode == "concat":
        used = _concat(begins, ends, length, first, skip)
        stop = np.full(lines, count, np.int64)
    else:
        used, _ = _left_aligned(begins, ends, length, True, first)
        stop = np.append(first[1:], used)
    return Lines(
        rows=rows,
        order=order,
        begins=begins,
        ends=ends,
        first=first,
        skip=skip,
        stop=stop,
        left=count - used,
    )


def fresh_lines(
    make: Callable[[int], Rows], mean_tokens: float, mode: str, length: int | None, lines: int
) -> Lines:
    """Lines of fresh examples: as many are made, `make(count)`, as fill them.

    left_aligned: as in the paper, every line is full and its last example cut. What is made beyond is thrown
    away.
    """
    if mode == "padded" or length is None:
        return lines_of(make(lines), np.arange(lines, dtype=np.int64), mode, length, lines)
    tokens = lines * (length + (mean_tokens if mode == "left_aligned" else 0))
    count = int(1.02 * tokens / mean_tokens) + 8
    while True:
        rows = make(count)
        begins, ends = rows.offsets[:-1].copy(), rows.offsets[1:].copy()  # of the types that all have
        first, skip = np.full(lines, count, np.int64), np.zeros(lines, np.int32)
        if mode == "concat":
            used = _concat(begins, ends, length, first, skip)
            full = int(rows.offsets[-1]) >= lines * length
            stop = np.full(lines, used, np.int64)
        else:
            used, full = _left_aligned(begins, ends, length, False, first)
            stop = np.append(first[1:], used)
        if full:
            order = np.arange(count, dtype=np.int64)
            return Lines(
                rows=rows, order=order, begins=begins, ends=ends, first=first, skip=skip, stop=stop, left=0
            )
        count += count // 4


@kernel
def _concat(begins, ends, length, first, skip):
    """Where each line begins: first int64 [lines], filled with the number of rows, and skip int32 [lines]."""
    lines = len(first)
    line = 0
    start = np.int64(0)  # of the row, in the sequence
    row = 0
    while row < len(begins) and line < lines:
        end = start + np.int64(ends[row] - begins[row])
        while line < lines and np.int64(line) * length < end:
            first[line] = row
            skip[line] = np.int64(line) * length - start
            line += 1
        start = end
        row += 1
    # What the last line holds of the rows behind it.
    rest = np.int64(lines) * length - start
    while row < len(begins) and rest > 0:
        rest -= np.int64(ends[row] - begins[row])
        row += 1
    return row


@kernel
def _left_aligned(begins, ends, length, end_early, first):
    """Where each line begins: first int64 [lines]; returns how many rows have a place, and if all is full.

    end_early False: as many rows as there is room for; every line is full as long as there are rows.

    end_early True: every row has a place where sum(min(row, length)) <= lines x length, as it is for the
    windows of a corpus. Cutting the last row of a line wins room, which is called slack; lines that end where
    a row ends, padded, use it up. Which they are hangs on the room that is left in them and never on the row
    that would come next: else a row's place in its line would betray its length. A quarter of the slack is
    ventured at a time, so that about as much is padded as is cut, and at the end of a window all of it.
    """
    count, lines = len(begins), len(first)
    slack = np.int64(0)
    if end_early:
        slack += lines * length
        for row in range(count):
            slack -= min(np.int64(ends[row] - begins[row]), length)
    row = 0
    room = np.int64(0)
    for line in range(lines):
        first[line] = row
        room = np.int64(length)
        venture = np.int64(0)
        if end_early:
            venture = max(slack // min(4, lines - line), np.int64(0))
        open_line = True
        while open_line and row < count and room > 0:
            room -= min(np.int64(ends[row] - begins[row]), length)
            row += 1
            open_line = room > venture
        slack -= room
    return row, room <= 0


@inlined
def _fill(view, value):
    for token in range(len(view)):
        view[token] = value


@inlined
def _number(view):
    for token in range(len(view)):
        view[token] = token


@kernel
def lay(
    tokens,
    mask,
    order,
    begins,
    ends,
    starts,
    starts_offsets,
    first,
    skip,
    stop,
    lines,
    targets,
    pad_id,
    input_ids,
    labels,
    position_ids,
    documents,
    filled,
    begun,
):
    """Copy lines to lines `targets` of arrays [lines, length]: ids, labels, positions; the rest is padding.

    starts, starts_offsets: where documents begin in packed rows, else empty. documents: int32, the number of
    its document in the line, from 0, for each token, -1 in padding; or of shape [0, 0]. filled, begun int64
    [lines]: its tokens, and the examples that begin in it.
    """
    packed = len(starts_offsets) > 0
    numbered = documents.shape[0] > 0
    for place in range(len(lines)):
        line, target = lines[place], targets[place]
        ids_line, labels_line, positions_line = input_ids[target], labels[target], position_ids[target]
        length = np.int64(len(ids_line))
        row_at, end = first[line], stop[line]
        begin = np.int64(skip[line])
        at = np.int64(0)
        document = 0
        while at < length and row_at < end:
            source = np.int64(begins[row_at]) + begin
            count = min(np.int64(ends[row_at]) - source, length - at)
            # Loops over views: only then are they vectorised, which is five times as fast.
            ids, learned = tokens[source : source + count], mask[source : source + count]
            ids_view, labels_view = ids_line[at : at + count], labels_line[at : at + count]
            positions_view = positions_line[at : at + count]
            for token in range(len(ids_view)):
                value = ids[token]
                ids_view[token] = value
                labels_view[token] = value if learned[token] else _IGNORED
                positions_view[token] = token
            if packed:
                # The row's first document begins at 0; a start outside the row can do no harm.
                row, piece_begin = order[row_at], np.int64(0)
                for piece in range(starts_offsets[row], starts_offsets[row + 1]):
                    piece_end = count
                    if piece + 1 < starts_offsets[row + 1]:
                        piece_end = min(np.int64(starts[piece + 1]), count)
                    if piece_end > piece_begin:
                        _number(positions_line[at + piece_begin : at + piece_end])
                    piece_begin = max(piece_begin, piece_end)
                    document += 1
            elif count > 0:
                document += 1
            at += count
            row_at += 1
            begin = np.int64(0)
        filled[target] = at
        begun[target] = document if skip[line] == 0 or document == 0 else document - 1
        _fill(ids_line[at:], pad_id)
        _fill(labels_line[at:], _IGNORED)
        _fill(positions_line[at:], 0)
        if numbered:
            # A document begins where positions begin again.
            document = -1
            for token in range(at):
                document += positions_line[token] == 0
                documents[target, token] = document
            _fill(documents[target, at:], -1)
