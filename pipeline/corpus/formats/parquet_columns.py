"""A column of rows as the bytes of Parquet pages, before they are compressed.

Of lists, a page has the repetition levels (0 where a row begins, 1 else), the definition levels (0 where a
row is empty, 1 else), each as runs with their number of bytes before them, then the values. Of texts and
masks it has for each row its number of bytes, and these; of numbers just these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....tasks.core.batch import unragged
from ....tasks.core.kernels import inlined, kernel
from .parquet_pages import PLAIN, SPLIT

_INT32, _INT64, _BYTES = 1, 2, 6  # what Parquet calls physical types
_NUMBERS = {pa.int32(): _INT32, pa.int64(): _INT64}
PAGE_BYTES = 1 << 20  # about, before they are compressed
_SHORT_ROWS = 64  # values of a row, on average, below which a bit a value is less than two runs a row
_MOST_BYTES_OF_A_BOUND = 4096  # a longer text is not put into the footer as the least or greatest one


@dataclass(frozen=True, kw_only=True)
class Column:
    """How a column stands in a file."""

    path: tuple[str, ...]
    physical: int
    encoding: int = PLAIN
    is_list: bool = False


def column_in_file(field: pa.Field, split: bool) -> Column | None:
    """How a column is written; None where it is of a type that is not known here.

    split: its numbers byte by byte, all first bytes, all second, ...
    """
    if field.nullable:
        return None
    if field.type in _NUMBERS:
        return Column(path=(field.name,), physical=_NUMBERS[field.type])
    if field.type in (pa.binary(), pa.string()):
        return Column(path=(field.name,), physical=_BYTES)
    if not pa.types.is_list(field.type) or field.type.value_field.nullable:
        return None
    element = field.type.value_field
    if element.type not in _NUMBERS or (split and element.type != pa.int32()):
        return None
    return Column(
        path=(field.name, "list", element.name),
        physical=_NUMBERS[element.type],
        encoding=SPLIT if split else PLAIN,
        is_list=True,
    )


class Scratch:
    """Memory that a page is put together in, again and again."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """At least so many bytes, whatever they are."""
        if len(self._memory) < size:
            self._memory = np.empty(size + size // 4, np.uint8)
        return self._memory


def pages(column: Column, array: pa.Array, scratch: Scratch) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The pages of a column: how many values each has, and its bytes, which are good until the next one.

    A page ends with a row; one without any is there where there are no rows.
    """
    if column.is_list:
        return _list_pages(column, array, scratch)
    if column.physical == _BYTES:
        return _byte_pages(array, scratch)
    return _number_pages(array)


def _number_pages(array: pa.Array) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    numbers = array.to_numpy(zero_copy_only=True)
    size = PAGE_BYTES // numbers.itemsize
    for first in range(0, max(len(numbers), 1), size):
        yield len(numbers[first : first + size]), numbers[first : first + size].view(np.uint8)


def _byte_pages(array: pa.Array, scratch: Scratch) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    buffer = array.buffers()[2]
    data = np.frombuffer(b"" if buffer is None else buffer, np.uint8)
    for first, stop in _rows_of_pages(offsets, 1, 4):
        own = offsets[first : stop + 1]
        page = scratch.of(int(own[-1] - own[0]) + 4 * (stop - first))
        yield stop - first, page[: _put_bytes(own, data, page)]


def _list_pages(
    column: Column, array: pa.ListArray, scratch: Scratch
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    values, offsets = unragged(array)
    for first, stop in _rows_of_pages(offsets, values.itemsize, 0):
        own = offsets[first : stop + 1]
        here = values[own[0] : own[-1]]
        rows, empty = stop - first, int((own[1:] == own[:-1]).sum())
        levels = len(here) + empty
        page = scratch.of(here.nbytes + levels // 4 + 14 * rows + 64)
        at = _put_levels(own, levels, len(here) < _SHORT_ROWS * rows, empty > 0, page)
        if column.encoding == SPLIT:
            _put_split(here, page[at : at + here.nbytes])
        else:
            page[at : at + here.nbytes] = here.view(np.uint8)
        yield levels, page[: at + here.nbytes]


def _rows_of_pages(offsets: NDArray[np.int32], size: int, own: int) -> Iterator[tuple[int, int]]:
    """The rows of each page, first and behind the last. size: bytes of a value; own: of a row."""
    rows = len(offsets) - 1
    ends = offsets.astype(np.int64) * size + np.arange(rows + 1) * own
    first = 0
    while first < max(rows, 1):
        stop = int(np.searchsorted(ends, ends[first] + PAGE_BYTES, side="right")) - 1
        stop = min(max(stop, first + 1), rows)
        yield first, stop
        first = max(stop, 1)


def bounds(column: Column, array: pa.Array) -> tuple[bytes, bytes] | None:
    """The least and the greatest value, as they stand in a footer; None where none is, or one is long."""
    if column.physical == _BYTES:
        if not len(array):
            return None
        found = pc.min_max(array.cast(pa.binary())).as_py()
        least, most = found["min"], found["max"]
        return (least, most) if max(len(least), len(most)) <= _MOST_BYTES_OF_A_BOUND else None
    if column.is_list:
        values, offsets = unragged(array)
        values = values[offsets[0] : offsets[-1]]
    else:
        values = array.to_numpy(zero_copy_only=True)
    return (values.min().tobytes(), values.max().tobytes()) if len(values) else None


@inlined
def _put_uint32(value, page, at):
    for byte in range(4):
        page[at + byte] = (value >> (8 * byte)) & 255


@inlined
def _put_varint(value, page, at):
    while value > 127:
        page[at] = value & 127 | 128
        at += 1
        value >>= 7
    page[at] = value
    return at + 1


@inlined
def _put_bits(offsets, levels, of_empty, page, at):
    """A bit for each level at `at`, as one run: 0 where a row begins (of_empty: is empty), else 1."""
    size = (levels + 7) // 8
    at = _put_varint(np.int64(size) << 1 | 1, page, at)
    for byte in range(at, at + size):
        page[byte] = 255
    place = np.int64(0)
    for row in range(len(offsets) - 1):
        count = np.int64(offsets[row + 1] - offsets[row])
        if count == 0 or not of_empty:
            page[at + place // 8] &= 255 ^ (1 << (place & 7))
        place += max(count, np.int64(1))
    if levels & 7:
        page[at + size - 1] &= (1 << (levels & 7)) - 1
    return at + size


@kernel
def _put_levels(offsets, levels, packed, empty, page):
    """Put the levels of lists with these offsets at the start of a page; returns how many bytes they take.

    levels: how many of each. packed: a bit for each, else runs. empty: whether a list is.
    """
    begin = np.int64(4)
    at = begin
    if packed:
        at = _put_bits(offsets, levels, False, page, at)
    else:
        for row in range(len(offsets) - 1):
            page[at] = 2  # one value:
            page[at + 1] = 0
            at += 2
            more = np.int64(offsets[row + 1] - offsets[row]) - 1
            if more > 0:
                at = _put_varint(more << 1, page, at)
                page[at] = 1
                at += 1
    _put_uint32(at - begin, page, begin - 4)
    begin = at + 4
    at = begin
    if empty:
        at = _put_bits(offsets, levels, True, page, at)
    elif levels > 0:
        at = _put_varint(np.int64(levels) << 1, page, at)
        page[at] = 1
        at += 1
    _put_uint32(at - begin, page, begin - 4)
    return at


@kernel
def _put_split(values, page):
    """Put int32 values to a page byte by byte: the first bytes of all of them, the second, ..."""
    count = len(values)
    # A loop for each, over a view: only then are they vectorised.
    for byte in range(4):
        plane = page[byte * count : (byte + 1) * count]
        shift = np.int32(8 * byte)
        for place in range(len(plane)):
            plane[place] = np.uint8((values[place] >> shift) & np.int32(255))


@kernel
def _put_bytes(offsets, data, page):
    """Put texts to a page, each behind its number of bytes; returns how many bytes they take."""
    at = np.int64(0)
    for row in range(len(offsets) - 1):
        begin, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        _put_uint32(end - begin, page, at)
        source, target = data[begin:end], page[at + 4 : at + 4 + end - begin]
        for byte in range(len(target)):
            target[byte] = source[byte]
        at += 4 + end - begin
    return at
