"""Bad input about deduplication, packing, formats and folders: one line on stderr, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import crowded, files_below
from harness.words import over

import ostraca
from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.manifest import read_manifest

BUILD = ["build", "dataset=mano", "dataset.L=2", "examples=300", "engine=local"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus deduplicated by tokens. Tests must not change it."""
    root = tmp_path_factory.mktemp("built") / "c"
    build(
        crowded(
            {"m": ("mano", {"L": 2})},
            {"train": {"examples": 900}, "test": {"examples": 90}},
            dedup={"mode": "drop", "key": "tokens"},
        ),
        root,
        engine="local",
    )
    return root


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with one line on stderr, and nothing on stdout; the line."""

    def run(*words: str, status: int = 2) -> str:
        assert cli.main(over(*words)) == status, words
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), (out, err)
        assert err.startswith("ostraca: ")
        return err

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["examples=1000000000000000000"], "examples=1000000000000000000 must be"),
        (["examples=0"], "examples=0 must be"),
        (["examples=-5"], "examples=-5 must be"),
        (["examples=null", "tokens=0"], "tokens=0 must be"),
        (["examples=null", "tokens=10000000000000000000"], "must be an integer from 1 to 10000"),
        (["shard_tokens=0"], "shard_tokens=0 must be"),
        (
            ["examples=100000000", "shard_tokens=1", "row_group_tokens=1"],
            "shards; the most is 1,000,000: raise shard_tokens",
        ),
        (["row_group_tokens=0"], "row_group_tokens=0 must be"),
        (
            ["dedup.mode=dorp"],
            "dedup.mode='dorp' (did you mean 'drop'?) must be one of disjoint, off, drop",
        ),
        (["dedup.mode=5"], "dedup.mode=5 must be one of"),
        (["dedup.mode=[drop]"], "dedup.mode=['drop'] (did you mean 'drop'?) must be one of"),
        (
            ["dedup.mode=drop", "dedup.key=text"],
            "dedup.key='text' (did you mean 'content'?) must be one of tokens, content",
        ),
        (["dedup.mode=drop", "dedup.memory=much"], "dedup.memory='much' must be bytes, e.g. 2GiB"),
        (["dedup.mode=drop", "dedup.memory=-1"], "dedup.memory=-1 must be bytes"),
        (["dedup.mode=drop", "dedup.memory=5"], "dedup.memory=5 must be at least 1 MiB"),
        (["dedup.mode=drop", "dedup.memory=1e99"], "dedup.memory="),
        (["dedup.mode=drop", "dedup.against=somewhere"], "dedup.against='somewhere' must be a list"),
        (["dedup.mode=drop", "dedup.against=[nowhere]"], "dedup.against: nowhere: no such folder"),
        (["dedup.mode=drop", "dedup.against=[5]"], "dedup.against: 5 must be the folder of a corpus"),
        (["dedup.mode=drop", "dedup.against=0"], "dedup.against=0 must be a list"),
        (["dedup=5"], "dedup=5 must be a mapping"),
        (["dedup.moed=drop"], "unknown key 'dedup.moed'"),
        (["format=tar"], "format='tar' must be one of parquet, webdataset"),
        (["format=webdatset"], "did you mean 'webdataset'?"),
        (["compression=none"], "compression='none' must be one of zstd with format=parquet"),
        (["format=webdataset", "compression=gzip"], "compression='gzip' must be one of none, zstd"),
        (["pack.mode=whole"], "pack: length is missing"),
        (["pack.length=0"], "pack: length=0 must be"),
        (["pack.length=8", "pack.mode=whole"], "which no row of length=8 holds, and mode=whole cuts none"),
        (["pack.length=64", "pack.mode=best-fit"], "did you mean 'best_fit'?"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_bad_settings(say: Callable[..., str], tmp_path: Path, words: list[str], said: str) -> None:
    assert said in say(*BUILD, f"out={tmp_path}/c", *words)
    assert list(tmp_path.iterdir()) == []


def test_texts_cannot_be_packed_nor_redrawn(say: Callable[..., str], tmp_path: Path) -> None:
    capo = [
        "build",
        "dataset=capo",
        "dataset.num_people=5",
        "examples=20",
        f"out={tmp_path}/c",
        "engine=local",
    ]
    assert "texts, which cannot be packed; set bio=tokens" in say(*capo, "dataset.bio=text", "pack.length=99")
    assert "none can be redrawn; set dedup.mode=drop" in say(*capo, "dedup.mode=redraw")
    assert list(tmp_path.iterdir()) == []


def test_against_needs_a_mode_and_the_same_key(say: Callable[..., str], tmp_path: Path, built: Path) -> None:
    words = [*BUILD, f"out={tmp_path}/c", f"dedup.against=[{built}]"]
    assert "dedup.against needs dedup.mode=drop or redraw" in say(*words)
    said = say(*words, "dedup.mode=drop", "dedup.key=content")
    assert f"{built} was deduplicated by tokens, this corpus by content; set dedup.key=tokens" in said
    assert list(tmp_path.iterdir()) == []


def test_another_format_does_not_go_into_a_folder_that_is_taken(
    say: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*BUILD, f"out={tmp_path}/c"]
    assert cli.main([*words, "report=false"]) == 0
    capsys.readouterr()
    before = files_below(tmp_path)
    for other, named in {
        "format=webdataset": "(format: parquet there, webdataset here)",
        "dedup.mode=drop": "(dedup mode: disjoint there, drop here)",
        "pack.length=32": "(pack: ",
        "vocabulary=shared": "(vocabulary: published there, shared here)",
        "seed=1": "(spec seed: ",
        "examples=7": "(examples ",
    }.items():
        said = say(*words, other)
        assert "not the one asked for" in said
        assert named in said
    assert files_below(tmp_path) == before


def test_a_shard_of_another_format_in_the_folder_is_named(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(built, tmp_path / "c")
    strays = [root / "m" / f"train-00000-of-00003.{suffix}" for suffix in ("tar", "tar.zst")]
    strays += [root / "x.parquet", root / "manifest" / "deep" / "y.tar", root / "report" / "z.tar.zst"]
    for stray in strays:
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(b"")
    assert cli.main(["verify", f"path={root}"]) == 1
    said = capsys.readouterr().out
    assert "5 problem(s)" in said
    for stray in strays:
        assert f"{stray}: is not in the manifest; remove it" in said


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "spec": (lambda m: m["spec"].update(seed=4), "spec_digest is"),
    "format": (lambda m: m["spec"].update(format="webdataset", compression="none"), "spec_digest is"),
    "dedup of the spec": (lambda m: m["spec"]["dedup"].update(mode="off"), "spec_digest is"),
    "spec_digest": (lambda m: m.update(spec_digest="0" * 64), "spec_digest is"),
    "content_digest": (lambda m: m.update(content_digest="0" * 32), "content_digest does not follow"),
    "totals": (lambda m: m["totals"].update(tokens=1), "totals does not follow"),
    "split": (lambda m: m["splits"]["test"].update(rows=1), "splits does not follow"),
    "rows": (lambda m: m["splits"]["train"]["shards"][0].update(rows=1), "is said to have 1 rows"),
    "changes": (
        lambda m: m["splits"]["train"]["shards"][0].update(changes="~~~"),
        "is not a list of numbers",
    ),
    "no changes": (lambda m: m["splits"]["train"]["shards"][0].pop("changes"), "rows, but the spec makes it"),
    "path": (
        lambda m: m["splits"]["train"]["shards"][0].update(path="../x.parquet"),
        "'../x.parquet' is not a shard",
    ),
    "file": (lambda m: m["files"][0].update(path="../../etc/passwd"), "is not a file of the spec"),
    "part": (lambda m: m.update(part=[1, 1]), "not all of it is as ostraca writes it"),
    "part of text": (lambda m: m.update(part="1/2"), "not all of it is as ostraca writes it"),
    "dedup": (lambda m: m["dedup"]["m/train"].update(dropped=1), "dedup does not follow"),
    "no dedup": (lambda m: m.update(dedup=None), "dedup does not follow"),
    "dedup of text": (lambda m: m.update(dedup="much"), "not all of it is as ostraca writes it ('dedup')"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_edited_by_hand_names_the_field(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    root = shutil.copytree(built, tmp_path / "c")
    change, words = EDITS[name]
    manifest = json.loads((root / "manifest.json").read_text())
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["verify", f"path={root}"]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert words in (err or out.splitlines()[0])
    assert err.count("\n") == (not out)
    assert err or "restore manifest.json" in out.splitlines()[-1]


def test_reading_an_edited_manifest_opens_no_file_outside(built: Path, tmp_path: Path, say: Any) -> None:
    """A shard's path that leaves the folder is refused by everything that would read it."""
    root = shutil.copytree(built, tmp_path / "c")
    manifest = read_manifest(root)
    record = manifest["splits"]["train"]["shards"][0]
    shutil.copy(root / record["path"], tmp_path / "outside.parquet")
    record["path"] = "../outside.parquet"
    (root / "manifest.json").write_text(json.dumps(manifest))
    spec = json.dumps(manifest["spec"])
    for words in (
        ["inspect", f"path={root}"],
        ["reproduce", f"path={root}"],
        ["export", f"path={root}", "to=jsonl", f"out={tmp_path}/out"],
        ["diff", f"path={root}", f"other={root}"],
        [*BUILD, f"out={tmp_path}/new", "dedup.mode=drop", f"dedup.against=[{root}]"],
    ):
        assert "../outside.parquet" in say(*words, status=1)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ostraca.OstracaError, match=r"\.\./outside\.parquet"):
        build(json.loads(spec), root, engine="local")


@pytest.mark.parametrize(
    ("examples", "mode", "said"),
    [
        (50_000, "redraw", ["25,391 of 50,000 asked: its config has no more that differ in tokens"]),
        (500, "drop", [" of 500 dropped as duplicates"]),
        (500, "redraw", [" redrawn, since their first draws were duplicates"]),
    ],
)
def test_build_says_what_became_of_duplicates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], examples: int, mode: str, said: list[str]
) -> None:
    words = ["build", "dataset=mano", "dataset.L=1", f"examples={examples}", f"dedup.mode={mode}"]
    options = ["engine=local", "report=false", "splits.test.examples=1", f"out={tmp_path}/c"]
    assert cli.main([*words, *options]) == 0
    out = capsys.readouterr().out
    for each in said:
        assert each in out
