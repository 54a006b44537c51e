"""Chunks of samples, as MDS and litData have them."""

from __future__ import annotations

import struct
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.exports import mds_array

from ostraca.pipeline.export import mds
from ostraca.pipeline.export.base import TokenRows
from ostraca.pipeline.export.chunked import Samples, cut


def samples_of(sizes: list[int]) -> Samples:
    """Samples of these sizes, filled with numbers that go on."""
    return Samples(data=(np.arange(sum(sizes)) % 251).astype(np.uint8), sizes=np.array(sizes, dtype=np.int64))


@given(
    sizes=st.lists(st.integers(0, 60), max_size=60),
    limit=st.integers(1, 200),
    empty=st.integers(0, 30),
    extra=st.integers(0, 9),
    batch=st.integers(1, 70),
)
def test_a_chunk_is_as_full_as_it_may_be(
    sizes: list[int], limit: int, empty: int, extra: int, batch: int
) -> None:
    """Against a loop over samples; whatever the batches, nothing is lost, moved or made twice."""
    expected: list[list[int]] = []
    for size in sizes:
        cost = empty + sum(each + extra for each in expected[-1]) if expected else limit
        if cost + size + extra > limit or not expected:
            expected.append([])
        expected[-1].append(size)
    whole = samples_of(sizes)
    ends = np.concatenate([[0], np.cumsum(whole.sizes)])
    batches = [
        Samples(
            data=whole.data[ends[first] : ends[min(first + batch, len(sizes))]],
            sizes=whole.sizes[first : first + batch],
        )
        for first in range(0, len(sizes), batch)
    ]
    chunks = list(cut(batches, limit, empty=empty, extra=extra))
    assert [list(chain(*(part.sizes.tolist() for part in chunk))) for chunk in chunks] == expected
    parts = [part for chunk in chunks for part in chunk]
    assert all(len(part.data) == part.sizes.sum() for part in parts)
    assert b"".join(part.data.tobytes() for part in parts) == whole.data.tobytes()


@pytest.mark.parametrize("length", [1, 255, 256, 65_535, 65_536])
def test_mds_writes_a_length_in_as_few_bytes_as_hold_it(length: int) -> None:
    ids, mask = np.arange(length, dtype="<i4"), np.ones(length, dtype=np.uint8)
    lengths = np.array([length], dtype=np.int64)
    data = mds._samples(TokenRows(tokens=ids, mask=mask, lengths=lengths)).data.tobytes()
    first, second = struct.unpack_from("<2I", data)
    assert mds_array(data[8 : 8 + first], "uint8") == mask.tolist()
    assert mds_array(data[8 + first :], "int32") == ids.tolist()
    assert len(data) == 8 + first + second
