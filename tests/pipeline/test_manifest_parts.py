"""A manifest whose records stand in files beside it: every reader takes it, and no damage goes unseen."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from corpora import crowded, files_below

from ostraca import cli
from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.compare import compare
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus import manifest as manifests
from ostraca.pipeline.corpus import manifest_checks, manifest_parts
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.manifest import make_manifest, read_manifest, write_manifest
from ostraca.pipeline.corpus.records import ShardRecord, sums_of_changes
from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.pipeline.spec.shards import plan
from ostraca.tasks.errors import OstracaError

SPEC = crowded(
    {"a": ("mano", {"L": 2, "value_mod": 5}), "b": ("mano", {"L": 3})},
    {"train": {"examples": 700}, "test": {"examples": 80}},
    shard_tokens=700,
    row_group_tokens=300,
    dedup={"mode": "redraw", "key": "content"},
)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with records in several files for each split. Tests must not change it."""
    root = tmp_path_factory.mktemp("sharded") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "INLINE_BYTES", 100)
        patch.setattr(manifest_parts, "PART_BYTES", 2_000)
        build(SPEC, root, engine="local")
    return root


@pytest.fixture
def copied(sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "copy"))


def test_the_records_stand_in_files_that_the_manifest_lists(sharded: Path) -> None:
    plain = json.loads((sharded / "manifest.json").read_text())
    listed = [file["path"] for entry in plain["splits"].values() for file in entry["shards"]["files"]]
    assert len(listed) > 4
    assert listed == sorted(path.relative_to(sharded).as_posix() for path in sharded.glob("manifest/*"))
    records = []
    for path in listed:
        text = zstandard.ZstdDecompressor().decompressobj().decompress((sharded / path).read_bytes())
        records += [json.loads(line) for line in text.splitlines()]
    read = read_manifest(sharded)
    assert records == [record for _, record in manifests.records_of(read)]
    counts = {split: entry["shards"]["count"] for split, entry in plain["splits"].items()}
    assert counts == {split: len(entry["shards"]) for split, entry in read["splits"].items()}


def test_it_is_the_manifest_that_a_single_file_would_be(sharded: Path, tmp_path: Path) -> None:
    made = build(SPEC, tmp_path / "c", engine="local")
    assert not (tmp_path / "c" / "manifest").exists()
    assert {**read_manifest(sharded), "created": 0} == {**made, "created": 0}
    assert read_manifest(tmp_path / "c") == made
    shards = {name: data for name, data in files_below(sharded).items() if not name.startswith("manifest/")}
    assert shards == files_below(tmp_path / "c")
    write_manifest(tmp_path / "c", read_manifest(sharded))
    assert read_manifest(tmp_path / "c") == read_manifest(sharded)


def test_every_reader_takes_it(sharded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(sharded, content=True) == []
    assert reproduce(sharded)[1] == []
    assert compare(sharded, sharded).same
    rows = sum(
        len(batch["input_ids"])
        for batch in TokenStream(
            CorpusSource(sharded, datasets="a"), batch_size=7, length=None, mode="padded", epochs=1
        )
    )
    manifest = read_manifest(sharded)
    assert rows == sum(r["rows"] for r in manifest["splits"]["train"]["shards"] if r["dataset"] == "a")
    for words in (
        ["inspect", f"path={sharded}", "name=b", "index=650"],
        ["verify", f"path={sharded}", "content=true"],
        ["reproduce", f"path={sharded}", "shards=3"],
        ["export", f"path={sharded}", "to=nanogpt", f"out={tmp_path}/out", "name=a"],
        ["diff", f"path={sharded}", f"other={sharded}"],
    ):
        assert cli.main(words) == 0, capsys.readouterr().err
    assert build(SPEC, sharded, engine="local") == manifest  # whole: left alone


def test_a_lost_shard_is_mended(copied: Path, sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "INLINE_BYTES", 100)
    monkeypatch.setattr(manifest_parts, "PART_BYTES", 2_000)
    for path in sorted(copied.rglob("*.parquet"))[::5]:
        path.unlink()
    build(SPEC, copied, engine="local")
    assert files_below(copied) == files_below(sharded)


Change = Callable[[Path, dict[str, Any]], None]


def lose(root: Path, plain: dict[str, Any]) -> None:
    sorted(root.glob("manifest/train-*"))[1].unlink()


def flip(root: Path, plain: dict[str, Any]) -> None:
    path = sorted(root.glob("manifest/train-*"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(root: Path, plain: dict[str, Any]) -> None:
    path = sorted(root.glob("manifest/test-*"))[0]
    path.write_bytes(path.read_bytes()[:-4])


def listed(root: Path, plain: dict[str, Any], name: str, content: bytes) -> None:
    """List a file of our own as the first of the records' files."""
    (root / name).resolve().parent.mkdir(exist_ok=True)
    (root / name).write_bytes(content)
    entry = plain["splits"]["train"]["shards"]["files"][0]
    entry |= {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def first_records(root: Path) -> bytes:
    return sorted(root.glob("manifest/train-*"))[0].read_bytes()


def replaced(root: Path, plain: dict[str, Any], content: bytes) -> None:
    listed(root, plain, "manifest/train-00000.jsonl.zst", content)


CHANGES: dict[str, tuple[Change, str]] = {
    "lost": (lose, "no such file"),
    "flipped": (flip, "sha256 is not what the manifest says"),
    "cut": (cut, "bytes, not what the manifest says"),
    "outside": (
        lambda root, plain: listed(root, plain, "../train-00000.jsonl.zst", first_records(root)),
        "is not a file of records",
    ),
    "elsewhere": (
        lambda root, plain: listed(root, plain, "a/train-00000.jsonl.zst", first_records(root)),
        "is not a file of records",
    ),
    "no zstd": (lambda root, plain: replaced(root, plain, b"{}\n"), "not all of it is as ostraca writes it"),
    "no JSON": (
        lambda root, plain: replaced(root, plain, zstandard.compress(b"{\n")),
        "line 1: is not readable JSON",
    ),
    "no records": (
        lambda root, plain: replaced(root, plain, zstandard.compress(b"5\n{}\n")),
        "line 1: is not a JSON object",
    ),
    "nothing": (lambda root, plain: replaced(root, plain, zstandard.compress(b"")), "lists no"),
    "twice": (
        lambda root, plain: plain["splits"]["train"]["shards"]["files"].append(
            plain["splits"]["train"]["shards"]["files"][0]
        ),
        "is not a file of records",
    ),
    "one fewer": (lambda root, plain: plain["splits"]["train"]["shards"]["files"].pop(), "lists no"),
    "none": (
        lambda root, plain: plain["splits"]["train"].update(shards={}),
        "not all of it is as ostraca writes it",
    ),
    "number": (
        lambda root, plain: plain["splits"]["train"].update(shards=5),
        "not all of it is as ostraca writes it",
    ),
    "a split of no spec": (
        lambda root, plain: plain["splits"].update({"../../x": {"shards": {"count": 0, "files": []}}}),
        "",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("command", ["verify", "inspect", "reproduce", "export", "load"])
def test_damage_gets_one_line(
    copied: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    change, words = CHANGES[name]
    plain = json.loads((copied / "manifest.json").read_text())
    change(copied, plain)
    (copied / "manifest.json").write_text(json.dumps(plain))
    if command == "load":
        with pytest.raises(OstracaError) as caught:
            CorpusSource(copied, datasets="a")
        said = str(caught.value) + "\n"
    else:
        out = [f"out={copied.parent}/out", "to=jsonl"] if command == "export" else []
        options = ["name=a"] if command == "inspect" else []
        status = cli.main([command, f"path={copied}", *out, *options])
        captured = capsys.readouterr()
        said = captured.err if command != "verify" or captured.err else captured.out.splitlines()[0] + "\n"
        assert status == 1, (captured.out, captured.err)
        assert not (copied.parent / "out").exists()
    assert said.count("\n") == 1
    assert words in said


def test_no_path_of_a_hand_made_spec_leaves_the_folder(tmp_path: Path, copied: Path) -> None:
    """A manifest whose digests all fit, but whose names of datasets and splits climb out of the corpus."""
    manifest = read_manifest(copied)
    for old, new in (
        (["splits", "train"], "../../x"),
        (["splits", "train"], "/etc/x"),
        (["splits", "train"], "a/b"),
        (["datasets", "a"], "../a"),
        (["datasets", "a"], ".."),
        (["datasets", "a"], ".ostraca-build"),
        (["datasets", "a"], "a\\b"),
        (["datasets", "a"], "a\x00b"),
    ):
        spec = copy.deepcopy(manifest["spec"])
        entries = spec["datasets"]["a"]["splits"] if old[0] == "splits" else spec["datasets"]
        entries[new] = entries.pop(old[1])
        records = [
            ShardRecord(
                dataset=shard.dataset,
                split=shard.split,
                path=shard.path,
                rows=shard.count,
                tokens=shard.count,
                bytes=1,
                sha256="0" * 64,
                content_digest="0" * 32,
                first_index=shard.first_index,
                count=shard.count,
            )
            for shard in plan(spec)
        ]
        root = tmp_path / "forged"
        root.mkdir(exist_ok=True)
        forged = make_manifest(spec, records)
        (root / "manifest.json").write_text(json.dumps(forged))
        for read in (read_manifest, verify, reproduce, lambda path: CorpusSource(path, datasets="b")):
            with pytest.raises(OstracaError, match="its spec is not one that ostraca writes") as caught:
                read(root)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["dedup"].pop("mode"),
        lambda spec: spec["dedup"].update(mode="sometimes"),
        lambda spec: spec["dedup"].update(key=5),
        lambda spec: spec["dedup"].update(against=[5]),
        lambda spec: spec["dedup"].update(against=[{"name": "x"}]),
        lambda spec: spec.update(pack={}),
        lambda spec: spec.update(pack={"length": "x", "mode": "whole"}),
        lambda spec: spec.update(seed="x"),
        lambda spec: spec.pop("seed"),
        lambda spec: spec.pop("name"),
        lambda spec: spec["datasets"]["a"].pop("version"),
        lambda spec: spec["datasets"]["a"]["splits"]["train"].update(examples=10**18),
        lambda spec: spec["datasets"]["a"]["splits"]["train"].update(examples=10**12, shard_examples=1),
    ],
)
def test_a_spec_of_another_form_gets_one_line(
    copied: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None]
) -> None:
    plain = json.loads((copied / "manifest.json").read_text())
    change(plain["spec"])
    try:  # as a forger would, where a digest can be had
        plain["spec_digest"] = spec_digest(plain["spec"])
    except (KeyError, TypeError, AttributeError):
        plain["spec_digest"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(plain))
    for command in ("verify", "reproduce", "inspect"):
        assert cli.main([command, f"path={copied}"]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "manifest.json: " in err


def test_twenty_thousand_shards_make_a_small_manifest(tmp_path: Path) -> None:
    """The records of a corpus of 20,000 shards with dropped examples in each, as they would be built."""
    shards, examples = 20_000, 80_000
    rng = np.random.default_rng(0)
    spec = check_spec(
        {
            "name": "large",
            "dedup": {"mode": "drop"},
            "datasets": {
                "depo1": {
                    "task": "depo",
                    "splits": {
                        "train": {"examples": (shards - 10) * examples, "shard_examples": examples},
                        "test": {"examples": 10 * examples, "shard_examples": examples},
                    },
                }
            },
        }
    )

    def record(shard: Any) -> ShardRecord:
        gone = np.unique(rng.integers(0, examples, rng.poisson(3)))
        hashes = rng.bytes(48).hex()
        return ShardRecord(
            dataset=shard.dataset,
            split=shard.split,
            path=shard.path,
            rows=shard.count - len(gone),
            tokens=int(rng.integers(10**7, 2 * 10**7)),
            bytes=int(rng.integers(10**7, 2 * 10**7)),
            sha256=hashes[:64],
            content_digest=hashes[64:],
            first_index=shard.first_index,
            count=shard.count,
            changes=str(Changes(places=gone, attempts=np.zeros(len(gone), np.int64))),
        )

    records = list(map(record, plan(spec)))
    sums = sums_of_changes([(each.split, each.as_dict()) for each in records])
    manifest = make_manifest(spec, records, dedup=sums)
    write_manifest(tmp_path, manifest)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    begun = time.perf_counter()
    assert read_manifest(tmp_path) == manifest
    seconds = time.perf_counter() - begun
    print(f"\n{shards:,} shards: {size:,} bytes, {size / shards:.0f} a record, read in {seconds:.2f} s")
    assert size < 10 << 20
    assert manifest_checks.check_records(manifest) == []
