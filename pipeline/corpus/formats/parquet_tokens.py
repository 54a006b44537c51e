"""The columns of tokens, mask, starts and index of a Parquet row group, decoded from their pages here.

pyarrow reads any file; a shard's own pages are of one form, and what takes long in them is zstd alone. So the
pages that ostraca writes are unfolded and put together by kernels, about twice as fast, with one allocation a
column and the GIL released throughout. Whatever is of another form, sound or not, is left to pyarrow, which
says what is wrong with it: nothing here raises.

A page of ids, unfolded: the number of bytes of its repetition levels (uint32), these (0 where a row begins, 1
else, as runs), the same of its definition levels (all 1: no row is empty), then the four planes of a byte
each. One of starts: the same levels, then int32s. One of masks: for each row its number of bytes (uint32),
and these. One of the index: int64s.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from ....tasks.core.batch import column, list_type
from ....tasks.core.kernels import inlined, kernel
from .parquet_mask import MASK
from .parquet_pages import PLAIN, SPLIT, Page

_IDS, _INDEX, _STARTS = "input_ids", "index", "starts"
DECODED = (
    column(_INDEX, pa.int64()),
    column(_IDS, list_type(pa.int32())),
    column(_STARTS, list_type(pa.int32())),
    column(MASK, pa.binary()),
)


class _Unfolding(threading.local):
    """An own context of zstd for every thread."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


_UNFOLDING = _Unfolding()


def decode(
    data: memoryview, start: int, pages: Mapping[str, Sequence[Page]], rows: int
) -> dict[str, pa.Array]:
    """Those columns of a row group of `rows` rows that can be decoded here, as they are in memory.

    data: the row group, which begins at `start` in its file. pages: of columns that are DECODED, as
    `check_pages` gave them, so that no array is larger than these rows allow.
    """

    def unfolded(name: str, encoding: int) -> list[bytes] | None:
        return _unfolded(data, start, pages.get(name, ()), encoding)

    found: dict[str, pa.Array] = {}
    index = unfolded(_INDEX, PLAIN)
    if index is not None and sum(map(len, index)) == 8 * rows:
        whole = index[0] if len(index) == 1 else b"".join(index)
        found[_INDEX] = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(whole)], 0)
    starts = _lists(pages.get(_STARTS, ()), unfolded(_STARTS, PLAIN), rows)
    if starts is not None:
        found[_STARTS] = starts[0]
    ids = _lists(pages.get(_IDS, ()), unfolded(_IDS, SPLIT), rows)
    if ids is None:
        return found
    found[_IDS], offsets_buffer = ids
    offsets = np.frombuffer(offsets_buffer, np.int32)
    count = int(offsets[rows])
    masks = unfolded(MASK, PLAIN)
    if masks is None:
        return found
    mask_buffer = pa.allocate_buffer(count)
    mask = np.frombuffer(mask_buffer, np.uint8)
    row = 0
    for page, content in zip(pages[MASK], masks, strict=True):
        row = int(_masks_of_page(_bytes(content), page.values, row, offsets, mask))
        if row < 0:
            return found
    if row == rows:
        found[MASK] = _array(pa.uint8(), count, rows, mask_buffer, offsets_buffer)
    return found


def _unfolded(data: memoryview, start: int, pages: Sequence[Page], encoding: int) -> list[bytes] | None:
    """A column's pages, each of just as many bytes as its header says; None where one is of another form."""
    found = []
    for page in pages:
        if not page.zstd or page.encoding != encoding or not page.levels_are_runs:
            return None
        piece = data[page.start - start : page.stop - start]
        try:
            if zstandard.get_frame_parameters(piece).content_size != page.unfolded:
                return None
            found.append(_UNFOLDING.zstd.decompress(piece, allow_extra_data=False))
        except (zstandard.ZstdError, MemoryError):
            return None
    return found or None


def _bytes(unfolded: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(unfolded, np.uint8)


def _lists(
    pages: Sequence[Page], contents: list[bytes] | None, rows: int
) -> tuple[pa.Array, pa.Buffer] | None:
    """A column of lists of int32, and their offsets; None where a page is of another form."""
    if contents is None:
        return None
    count = sum(page.values for page in pages)
    values_buffer, offsets_buffer = pa.allocate_buffer(4 * count), pa.allocate_buffer(4 * (rows + 1))
    values, offsets = np.frombuffer(values_buffer, np.int32), np.frombuffer(offsets_buffer, np.int32)
    place = row = 0
    for page, content in zip(pages, contents, strict=True):
        split = page.encoding == SPLIT
        row = int(_lists_of_page(_bytes(content), page.values, split, place, row, values, offsets))
        if row < 0:
            return None
        place += page.values
    if row != rows:
        return None
    offsets[rows] = count
    return _array(pa.int32(), count, rows, values_buffer, offsets_buffer), offsets_buffer


def _array(kind: pa.DataType, count: int, rows: int, values: Any, offsets: Any) -> pa.Array:
    child = pa.Array.from_buffers(kind, count, [None, values], 0)
    return pa.Array.from_buffers(list_type(kind), rows, [None, offsets], 0, children=[child])


@inlined
def _uint32(data, at):
    """The little-endian number at data[at:at + 4], which must be there."""
    return (
        np.int64(data[at])
        | np.int64(data[at + 1]) << 8
        | np.int64(data[at + 2]) << 16
        | np.int64(data[at + 3]) << 24
    )


@kernel
def _lists_of_page(data, count, split, place, row, tokens, offsets):
    """Put a page's `count` values at tokens[place:] and where rows begin to offsets[row:].

    Returns the number of rows so far, or -1 where the page is of another form.
    """
    size = np.int64(len(data))
    values = size - 4 * count  # where they begin
    if values < 8 or place + count > len(tokens):
        return np.int64(-1)
    end = 4 + _uint32(data, 0)
    if end + 4 > values or end + 4 + _uint32(data, end) != values:
        return np.int64(-1)
    rows = np.int64(len(offsets) - 1)
    for definition in range(2):
        at, seen = np.int64(4), np.int64(0)
        if definition == 1:
            at, end = end + 4, values
        while seen < count:
            head, shift = np.int64(0), 0
            while True:
                if at >= end or shift > 28:
                    return np.int64(-1)
                byte = np.int64(data[at])
                at += 1
                head |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if head & 1:  # groups of eight levels, a byte each
                groups = head >> 1
                if groups == 0 or groups > end - at:
                    return np.int64(-1)
                for group in range(groups):
                    byte = np.int64(data[at + group])
                    here = min(np.int64(8), count - seen)
                    if here <= 0:
                        break
                    if byte != 255:
                        for bit in range(here):
                            if (byte >> bit) & 1 == 0:
                                if definition == 1 or row >= rows:
                                    return np.int64(-1)
                                offsets[row] = place + seen + bit
                                row += 1
                    seen += here
                at += groups
            else:  # a level so many times
                times = head >> 1
                if times == 0 or times > count - seen or at >= end:
                    return np.int64(-1)
                level = data[at]
                at += 1
                if level > 1:
                    return np.int64(-1)
                if level == 0:
                    if definition == 1 or times > rows - row:
                        return np.int64(-1)
                    for number in range(times):
                        offsets[row] = place + seen + number
                        row += 1
                seen += times
        if at != end or (definition == 0 and place == 0 and (row == 0 or offsets[0] != 0)):
            return np.int64(-1)
    # Views, so that no index can be below 0: only then is the loop vectorised.
    target, first = tokens[place : place + count], data[values:size]
    if split:
        first, second = data[values : values + count], data[values + count : values + 2 * count]
        third, fourth = data[values + 2 * count : values + 3 * count], data[values + 3 * count : size]
        for token in range(len(target)):
            target[token] = np.int32(
                np.uint32(first[token])
                | np.uint32(second[token]) << np.uint32(8)
                | np.uint32(third[token]) << np.uint32(16)
                | np.uint32(fourth[token]) << np.uint32(24)
            )
    else:
        for token in range(len(target)):
            target[token] = _uint32(first, 4 * token)
    return row


@kernel
def _masks_of_page(data, count, row, offsets, mask):
    """Put a page's `count` masks, of rows `row` and after, to where the tokens of these rows are.

    Returns the number of rows so far, or -1 where one is not as long as its tokens.
    """
    size, at = np.int64(len(data)), np.int64(0)
    if count > len(offsets) - 1 - row:
        return np.int64(-1)
    for _ in range(count):
        begin, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        length = end - begin
        if at + 4 > size or length < 0 or _uint32(data, at) != length or at + 4 + length > size:
            return np.int64(-1)
        source, target = data[at + 4 : at + 4 + length], mask[begin:end]
        for token in range(len(target)):
            target[token] = source[token]
        at += 4 + length
        row += 1
    return row if at == size else np.int64(-1)
