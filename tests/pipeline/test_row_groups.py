"""Row groups in a shard's file: all bytes are below the manifest, and everybody still reads the file."""

from __future__ import annotations

import gc
import hashlib
import itertools
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ostraca.loaders import CorpusSource
from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.formats.webdataset import table_of
from ostraca.pipeline.corpus.manifest import read_manifest, records_of, spec_in
from ostraca.pipeline.corpus.numbers import encode_numbers
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.row_groups import TABLE, RowGroups, Tail
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.store.remote import RemoteFolder
from ostraca.tasks.errors import OstracaError

Maker = Callable[..., dict[str, Any]]
FORMATS: dict[str, dict[str, Any]] = {
    "parquet": {},
    "tar": {"format": "webdataset"},
    "tar.zst": {"format": "webdataset", "compression": "zstd", "pack": {"length": 256}},
}


@pytest.fixture(scope="module", params=FORMATS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of each format; tests must not change it."""
    from conftest import make_spec

    root = tmp_path_factory.mktemp("groups") / "c"
    build(make_spec(train=500, test=30, shard_tokens=12_000, **FORMATS[request.param]), root, engine="local")
    return root


def test_every_byte_is_below_the_manifest(built: Path) -> None:
    """hashlib and the pieces between the table's ends, nothing else."""
    for _, record in records_of(read_manifest(built)):
        path = built / record["path"]
        data = path.read_bytes()
        start, digest = record["tail"].split(":")
        tail = data[int(start) :]
        assert hashlib.sha256(tail).hexdigest()[:32] == digest
        if path.suffix == ".parquet":
            text = pq.read_metadata(path).metadata[TABLE.encode()].decode()
        else:
            text = table_of(tail, TABLE)
        table = RowGroups.parse(text, int(start))
        assert table.rows.sum() == record["rows"]
        assert table.ends[-1] == int(start)
        bounds = [0, *table.ends.tolist()]
        pieces = [data[a:b] for a, b in itertools.pairwise(bounds)]
        assert b"".join(pieces) + tail == data
        wanted = [hashlib.sha256(piece).digest()[:16] for piece in pieces]
        assert [row.tobytes() for row in table.digests] == wanted


def tars(root: Path) -> list[Path]:
    return sorted(root.rglob("train-*.tar*"))


def test_tars_list_what_they_did(built: Path) -> None:
    """GNU tar sees no member and no error more; in blocks of 512 bytes, as POSIX asks."""
    for path in tars(built):
        tar = path.read_bytes()
        if path.suffix == ".zst":
            tar = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
        assert len(tar) % 512 == 0
        done = subprocess.run(["tar", "-tf", "-"], input=tar, capture_output=True, check=True)
        assert done.stderr == b""
        names = done.stdout.decode().splitlines()
        assert names
        assert all(name[:12].isdigit() for name in names)


# The library leaves what it reads to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
def test_the_webdataset_library_reads_tars_with_a_table(built: Path) -> None:
    webdataset = pytest.importorskip("webdataset")

    urls = [f"pipe:zstd -dc {path}" if path.suffix == ".zst" else str(path) for path in tars(built)]
    if urls:
        rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
        sizes = [record["rows"] for split, record in records_of(read_manifest(built)) if split == "train"]
        assert len(rows) == sum(sizes)
        assert all({"__key__", "input_ids.npy", "meta.json"} <= row.keys() for row in rows)
    gc.collect()


def test_a_row_group_is_one_request_and_a_tail_one_more(
    spec: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = build(spec(train=900), "memory://row-groups/c", engine="local", workers=1)
    asked: Counter[str] = Counter()
    real = RemoteFolder._once

    def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        asked[method] += 1
        return real(self, method, *arguments, **options)

    root = "memory://row-groups/c"
    reader = split_reader(root, manifest, Split.of(spec_in(root, manifest), "small", "train"))
    groups = sum(map(len, reader.group_rows))
    shards = len(reader.records)
    assert groups > 2 * shards > 4
    monkeypatch.setattr(RemoteFolder, "_once", counted)
    assert sum(batch.num_rows for _, batch in reader.batches(["input_ids", "loss_mask"])) == 900
    assert asked == {"info": shards, "cat_file": shards + groups}


@pytest.mark.parametrize(
    "text", ["", "x", "5", "5:", f"-1:{'0' * 32}", f"05:{'0' * 32}", f"5:{'0' * 30}", f"5:{'G' * 32}"]
)
def test_a_tail_that_is_none(text: str) -> None:
    with pytest.raises(OstracaError, match="not as ostraca writes it"):
        Tail.parse(text)
    assert str(Tail.parse(f"5:{'0' * 32}")) == f"5:{'0' * 32}"


def test_a_table_that_is_none() -> None:
    digests = np.arange(48, dtype=np.uint8).reshape(3, 16)
    table = RowGroups(
        ends=np.array([10, 25, 25]), rows=np.array([3, 4, 0]), tokens=np.array([30, 44, 0]), digests=digests
    )
    again = RowGroups.parse(str(table), 25)
    assert np.array_equal(again.ends, table.ends)
    assert np.array_equal(again.rows, table.rows)
    assert again.tokens is not None
    assert again.tokens.tolist() == [30, 44, 0]
    old = RowGroups.parse(str(replace(table, tokens=None)), 25)
    assert old.tokens is None
    assert np.array_equal(old.rows, table.rows)
    assert np.array_equal(again.digests, table.digests)
    assert [again.span(group) for group in range(3)] == [(0, 10), (10, 25), (25, 25)]
    ends, rows, tokens, own = str(table).split(" ")
    falling = str(replace(table, ends=np.array([25, 10, 25])))
    for text, tail in [
        (str(table), 26),
        (falling, 25),
        ("", 25),
        (f"{ends} {rows}", 25),
        (f"{ends} {rows} {own[:-5]}", 25),
        (f"{ends} {encode_numbers(table.rows[:2])} {own}", 25),
        (f"{ends} {rows} {own} ", 25),
        (f"{ends} {rows} {encode_numbers(table.rows[:2])} {own}", 25),
        (f"{ends} {rows} {tokens} {tokens} {own}", 25),
        (f"{ends} {own}", 25),
        (f"{rows} {ends} {own}", 25),
    ]:
        with pytest.raises(OstracaError):
            RowGroups.parse(text, tail)


def test_a_loader_sees_a_shard_that_is_damaged_while_it_reads(corpus_copy: Path) -> None:
    source = CorpusSource(corpus_copy)
    source.read([0])
    (path,) = corpus_copy.glob("small/train-00000-*")
    data = bytearray(path.read_bytes())
    start, stop = RowGroups.parse(
        pq.read_metadata(path).metadata[TABLE.encode()].decode(),
        int(read_manifest(corpus_copy)["splits"]["train"]["shards"][0]["tail"].split(":")[0]),
    ).span(1)
    data[(start + stop) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(OstracaError, match="row group 1 is not what the manifest says"):
        source.read([1])
