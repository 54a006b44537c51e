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
from pinned.corpora import CORPORA, EXPORTED, HERE, MERGED, OF_THE_MACHINE, exported, kept, words

from ostraca import cli


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
    assert folders == set(CORPORA)
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
    # Another pyarrow writes other bytes: then only what is said of the content must be equal.
    same_writer = pinned["libraries"]["pyarrow"] == today["libraries"]["pyarrow"]
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
    """Verified down to each token, and made again from the manifest; tokenizers are today's, by digest."""
    folder = tmp_path / name
    shutil.copytree(HERE / name, folder)
    for entry in manifest_of(folder)["files"]:
        data = (built[name] / entry["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], entry["path"]
        (folder / entry["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry["path"]).write_bytes(data)
    assert cli.main(["verify", f"path={folder}", "content=true"]) == 0
    assert cli.main(["reproduce", f"path={folder}"]) == 0
    assert capsys.readouterr().err == ""


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
