"""What a Parquet row group will unfold to, read from the footer's bytes and the headers of its pages.

pyarrow ends the process where a column of a damaged footer is looked at, and nothing bounds a page before it
is unfolded. So the few numbers that matter are read here, and strictly: fields ascend, as every writer writes
them, so that pyarrow finds no other meaning in the same bytes.

The form is Thrift's compact protocol; fields have the numbers of the format's `parquet.thrift`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ....tasks.errors import OstracaError

# What is read of a struct: field -> int, a struct's own fields, or [those of a list's structs].
_Fields = Mapping[int, Any]
_COLUMN: _Fields = dict.fromkeys((4, 5, 7, 9, 11), int)  # codec, values, bytes, first data page, dictionary
_FOOTER: _Fields = {4: [{1: [{3: _COLUMN}]}]}  # row groups, their columns, what is known of one
# Kind, unfolded, bytes; values, encoding, encodings of the levels.
_PAGE: _Fields = {1: int, 2: int, 3: int, 5: dict.fromkeys((1, 2, 3, 4), int)}
MALFORMED = "its Parquet footer is malformed"
DATA_PAGE = 0
# What these unfold to is as large as the page: a text or mask has 4 bytes for its length there, 4 in memory.
PLAIN, SPLIT = 0, 9
_ENCODINGS = (PLAIN, SPLIT)
RUNS, ZSTD = 3, 6  # an encoding of levels, a codec
_MORE_VALUES = 64  # that a row's list may have beyond the row's tokens
_MOST_BYTES = 16  # of a value: 8, and what tells where lists begin
_DEEPEST = 16  # structs in one another: a footer's are 6 deep
_BYTE, _DOUBLE, _BINARY, _LISTS, _STRUCT = 3, 7, 8, (9, 10), 12
_BOOLS, _INTEGERS = (1, 2), (4, 5, 6)


class _File(Protocol):
    def seek(self, offset: int, /) -> object: ...
    def read(self, size: int, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group: all values that are told of it, and where its pages lie in the file."""

    values: int
    start: int
    stop: int
    zstd: bool  # whether its pages are compressed so


@dataclass(frozen=True, slots=True)
class Page:
    """What the header of a data page says, and where in the file its bytes lie."""

    values: int
    encoding: int
    levels_are_runs: bool
    zstd: bool
    unfolded: int
    start: int
    stop: int


class _MalformedError(Exception):
    """Not as anything writes it."""


def chunks_of(footer: Any) -> list[list[Chunk]]:
    """The columns of each row group, by a footer's bytes; OstracaError where it is malformed."""
    try:
        groups = _struct(footer, 0, _FOOTER)[0][4]
        return [[_chunk(column[3]) for column in group[1]] for group in groups]
    except (_MalformedError, IndexError, KeyError):
        raise OstracaError(MALFORMED) from None


def _chunk(column: Mapping[int, int]) -> Chunk:
    if 11 in column:  # pyarrow begins with a dictionary that is told of, wherever it lies
        raise OstracaError("has a dictionary in a column, and ostraca writes none")
    return Chunk(values=column[5], start=column[9], stop=column[9] + column[7], zstd=column[4] == ZSTD)


def check_pages(file: _File, size: int, chunks: Sequence[Chunk], rows: int, longest: int) -> list[list[Page]]:
    """The pages of columns; OstracaError where one has more values or bytes than these rows can, or it tells.

    size: the file's. longest: no row has more tokens, or bytes of text.
    """
    most, found = rows * (longest + _MORE_VALUES), []
    for chunk in chunks:
        if chunk.values > most:
            raise OstracaError(f"has {chunk.values:,} values in a column, too many for {rows:,} rows")
        if not 0 <= chunk.start <= chunk.stop <= size:
            raise OstracaError(MALFORMED)
        file.seek(chunk.start)
        try:
            pages = _pages(file.read(chunk.stop - chunk.start), chunk)
        except (_MalformedError, IndexError, KeyError):
            raise OstracaError("a Parquet page's header is malformed") from None
        values, unfolded = sum(page.values for page in pages), sum(page.unfolded for page in pages)
        if values != chunk.values:
            raise OstracaError(f"a column's pages have {values:,} values, its footer says {chunk.values:,}")
        if unfolded > _MOST_BYTES * most:
            raise OstracaError(f"a column would unfold to {unfolded:,} bytes, too many for {rows:,} rows")
        found.append(pages)
    return found


def _pages(data: Any, chunk: Chunk) -> list[Page]:
    """The pages of a column with these bytes."""
    at, pages = 0, []
    while at < len(data):
        page, at = _struct(data, at, _PAGE)
        unfolded, size, told = page[2], page[3], page[5]
        if page[1] != DATA_PAGE or told[2] not in _ENCODINGS or min(unfolded, size, told[1]) < 0:
            raise _MalformedError
        pages.append(
            Page(
                values=told[1],
                encoding=told[2],
                levels_are_runs=told.get(3) == told.get(4) == RUNS,
                zstd=chunk.zstd,
                unfolded=unfolded,
                start=chunk.start + at,
                stop=chunk.start + at + size,
            )
        )
        at += size
    if at != len(data):
        raise _MalformedError
    return pages


def _struct(data: Any, at: int, wanted: _Fields, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The wanted fields of the struct at `at`, and where it ends."""
    if depth > _DEEPEST:
        raise _MalformedError
    fields: dict[int, Any] = {}
    field = 0
    while head := data[at]:
        at += 1
        kind, step = head & 15, head >> 4
        if not step:
            step, at = _integer(data, at)
            step -= field
        if step < 1:
            raise _MalformedError
        field += step
        want = wanted.get(field)
        if want is None:
            at = _after(data, at, kind, depth)
        elif want is int and kind in _INTEGERS:
            fields[field], at = _integer(data, at)
        elif isinstance(want, dict) and kind == _STRUCT:
            fields[field], at = _struct(data, at, want, depth + 1)
        elif isinstance(want, list) and kind == _LISTS[0]:
            count, kind, at = _list(data, at)
            if kind != _STRUCT:
                raise _MalformedError
            fields[field] = items = []
            for _ in range(count):
                one, at = _struct(data, at, want[0], depth + 1)
                items.append(one)
        else:
            raise _MalformedError
    return fields, at + 1


def fields_of(data: bytes) -> list[tuple[int, int, int]]:
    """The fields of the struct that `data` is: their numbers, and where each value begins and ends."""
    found, at, field = [], 0, 0
    while head := data[at]:
        field += head >> 4
        stop = _after(data, at + 1, head & 15, 0)
        found.append((field, at + 1, stop))
        at = stop
    return found


def _after(data: Any, at: int, kind: int, depth: int) -> int:
    """Where a field's value ends that is not wanted."""
    if depth > _DEEPEST:
        raise _MalformedError
    if kind in _INTEGERS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind in _BOOLS:
        return at
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == _STRUCT:
        return _struct(data, at, {}, depth + 1)[1]
    if kind in _LISTS:
        count, kind, at = _list(data, at)
        for _ in range(count):
            at = at + 1 if kind in _BOOLS else _after(data, at, kind, depth + 1)
        return at
    if kind == _BYTE:
        return at + 1
    if kind == _DOUBLE:
        return at + 8
    raise _MalformedError  # a map among them: the format has none


def _list(data: Any, at: int) -> tuple[int, int, int]:
    """How many elements a list has, their kind, and where they begin; each takes a byte at least."""
    count, kind = data[at] >> 4, data[at] & 15
    at += 1
    if count == 15:
        count, at = _varint(data, at)
    if count > len(data) - at:
        raise _MalformedError
    return count, kind, at


def _integer(data: Any, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = data[at] & 127
    shift = 7
    while data[at] > 127:
        at += 1
        if shift > 63:
            raise _MalformedError
        value |= (data[at] & 127) << shift
        shift += 7
    return value, at + 1
