"""Corpora that were built once and committed: builds still have their bytes, readers still read them.

Whoever changes a byte here breaks cited digests, manifests that are replayed, streams that are resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pinned.corpora import CORPORA, EXPORTED, FORMAT_3, HERE, MERGED, OF_THE_MACHINE, exported, kept, words

from ostraca import cli
from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.corpus.manifest import read_manifest, spec_in
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.records import records_of
from ostraca.pipeline.corpus.split import Split, count_tokens

OLD = sorted(path.name for path in (HERE / FORMAT_3).iterdir())


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every pinned corpus, built by the code as it is."""
    root = tmp_path_factory.mktemp("pinned")
    for name in CORPORA:
        assert cli.main([*words(name), f"out={root / name}"]) == 0
    return {name: root / name for name in CORPORA}


def test_each_form_is_pinned() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*CORPORA, FORMAT_3}
    assert set(OLD) < set(CORPORA)
    specs = [manifest_of(HERE / name)["spec"] for name in CORPORA]
    assert {spec["format"] for spec in specs} == {"parquet", "webdataset"}
    assert {spec["compression"] for spec in specs} == {"zstd", "none"}
    modes = {spec["pack"] and spec["pack"]["mode"] for spec in specs}
    assert modes == {None, "left_aligned", "whole", "best_fit", "concat"}
    assert {spec["dedup"]["mode"] for spec in specs} == {"off", "disjoint", "drop", "redraw"}
    removed = [manifest_of(HERE / name)["dedup"]["mano/train"] for name in ("dropped", "redrawn")]
    assert removed[0]["dropped"]
    assert removed[1]["redrawn"]


@pytest.mark.parametrize("name", CORPORA)
def test_the_same_call_makes_the_same_bytes(name: str, built: dict[str, Path]) -> None:
    pinned, today = manifest_of(HERE / name), manifest_of(built[name])
    # Another zstd or pyarrow writes other bytes: then only what is said of the content must be equal.
    same_writer = all(
        pinned["libraries"][name] == today["libraries"][name] for name in ("pyarrow", "zstandard")
    )
    for key in ("content_digest", "spec_digest", "spec", "tasks"):
        assert today[key] == pinned[key], key
    if same_writer:
        for manifest in (pinned, today):
            for key in OF_THE_MACHINE:
                del manifest[key]
        assert list(today) == list(pinned), "the order of keys is what a person sees"
        assert json.dumps(today) == json.dumps(pinned)
        assert kept(built[name]) == kept(HERE / name)
        for file in kept(HERE / name):
            if file != "manifest.json":
                assert (built[name] / file).read_bytes() == (HERE / name / file).read_bytes(), file


@pytest.mark.parametrize("name", CORPORA)
def test_the_pinned_bytes_are_read(
    name: str, built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verified down to each token, and made again from the manifest."""
    folder = whole(HERE / name, built[name], tmp_path)
    assert cli.main(["verify", f"path={folder}", "content=true"]) == 0
    assert cli.main(["reproduce", f"path={folder}"]) == 0
    assert capsys.readouterr().err == ""


def whole(pinned: Path, built: Path, into: Path) -> Path:
    """A copy of a pinned corpus with its tokenizers, which are today's, by digest."""
    folder = into / pinned.name
    shutil.copytree(pinned, folder)
    for entry in manifest_of(folder)["files"]:
        data = (built / entry["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], entry["path"]
        (folder / entry["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry["path"]).write_bytes(data)
    return folder


def streamed(folder: Path) -> list[tuple[Any, ...]]:
    """Tokens, masks and lengths of all row groups, as the loader reads them, of a dataset that has them."""
    manifest = manifest_of(folder)
    split = next(iter(manifest["splits"]))
    source = CorpusSource(folder, datasets="depo", split=split, source="shards")
    blocks = (source.read([block]) for block in range(len(source.blocks(tokens=True).rows)))
    read = [(rows.tokens.tolist(), rows.mask.tolist(), rows.offsets.tolist()) for rows in blocks]
    length = None if source.row_length else 300
    stream = TokenStream(source, batch_size=4, length=length, epochs=1, remainder="pad")
    batches = [(batch["input_ids"].tolist(), batch["labels"].tolist()) for batch in stream]
    assert batches
    return [*read, *batches, (stream.state_dict()["identity"],)]


@pytest.mark.parametrize("name", OLD)
def test_corpora_of_format_3_are_read_for_good(
    name: str, built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = whole(HERE / FORMAT_3 / name, built[name], tmp_path)
    was, today = manifest_of(old), manifest_of(built[name])
    assert (was["format_version"], today["format_version"]) == (3, 4)
    assert was["spec_digest"] == today["spec_digest"]
    assert was["content_digest"] == today["content_digest"]
    assert [r["content_digest"] for _, r in records_of(was)] == [
        r["content_digest"] for _, r in records_of(today)
    ]
    assert cli.main(["verify", f"path={old}", "content=true"]) == 0
    assert cli.main(["reproduce", f"path={old}"]) == 0
    assert capsys.readouterr().err == ""
    parted = was["part"] is not None
    if not parted:
        assert streamed(old) == streamed(built[name])
        assert cli.main(["diff", f"path={old}", f"other={built[name]}"]) == 0
        assert "manifest format 3 4" in " ".join(capsys.readouterr().out.split())
        for words in (["inspect", "name=depo", "split=test", "show=1"], ["audit", "examples=20"]):
            assert cli.main([*words, f"path={old}"]) == 0
        exports = [(tmp_path / str(number)) for number in range(2)]
        for out, folder in zip(exports, (old, built[name]), strict=True):
            assert cli.main(["export", f"path={folder}", "to=jsonl", f"out={out}"]) == 0
        assert [path.read_bytes() for path in sorted(exports[0].rglob("*.zst"))] == [
            path.read_bytes() for path in sorted(exports[1].rglob("*.zst"))
        ]
    capsys.readouterr()
    words = ["build", f"manifest={old}", f"out={tmp_path / 'again'}", "engine=local"]
    assert cli.main([*words, *["report=false"] * (not parted)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "(content digests are equal); that manifest is of format 3" in said
    assert kept(tmp_path / "again") == kept(built[name])


@pytest.mark.parametrize("name", ["parquet", "tar.zst"])
def test_row_groups_have_the_tokens_that_the_manifest_says(name: str, built: dict[str, Path]) -> None:
    """Of texts the bytes; a manifest of format 3 says none."""
    for folder in (built[name], HERE / FORMAT_3 / name):
        manifest = read_manifest(folder)
        for dataset, entry in manifest["spec"]["datasets"].items():
            for split in entry["splits"]:
                reader = split_reader(
                    folder, manifest, Split.of(spec_in(built[name], manifest), dataset, split)
                )
                if folder != built[name]:
                    assert reader.group_tokens is None
                    continue
                assert reader.group_tokens is not None
                found: list[list[int]] = [[] for _ in reader.records]
                for shard, batch in reader.batches():
                    found[shard].append(count_tokens(batch))
                assert [own.tolist() for own in reader.group_tokens] == found


def test_a_corpus_of_format_3_is_not_mended(
    built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shard of today comes among those of then; what is whole stays as it is."""
    old = whole(HERE / FORMAT_3 / "dropped", built["dropped"], tmp_path)
    before = (old / "manifest.json").read_bytes()
    assert cli.main([*words("dropped"), f"out={old}", "mend=true"]) == 0
    assert (old / "manifest.json").read_bytes() == before
    lost = next(old.glob("mano/train-00001-*"))
    lost.unlink()
    capsys.readouterr()
    assert cli.main([*words("dropped"), f"out={old}"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{lost.relative_to(old)}: is gone or damaged, and this corpus is of manifest format 3" in err
    assert not lost.exists()
    assert (old / "manifest.json").read_bytes() == before


def test_parts_of_format_3_join_with_each_other_alone(
    built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [whole(HERE / FORMAT_3 / name, built[name], tmp_path) for name in MERGED]
    mixed = [parts[0], built[MERGED[1]]]
    out = tmp_path / "joined"
    assert cli.main(["merge", f"parts=[{','.join(map(str, mixed))}]", f"out={out}"]) == 2
    assert "is of format 3, that of" in capsys.readouterr().err
    assert cli.main(["merge", f"parts=[{','.join(map(str, parts))}]", f"out={out}", "report=false"]) == 0
    joined = manifest_of(out)
    assert joined["format_version"] == 3
    assert joined["content_digest"] == manifest_of(HERE / FORMAT_3 / "parquet")["content_digest"]
    assert cli.main(["verify", f"path={out}", "content=true"]) == 0


def test_parts_join_to_the_pinned_whole(built: dict[str, Path], tmp_path: Path) -> None:
    parts = ",".join(str(built[name]) for name in MERGED)
    out = tmp_path / "whole"
    assert cli.main(["merge", f"parts=[{parts}]", f"out={out}", "report=false"]) == 0
    whole = manifest_of(HERE / "parquet")  # the same examples: none of eval is drawn in train
    merged = manifest_of(out)
    assert merged["content_digest"] == whole["content_digest"]
    assert merged["totals"] == whole["totals"]
    for file in kept(HERE / "parquet"):
        if file.endswith(".parquet"):
            parted = [HERE / name / file for name in MERGED if (HERE / name / file).exists()]
            assert (out / file).read_bytes() == parted[0].read_bytes()


@pytest.mark.parametrize("name", EXPORTED)
def test_exports_have_the_pinned_bytes(name: str, built: dict[str, Path], tmp_path: Path) -> None:
    assert exported(built[name], tmp_path) == json.loads((HERE / "exports.json").read_text())[name]
