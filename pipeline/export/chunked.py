"""What MDS shards and litData chunks have in common: samples behind a table of where each begins.

A chunk is a file: uint32 samples; uint32 [samples + 1] offsets from its first byte on, where each sample
begins and the last one ends; a header of the format's own; the samples. All little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..store.atomic import HashingFile


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Encoded rows, end to end."""

    data: NDArray[np.uint8]  # [bytes]
    sizes: NDArray[np.int64]  # [rows], in bytes


def fields(values: NDArray[Any], lengths: NDArray[np.int64] | None = None) -> pa.Array:
    """The bytes of a field of every row: large_binary [rows].

    values: [values], lengths [rows] of them to a row; or [rows, n] without lengths. Nothing is copied.
    """
    counts = np.full(len(values), values[:1].size) if lengths is None else lengths
    ends = np.cumsum(counts * values.itemsize)
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    data = np.ascontiguousarray(values)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(counts), buffers)


def joined(*columns: pa.Array) -> Samples:
    """Samples that hold the fields of a row one after the other."""
    array = pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.large_binary()))
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64, count=len(array) + 1)
    return Samples(data=np.frombuffer(data, dtype=np.uint8, count=ends[-1]), sizes=ends[1:] - ends[:-1])


def cut(batches: Iterable[Samples], limit: int, *, empty: int = 0, extra: int = 0) -> Iterator[list[Samples]]:
    """The samples of a chunk at a time: as many as come to at most `limit` bytes, and at least one.

    A chunk counts as `empty` bytes, and as `extra` more than its size for each sample. The cuts do not
    depend on the batches. What a chunk holds is in memory until it is taken.
    """
    chunk: list[Samples] = []
    size = empty
    for batch in batches:
        costs = np.concatenate([[0], np.cumsum(batch.sizes + extra)])
        places = np.concatenate([[0], np.cumsum(batch.sizes)])
        first = 0
        while first < len(batch.sizes):
            fits = np.searchsorted(costs, limit - size + costs[first], side="right") - 1
            stop = max(int(fits), first if chunk else first + 1)
            if stop > first:
                part = batch.data[places[first] : places[stop]]
                chunk.append(Samples(data=part, sizes=batch.sizes[first:stop]))
                size += int(costs[stop] - costs[first])
            if stop < len(batch.sizes):
                yield chunk
                chunk, size = [], empty
            first = stop
    if chunk:
        yield chunk


def write_chunk(file: HashingFile, chunk: list[Samples], header: bytes = b"") -> int:
    """Write a chunk; the number of its samples."""
    sizes = np.concatenate([part.sizes for part in chunk])
    begin = 4 * (len(sizes) + 2) + len(header)
    offsets = begin + np.concatenate([[0], np.cumsum(sizes)])
    assert offsets[-1] < 1 << 32
    file.write(np.uint32(len(sizes)).astype("<u4").tobytes())
    file.write(offsets.astype("<u4").data)
    file.write(header)
    for part in chunk:
        file.write(part.data.data)
    return len(sizes)
