"""Ragged columns, and labels beside them."""

from __future__ import annotations

import itertools

import numpy as np
from facts import FACTS

from ostraca.tasks.core.batch import labels_of, ragged, rows_of, unragged, with_labels


def test_ragged_arrays_wrap_without_a_copy() -> None:
    values, offsets = np.arange(10, dtype=np.int32), np.array([0, 3, 3, 10], np.int32)
    array = ragged(values, offsets)
    assert array.to_pylist() == [[0, 1, 2], [], [3, 4, 5, 6, 7, 8, 9]]
    back, back_offsets = unragged(array)
    assert back.ctypes.data == values.ctypes.data
    assert back_offsets.ctypes.data == offsets.ctypes.data


def test_slices_of_ragged_arrays_keep_their_place() -> None:
    values, offsets = np.arange(10, dtype=np.int32), np.array([0, 3, 3, 7, 10], np.int32)
    for begin in range(5):
        for end in range(begin, 5):
            part = ragged(values, offsets).slice(begin, end - begin)
            given, first = unragged(part)
            assert first.tolist() == offsets[begin : end + 1].tolist()
            rows = [given[a:b].tolist() for a, b in itertools.pairwise(first)]
            assert rows == part.to_pylist()


def test_labels_of_slices_and_of_nothing() -> None:
    """Tokens and mask of a slice start at their own offsets."""
    _, batch = FACTS["depo"].make({"N": 9}, 9)
    expected = [row["labels"] for row in rows_of(with_labels(batch))]
    for begin in range(10):
        assert labels_of(batch.slice(begin, 3)).to_pylist() == expected[begin : begin + 3]
    assert with_labels(batch).schema.names == list(FACTS["depo"].columns)
