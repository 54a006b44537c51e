"""`build manifest=`: a corpus made again from its manifest alone, and every digest compared."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import re
import shlex
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from ostraca import cli
from ostraca.loaders import CorpusSource
from ostraca.pipeline.check.again import FromManifest
from ostraca.pipeline.corpus.manifest import make_manifest, read_manifest
from ostraca.pipeline.corpus.records import ShardRecord, records_of
from ostraca.pipeline.spec.words import word
from ostraca.pipeline.store.open import folder_of
from ostraca.tasks import depo

MIXED = ["datasets=[mano,depo1,capo]", "tokens=40k", "shard_tokens=20k", "engine=local", "report=false"]


@pytest.fixture(scope="module")
def cited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("again") / "cited"
    assert cli.main(["build", *MIXED, f"out={root}"]) == 0
    return root


def argument(key: str, value: object) -> str:
    """What the command gets when a shell reads the word."""
    (found,) = shlex.split(word(key, str(value)))
    return found


def again(manifest: object, out: Path, *words: str) -> int:
    return cli.main(["build", argument("manifest", manifest), f"out={out}", "engine=local", *words])


def files(root: Path) -> dict[str, bytes]:
    left_out = ("manifest.json",)  # it says when it was made
    paths = (path for path in root.rglob("*") if path.is_file() and path.name not in left_out)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("how", ["folder", "manifest", "renamed file alone"])
def test_a_corpus_is_made_again_byte_for_byte(
    how: str, cited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {
        "folder": cited,
        "manifest": cited / "manifest.json",
        "renamed file alone": shutil.copy(cited / "manifest.json", tmp_path / "of the paper.json"),
    }[how]
    assert again(where, tmp_path / "again", "report=false") == 0
    assert "content digests and sha256 of" in capsys.readouterr().out
    assert files(tmp_path / "again") == files(cited)


def test_from_the_url_of_a_web_server(cited: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(cited))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert again(f"{url}/manifest.json", tmp_path / "a", "report=false") == 0
        server.shutdown()
    assert files(tmp_path / "a") == files(cited)


@pytest.mark.parametrize("mode", ["drop", "redraw"])
def test_with_duplicates_gone_and_of_a_part(mode: str, tmp_path: Path) -> None:
    words = ["build", "dataset=mano", "dataset.L=1", "examples=700", "engine=local", "report=false"]
    words += ["shard_tokens=2000", "row_group_tokens=700"]
    assert cli.main([*words, f"dedup.mode={mode}", f"out={tmp_path}/a"]) == 0
    assert again(tmp_path / "a", tmp_path / "b", "report=false") == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert cli.main([*words, "part=2/3", f"out={tmp_path}/part"]) == 0
    assert again(tmp_path / "part", tmp_path / "part-again") == 0
    assert files(tmp_path / "part") == files(tmp_path / "part-again")


def test_what_differs_is_said_and_gives_status_1(
    cited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shard that somebody made otherwise, under a manifest that agrees with it."""
    text = (cited / "manifest.json").read_text()
    manifest = json.loads(text)
    record = manifest["splits"]["train"]["shards"][0]
    record["content_digest"] = "0" * len(record["content_digest"])
    sums = make_manifest(
        manifest["spec"],
        [ShardRecord(split=split, **each) for split, each in records_of(manifest)],
        manifest["files"],
        dedup=manifest["dedup"],
    )
    (tmp_path / "wrong.json").write_text(json.dumps(sums))
    assert again(tmp_path / "wrong.json", tmp_path / "a", "report=false") == 1
    out = capsys.readouterr().out
    assert "not the corpus of" in out
    assert record["path"] in out
    (tmp_path / "bytes.json").write_text(text.replace(record["sha256"], "0" * 64, 1))
    assert again(tmp_path / "bytes.json", tmp_path / "b", "report=false") == 1
    assert "content digests are equal), but 1 of" in capsys.readouterr().out


def test_libraries_that_differ_are_named(cited: Path) -> None:
    manifest: dict[str, Any] = read_manifest(cited)
    records = manifest["splits"]["train"]["shards"]
    there = json.loads(json.dumps(manifest))
    there["libraries"]["pyarrow"] = "1.0"
    there["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    found = FromManifest(where="x", manifest=there, spec=there["spec"]).compare(manifest)
    assert not found.same
    assert f"{records[0]['path']} first (pyarrow '1.0' there" in found.lines[0]


@pytest.mark.parametrize(
    "words",
    ["seed=1", "dataset=mano", "corpus=depo1", "examples=5", "format=parquet", "pack.length=64", "part=1/2"],
)
def test_nothing_else_decides_what_is_built(
    words: str, cited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert again(cited, tmp_path / "x", words) == 2
    assert f"{words}: the manifest decides what is built" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["plain", "with space", "it's (one); $HOME", "a=b,c", "back\\slash\\'"])
def test_the_advice_of_verify_is_a_command_that_mends(
    name: str, cited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / name
    shutil.copytree(cited, root)
    damaged = next(iter(sorted(root.glob("mano/train-*"))))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (root / "tokenizer.json").unlink()
    assert cli.main(["verify", argument("path", root)]) == 1
    advice = re.search(r"rebuilt by: (ostraca build .*)", capsys.readouterr().out)
    assert advice is not None
    _, *words = shlex.split(advice[1])
    assert cli.main([*words, "engine=local"]) == 0
    assert cli.main(["verify", argument("path", f"{root}/manifest.json")]) == 0
    assert files(root).keys() >= files(cited).keys()
    assert all(files(root)[path] == content for path, content in files(cited).items())


def test_the_path_of_a_manifest_is_that_of_its_corpus(cited: Path, tmp_path: Path) -> None:
    path = f"{cited}/manifest.json"
    for words in (
        ["verify", f"path={path}"],
        ["reproduce", f"path={path}", "shards=1"],
        ["inspect", f"path={path}", "show=1"],
        ["diff", f"path={path}", f"other={cited}"],
        ["export", f"path={path}", f"out={tmp_path}/e", "to=jsonl"],
        ["audit", f"path={path}", "examples=50"],
    ):
        assert cli.main(words) == 0, words
    for where in (path, f"{path}/", Path(path)):
        assert len(CorpusSource(where, split="train").datasets) == 3


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("manifest.json", "."),
        ("a/manifest.json", "a"),
        ("a/manifest.json/", "a"),
        ("/manifest.json", "/"),
        ("s3://bucket/c/manifest.json", "s3://bucket/c"),
    ],
)
def test_the_folder_of_a_file(file: str, folder: str) -> None:
    assert folder_of(file) == folder


def test_other_corpora_than_the_manifest_asks_for(
    cited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "dataset=mano", "dataset.L=2", "engine=local", "report=false", "dedup.mode=drop"]
    mine, moved = tmp_path / "mine", tmp_path / "moved"
    other = shutil.copytree(cited, tmp_path / "other")
    assert cli.main([*words, "examples=300", f"out={mine}", f"dedup.against=[{other}]"]) == 0
    other.rename(moved)
    assert again(mine, tmp_path / "a", "report=false", f"dedup.against=[{moved}]") == 0
    capsys.readouterr()
    assert again(mine, tmp_path / "b", "report=false", f"dedup.against=[{mine}]") == 2
    assert "the manifest asks for others (mano_depo1_capo," in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_corpus_of_another_version_gets_one_line(
    cited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(depo, "TASK", dataclasses.replace(depo.TASK, version=3))
    assert again(cited, tmp_path / "a") == 1
    err = capsys.readouterr().err
    assert "needs version 2 of task depo, but version 3 is installed" in err
    assert err.count("\n") == 1
