"""`diff` finds every kind of difference, names it, and shows the first example that differs."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ostraca.pipeline.check.compare
from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.compare import Comparison, compare, differing_row, unequal_ranges
from ostraca.pipeline.corpus.fingerprint import ContentDigest, content_digest
from ostraca.pipeline.corpus.formats.parquet_mask import unstored
from ostraca.pipeline.corpus.manifest import make_manifest, read_manifest, records_of, write_manifest
from ostraca.pipeline.corpus.records import ShardRecord
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.spec.check import spec_digest
from ostraca.pipeline.spec.shards import plan
from ostraca.pipeline.store.atomic import sha256_of
from ostraca.tasks.core.batch import column, list_type
from ostraca.tasks.depo import VERSION
from ostraca.tasks.errors import OtherVersionWarning

Spec = Callable[..., dict[str, Any]]


def kinds(found: Comparison) -> set[str]:
    return {each.what for each in found.differences}


def rewrite(
    root: Path, change: Callable[[str, list[dict[str, Any]]], None] | None, version: int = VERSION
) -> None:
    """Change rows of a corpus shard by shard, or its tasks' version, and write a manifest that fits."""
    manifest = read_manifest(root)
    spec = copy.deepcopy(manifest["spec"])
    for entry in spec["datasets"].values():
        entry["version"] = version
    made = {}
    for split, record in records_of(manifest):
        path, dataset = root / record["path"], record["dataset"]
        table = pa.Table.from_batches(map(unstored, pq.read_table(path).to_batches()))
        rows = table.to_pylist()
        if change is not None:
            change(record["path"], rows)
            table = pa.Table.from_pylist(rows, schema=table.schema)
        groups = spec["datasets"][dataset]["splits"][split]["row_group_examples"]
        table = table.replace_schema_metadata({"ostraca_spec_digest": spec_digest(spec)})
        pq.write_table(table, path, row_group_size=groups, use_dictionary=False)
        digest = sum(
            (content_digest(batch, Split.of(spec, dataset, split).key()) for batch in table.to_batches()),
            ContentDigest(),
        )
        # As of format 3 before there were tails: of this writer's row groups there is no table.
        status = {
            "tail": "",
            "group_tokens": "",
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "content_digest": str(digest),
        }
        made[record["path"]] = ShardRecord(split=split, **{**record, **status})
    records = [made[shard.path] for shard in plan(spec)]
    write_manifest(root, make_manifest(spec, records, manifest["files"], dedup=manifest["dedup"]))


def read_shards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges of rows that `compare` will read."""
    ranges: list[tuple[int, int]] = []
    real = ostraca.pipeline.check.compare.SplitReader.rows_from

    def counted(reader: Any, first: int, count: int) -> Any:
        ranges.append((first, first + count))
        return real(reader, first, count)

    monkeypatch.setattr(ostraca.pipeline.check.compare.SplitReader, "rows_from", counted)
    return ranges


def test_a_corpus_and_itself(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(corpus, corpus)
    assert found == Comparison(
        same=True,
        differences=(),
        example=None,
        notes=(),
        content_digest=read_manifest(corpus)["content_digest"],
    )
    assert cli.main(["diff", f"path={corpus}", f"other={corpus}"]) == 0
    out = "".join(capsys.readouterr().out.split())
    assert "arethesame,andsoisallelse" in out
    assert found.content_digest in out


def test_shard_sizes_alone(
    corpus: Path, spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Other shards and row groups, another name, the same examples: status 0, and no shard is read."""
    ranges = read_shards(monkeypatch)
    other = {**spec(shard_tokens=33_000), "row_group_tokens": 3_000, "name": "else"}
    build(other, tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert found.same
    assert kinds(found) == {"spec", "shard size", "row groups", "files"}
    assert ranges == []
    assert cli.main(["diff", f"path={corpus}", f"other={tmp_path}/x"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "are the same; they differ in files, row groups, shard size, spec alone" in said


def test_another_seed(corpus: Path, spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(spec(seed=7), tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    assert kinds(found) == {"spec", "content", "files"}
    (seed,) = (each for each in found.differences if each.what == "spec")
    assert (seed.where, seed.path, seed.other) == ("seed", "0", "7")
    assert {each.where for each in found.differences if each.what == "content"} == {
        "small/train",
        "small/test",
    }
    assert found.example is not None
    assert found.example.index == 0
    assert cli.main(["diff", f"path={corpus}", f"other={tmp_path}/x", "context=2"]) == 1
    out = capsys.readouterr().out
    assert "first example that differs: small/test, example 0" in out
    assert ">>" in out
    assert "are not the same" in "".join(out.replace("\n", " "))
    assert max(map(len, out.splitlines())) <= 80


def test_another_config(corpus: Path, spec: Spec, tmp_path: Path) -> None:
    other = spec()
    other["datasets"]["small"]["config"] = {**other["datasets"]["small"]["config"], "K": 3}
    build(other, tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    keys = {(each.where, each.path, each.other) for each in found.differences if each.what == "spec"}
    assert keys == {("small/train K", "4", "3"), ("small/test K", "4", "3")}


@pytest.mark.parametrize("shard_tokens", [20_000, 40_000])
def test_one_row(
    spec: Spec,
    corpus: Path,
    tmp_path: Path,
    shard_tokens: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A token of one row: found among shards of the same or other sizes, by reading little around it."""
    build(spec(shard_tokens=shard_tokens), tmp_path / "x", engine="local")
    ranges = read_shards(monkeypatch)

    def change(path: str, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if "train" in path and row["index"] in (1234, 1900):
                row["input_ids"][17] += 1

    rewrite(tmp_path / "x", change)
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    assert "spec" not in kinds(found)
    assert [each.where for each in found.differences if each.what == "content"] == ["small/train"]
    example = found.example
    assert example is not None
    assert (example.dataset, example.split, example.index) == ("small", "train", 1234)
    before, after = example.path["input_ids"], example.other["input_ids"]
    assert [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [17]
    assert {key for key in example.path if example.path[key] != example.other[key]} == {"input_ids"}
    ((first, last),) = set(ranges)
    assert first <= 1234 < last
    shard = read_manifest(corpus)["spec"]["datasets"]["small"]["splits"]["train"]["shard_examples"]
    assert first > 0
    assert shard_tokens != 20_000 or last - first == shard
    assert cli.main(["diff", f"path={corpus}", f"other={tmp_path}/x"]) == 1
    out = capsys.readouterr().out
    names = example.path_names
    assert f"token 17: {names[before[17]]} (id {before[17]}) | " in out
    assert f">>{names[before[17]]}<<" in out


def test_a_column_and_a_length(corpus: Path, corpus_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(path: str, rows: list[dict[str, Any]]) -> None:
        if "test" in path:
            rows[3]["n"] += 1
            rows[3]["loss_mask"][9] ^= 1
            rows[3]["input_ids"].append(1)
            rows[3]["loss_mask"].append(1)

    rewrite(corpus_copy, change)
    assert cli.main(["diff", f"path={corpus}", f"other={corpus_copy}"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    size = len(pq.read_table(corpus / "small/test-00000-of-00001.parquet")["input_ids"][3])
    assert ["n", "20", "21"] in lines
    text = " ".join(word for line in lines for word in line)
    assert f"{size} and {size + 1} tokens; token {size} is the first that differs" in text
    assert ">>(end)<<" in text
    assert f"loss_mask 0 at 9 of {size} 1 at 9 of {size + 1}" in text


def test_another_vocabulary(corpus: Path, spec: Spec, tmp_path: Path) -> None:
    build(spec(vocabulary="shared"), tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    assert {"vocabulary", "content", "files"} == kinds(found)
    assert "tokenizer.json" in {each.where for each in found.differences}
    assert found.example is not None
    first = found.example.other["input_ids"][0]
    assert found.example.other_names[first] == "<depo:bos>"


def test_other_versions(corpus: Path, corpus_copy: Path) -> None:
    """Rows that are equal and have other addresses have another content; every one was compared."""
    rewrite(corpus_copy, None, version=99)
    with pytest.warns(OtherVersionWarning, match="version 99 of task depo"):
        found = compare(corpus, corpus_copy)
    assert not found.same
    assert {"version", "content"} <= kinds(found)
    (version,) = (each for each in found.differences if each.what == "version")
    assert (version.where, version.path, version.other) == ("small (depo)", str(VERSION), "99")
    assert found.example is None
    assert len(found.notes) == 2
    assert all("every row is equal, but not its address" in note for note in found.notes)


def test_a_split_and_a_dataset_that_are_not_there(corpus: Path, spec: Spec, tmp_path: Path) -> None:
    other = spec()
    del other["datasets"]["small"]["splits"]["test"]
    other["datasets"]["more"] = {"task": "mano", "splits": {"train": {"examples": 10}}}
    build(other, tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    missing = {each.where: (each.path, each.other) for each in found.differences if each.what == "split"}
    assert set(missing) == {"small/test", "more/train"}
    assert missing["small/test"][1] == missing["more/train"][0] == "-"
    assert found.example is None
    assert "content" not in kinds(found)


def test_more_examples(corpus: Path, spec: Spec, tmp_path: Path) -> None:
    """The end of the shorter corpus is no edge of the other's shards: it is read, and is equal."""
    build(spec(train=2345), tmp_path / "x", engine="local")
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    assert {"examples", "content", "files"} == kinds(found)
    assert found.example is None
    (note,) = found.notes
    assert "the first 2,000 examples are equal; example 2,000 and those after it are in other alone" in note


def test_other_columns(spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts against tokens of the same people: the first example, each side with what it has."""
    for name in ("tokens", "text"):
        config = {"num_people": 20, "exposures": 2, **({"bio": "text"} if name == "text" else {})}
        capo = {"task": "capo", "config": config, "splits": {"train": {"examples": 40}}}
        build({"datasets": {"capo": capo}}, tmp_path / name, engine="local")
    found = compare(tmp_path / "tokens", tmp_path / "text")
    assert found.example is not None
    assert found.example.index == 0
    assert cli.main(["diff", f"path={tmp_path}/tokens", f"other={tmp_path}/text"]) == 1
    assert "input_ids" in capsys.readouterr().out


def test_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        config = {"num_people": 20, "exposures": 2, "bio": "text"}
        capo = {"task": "capo", "config": config, "splits": {"train": {"examples": 40}}}
        build({"seed": seed, "datasets": {"capo": capo}}, tmp_path / str(seed), engine="local")
    assert cli.main(["diff", f"path={tmp_path}/0", f"other={tmp_path}/1"]) == 1
    out = capsys.readouterr().out
    assert "characters; character " in out
    assert out.count(">>") == out.count("<<") == 2


def test_a_shard_that_is_gone(corpus: Path, spec: Spec, tmp_path: Path) -> None:
    """What the manifests say is told all the same."""
    build(spec(seed=1), tmp_path / "x", engine="local")
    for path in (tmp_path / "x").rglob("*.parquet"):
        path.unlink()
    found = compare(corpus, tmp_path / "x")
    assert not found.same
    assert found.example is None
    assert all("cannot be shown: " in note and "no such file" in note for note in found.notes)


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["diff"], "path=... is missing", 2),
        (["diff", "path=CORPUS"], "other=... is missing", 2),
        (["diff", "path=CORPUS", "other=/no/such"], "/no/such: no such folder", 2),
        (["diff", "path=CORPUS", "other=''"], "other=''", 2),
        (["diff", "path=CORPUS", "other=CORPUS", "context=-2"], "context=-2", 2),
        (["diff", "path=CORPUS", "other=EDITED"], "is said to have", 1),
        (["diff", "path=CORPUS", "other=TOTALS"], "totals does not follow from the shards' records", 1),
    ],
)
def test_bad_input(
    words: list[str], said: str, status: int, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = Path(shutil.copytree(corpus, tmp_path / "edited"))
    manifest = json.loads((edited / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][1]["rows"] += 1
    (edited / "manifest.json").write_text(json.dumps(manifest))
    totals = Path(shutil.copytree(corpus, tmp_path / "totals"))
    manifest = json.loads((totals / "manifest.json").read_text())
    manifest["totals"]["tokens"] += 1
    (totals / "manifest.json").write_text(json.dumps(manifest))
    for word, folder in {"CORPUS": corpus, "EDITED": edited, "TOTALS": totals}.items():
        words = [each.replace(word, str(folder)) for each in words]
    assert cli.main(words) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def batch_of(lists: list[list[int]], numbers: list[int], words: list[str]) -> pa.RecordBatch:
    fields = [column("a", list_type(pa.int32())), column("b", pa.int64()), column("c", pa.string())]
    return pa.RecordBatch.from_arrays([lists, numbers, words], schema=pa.schema(fields))


def test_the_first_row_is_found_as_python_finds_it() -> None:
    """Against the plain loop, on rows with empty lists, in slices too."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = int(rng.integers(1, 6))
        rows = [
            ([0] * int(rng.integers(0, 3)), int(rng.integers(0, 2)), "x" * int(rng.integers(0, 2)))
            for _ in range(count)
        ]
        others = [
            row if rng.random() < 0.7 else ([int(rng.integers(0, 2)) for _ in row[0]], row[1], row[2])
            for row in rows
        ]
        if rng.random() < 0.3:
            others[-1] = ([0], 1, "y")
        wanted = next((at for at in range(count) if rows[at] != others[at]), None)
        assert differing_row(*(batch_of(*map(list, zip(*side, strict=True))) for side in (rows, others))) == (
            wanted
        )
        cut = int(rng.integers(0, count))
        if wanted is None or wanted >= cut:
            left, right = (batch_of(*map(list, zip(*side, strict=True))) for side in (rows, others))
            found = differing_row(left.slice(cut), right.slice(cut))
            assert found == (None if wanted is None else wanted - cut)


def test_ranges_skip_equal_shards() -> None:
    """Shards of 2 and 3 rows meet at every sixth; the digest of a row is its number, but for row 8."""

    def shards(size: int, count: int, odd: int = -1) -> list[dict[str, Any]]:
        made = []
        for first in range(0, count, size):
            rows = range(first, min(first + size, count))
            lanes = (sum(row + (row == odd) for row in rows), (1 << 64) - len(rows))
            made.append({"count": len(rows), "content_digest": str(ContentDigest(lanes))})
        return made

    assert unequal_ranges(shards(2, 24), shards(3, 24)) == []
    assert unequal_ranges(shards(2, 24, odd=8), shards(3, 24)) == [(6, 12)]
    assert unequal_ranges(shards(2, 24, odd=8), shards(2, 24)) == [(8, 10)]
    assert unequal_ranges(shards(2, 24), shards(3, 27)) == []
    assert unequal_ranges(shards(2, 20), shards(3, 27)) == [(18, 20)]
