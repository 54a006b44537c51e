"""Fingerprints of examples, and the files in which a build keeps them until it is done."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.core.mixing import content_key
from ....tasks.examples import batch_rows
from ...corpus.fingerprint import token_fingerprints
from ...corpus.split import Split
from ...store.folder import Folder
from .sections import read_offsets, read_records, sections_size, write_sections

RANGE_BITS = 12  # a file can be read by 2^12 ranges of the fingerprints' first word
_RANGES = 1 << RANGE_BITS
_RECORD = np.dtype([("prints", "<u8", (2,)), ("place", "<i8")])


def fingerprints(split: Split, batch: pa.RecordBatch, key: str | None = None) -> NDArray[np.uint64]:
    """uint64 [rows, 2] of examples with published ids: equal where two are the same by `key`.

    key: tokens or content (None: the spec's).
    """
    key = split.spec["dedup"]["key"] if key is None else key
    if key == "content" and split.task.content is not None:
        return split.task.content(batch, split.config)
    # Two tasks mean different things by the same ids.
    return token_fingerprints(batch) ^ content_key(split.task.name)


def draw_prints(split: Split, indices: NDArray[np.int64], attempt: int) -> NDArray[np.uint64]:
    """uint64 [n, 2]: the fingerprints of attempt `attempt` of the examples at `indices` of a split."""
    draws = draws_with_prints(split, indices, attempt)
    return np.concatenate([np.zeros((0, 2), np.uint64), *(prints for _, prints in draws)])


def draws_with_prints(
    split: Split, indices: NDArray[np.int64], attempt: int = 0
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.uint64]]]:
    """Batches of these examples, not checked, with published ids; and their fingerprints uint64 [rows, 2]."""
    key, step = split.key(attempt), batch_rows(split.task, split.config)
    for start in range(0, len(indices), step):
        batch = split.task.generate(split.config, key, indices[start : start + step])
        yield batch, fingerprints(split, batch)


def write_prints(folder: Folder, path: str, prints: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    """Write fingerprints uint64 [n, 2] and the places int64 [n] (ascending) of their examples in a shard."""
    order = np.argsort(prints[:, 0], kind="stable")
    records = np.empty(len(prints), _RECORD)
    records["prints"], records["place"] = prints[order], places[order]
    bounds = np.arange(1, _RANGES, dtype=np.uint64) << np.uint64(64 - RANGE_BITS)
    offsets = np.empty(_RANGES + 1, np.int64)
    offsets[0], offsets[-1] = 0, len(prints)
    offsets[1:-1] = np.searchsorted(records["prints"][:, 0], bounds)
    write_sections(folder, path, offsets, records)


def prints_size(count: int) -> int:
    """Bytes of a file of `count` fingerprints."""
    return sections_size(_RANGES, count, _RECORD)


def read_prints(
    folder: Folder, path: str, first: int, last: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The fingerprints of ranges first..last-1, and their places; equal ones by ascending place."""
    records = read_records(folder, path, _RANGES, read_offsets(folder, path, first, last), _RECORD)
    return np.ascontiguousarray(records["prints"]), np.ascontiguousarray(records["place"])
