"""Integer columns, and columns of lists of them, as one compact JSON object a row, in bulk and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.core.batch import unragged
from ....tasks.core.kernels import inlined, kernel

_LONGEST = 20  # characters of an int64


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of the objects: sorted keys, and the text between the values."""

    names: tuple[str, ...]  # of the columns, sorted
    is_list: NDArray[np.uint8]  # [columns]
    text: NDArray[np.uint8]
    text_ends: NDArray[np.int64]  # [columns + 2]: text[text_ends[c]:text_ends[c + 1]] stands before column c

    @staticmethod
    def of(fields: list[pa.Field], constants: Mapping[str, int]) -> Form:
        """The form of objects of some columns and of keys that have the same value in all of them."""
        columns = {field.name: field for field in fields}
        pieces, piece, names = [], "{", []
        for place, name in enumerate(sorted({*columns, *constants})):
            piece += f"{',' if place else ''}{json.dumps(name)}:"
            if name in columns:
                names.append(name)
                pieces.append(piece.encode())
                piece = ""
            else:
                piece += str(constants[name])
        pieces.append(f"{piece}}}".encode())
        return Form(
            names=tuple(names),
            is_list=np.array([pa.types.is_list(columns[name].type) for name in names], dtype=np.uint8),
            text=np.frombuffer(b"".join(pieces), dtype=np.uint8),
            text_ends=np.cumsum([0, *map(len, pieces)], dtype=np.int64),
        )

    def write(self, batch: pa.RecordBatch) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The rows as JSON: row r's bytes are bytes[ends[r]:ends[r + 1]]."""
        rows = batch.num_rows
        values, offsets, base = [], np.empty((len(self.names), rows + 1), dtype=np.int64), 0
        for column, name in enumerate(self.names):
            array = batch.column(name)
            if self.is_list[column]:
                elements, list_offsets = unragged(array)
                elements = elements[list_offsets[0] : list_offsets[-1]]
                offsets[column] = list_offsets
                offsets[column] += base - int(list_offsets[0])
            else:
                elements = array.to_numpy()
                offsets[column] = np.arange(base, base + rows + 1)
            values.append(elements.astype(np.int64))
            base += len(elements)
        flat = np.concatenate([*values, np.empty(0, dtype=np.int64)])
        longest = rows * (len(self.text) + 2 * len(self.names)) + (_LONGEST + 1) * len(flat)
        out, ends = np.empty(longest, dtype=np.uint8), np.zeros(rows + 1, dtype=np.int64)
        _write_objects(out, ends, flat, offsets, self.is_list, self.text, self.text_ends)
        return out[: ends[-1]], ends

    def read(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The values, and how many of them a row has, of every column, from the objects in `data`.

        It takes the form for granted and never leaves the objects: other text gives other values.
        """
        shape = (len(self.names), len(starts))
        values = np.empty(int(sizes.sum()) + shape[0] * shape[1], dtype=np.int64)
        firsts, counts = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
        _read_objects(data, starts, sizes, self.is_list, self.text_ends, values, firsts, counts)
        columns = {}
        for name, first, count in zip(self.names, firsts, counts, strict=True):
            before = np.cumsum(count) - count
            columns[name] = values[np.arange(int(count.sum())) + np.repeat(first - before, count)], count
        return columns


@inlined
def _decimal(out, place, number):
    """Write a number at `place`; returns where it ends."""
    rest = np.uint64(number)
    if number < 0:
        out[place] = 45
        place += 1
        rest = np.uint64(-(number + 1)) + np.uint64(1)
    digits, bound = 1, np.uint64(10)
    while digits < 20 and rest >= bound:
        digits += 1
        bound *= np.uint64(10)
    for back in range(digits):
        out[place + digits - 1 - back] = np.int64(rest % np.uint64(10)) + 48
        rest //= np.uint64(10)
    return place + digits


@kernel
def _write_objects(out, ends, values, offsets, is_list, text, text_ends):
    """Write an object a row; row r's value in column c is values[offsets[c, r]:offsets[c, r + 1]]."""
    place = 0
    columns = len(is_list)
    for row in range(len(ends) - 1):
        for column in range(columns):
            for byte in range(text_ends[column], text_ends[column + 1]):
                out[place] = text[byte]
                place += 1
            if is_list[column]:
                out[place] = 91
                place += 1
            first = offsets[column, row]
            for value in range(first, offsets[column, row + 1]):
                if value > first:
                    out[place] = 44
                    place += 1
                place = _decimal(out, place, values[value])
            if is_list[column]:
                out[place] = 93
                place += 1
        for byte in range(text_ends[columns], text_ends[columns + 1]):
            out[place] = text[byte]
            place += 1
        ends[row + 1] = place


@kernel
def _read_objects(data, starts, sizes, is_list, text_ends, values, firsts, counts):
    """Fill in the values row by row, and for every [column, row] the place and number of its values."""
    used = 0
    for row in range(len(starts)):
        place, end = starts[row], starts[row] + sizes[row]
        for column in range(len(is_list)):
            place += text_ends[column + 1] - text_ends[column]
            firsts[column, row] = used
            more = True
            if is_list[column]:
                place += 1
                more = place < end and data[place] != 93
            while more:
                negative = place < end and data[place] == 45
                if negative:
                    place += 1
                number = np.int64(0)
                while place < end and 48 <= data[place] <= 57:
                    number = number * np.int64(10) - (np.int64(data[place]) - np.int64(48))
                    place += 1
                values[used] = number if negative else -number
                used += 1
                more = is_list[column] != 0 and place < end and data[place] == 44
                if more:
                    place += 1
            counts[column, row] = used - firsts[column, row]
            if is_list[column]:
                place += 1
