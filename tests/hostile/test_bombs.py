"""Row groups of some kilobytes that unfold to gigabytes: told before they do."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from attacks import (
    CONTENT,
    EVERY_FORMAT,
    LOAD,
    ROWS,
    build_small,
    fit,
    forge,
    groups_of,
    small,
    without_tails,
)
from harness.hostile import Case, ToldError, try_all

from ostraca.pipeline.corpus import changes
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.numbers import decode_numbers, encode_numbers
from ostraca.tasks.errors import OstracaError

UNFOLDED = 3 << 30
READERS = [LOAD, ROWS, CONTENT]
TOLD = frozenset(each.name for each in READERS)


@pytest.fixture
def peak() -> Iterator[None]:
    """At no time is there a tenth of what would unfold, of bytes and arrays; the bombs are made before."""
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < UNFOLDED // 10


def _frame(says_its_size: bool) -> bytes:
    """Zeros, made a piece at a time."""
    size = UNFOLDED if says_its_size else -1
    writer = zstandard.ZstdCompressor(level=1).compressobj(size)
    zeros = bytes(1 << 24)
    return b"".join(writer.compress(zeros) for _ in range(UNFOLDED // len(zeros))) + writer.flush()


def _first_group(frame: bytes, root: Path) -> None:
    """Another first row group in a compressed tar, which the manifest then describes."""
    manifest = read_manifest(root)
    record = manifest["splits"]["train"]["shards"][0]
    path = root / record["path"]
    ends = decode_numbers(record["group_ends"], 10**6)
    path.write_bytes(frame + path.read_bytes()[int(ends[0]) :])
    record["group_ends"] = encode_numbers(ends + (len(frame) - ends[0]))
    fit(manifest, record, path, "")
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.usefixtures("peak")
def test_compressed_tars(tmp_path: Path) -> None:
    built = build_small(tmp_path / "c", **EVERY_FORMAT["tar.zst"])
    root = without_tails(built, tmp_path / "old")
    cases = [
        Case(name=f"size said: {said}", damage=partial(_first_group, _frame(said)), told_by=TOLD)
        for said in (True, False)
    ]
    tracemalloc.start()
    try_all(root, cases, READERS, tmp_path / "trials").check()


def test_changes_of_more_examples_than_a_shard_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a shard that is told to have a billion examples, what unfolds is bounded all the same."""
    monkeypatch.setattr(changes, "MOST_CHANGES", 1_000)
    most, more = (str(Changes.dropping(np.arange(count))) for count in (1_000, 1_001))
    assert Changes.parse(most, 10**9).dropped == 1_000
    with pytest.raises(OstracaError, match="or of over 1,000"):
        Changes.parse(more, 10**9)


@pytest.mark.parametrize("tail", [True, False])
def test_parquet_rows_of_too_many_tokens(tail: bool, tmp_path: Path) -> None:
    """A list column holds a billion equal values in some kilobytes: they are counted before any is read.

    Here there are as many as are made in a moment.
    """
    root = small(tmp_path, tail)
    groups = groups_of(root)
    schema, rows, long = groups[1].schema, groups[1].num_rows, 1 << 14
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * long)
    columns = {name: groups[1].column(name) for name in schema.names}
    columns["loss_mask"] = pa.array([bytes(long)] * rows, pa.binary())
    for name in ("input_ids",) if tail else ("input_ids", "loss_mask"):
        kind = schema.field(name).type
        ones = pa.array(np.ones(rows * long, str(kind.value_type)))
        columns[name] = pa.ListArray.from_arrays(offsets, ones, type=kind)
    large = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
    forge(root, [groups[0], large, *groups[2:]])
    for reader in (LOAD, ROWS):
        with pytest.raises(OstracaError, match="values in a column, too many for"):
            reader.read(root, tmp_path / "out")
    with pytest.raises(ToldError, match="values in a column, too many for"):
        CONTENT.read(root, tmp_path / "out")
