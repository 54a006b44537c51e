"""The vocabulary's files belong to the corpus: verified, mended, and enough to make Capo again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loaders import CorpusSource
from pipeline.build import build
from pipeline.verify import reproduce, verify

Maker = Callable[..., dict[str, Any]]


def test_the_manifest_lists_every_file_and_verify_reads_them(corpus_copy: Path) -> None:
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    paths = ["small/tokenizer.json", "small/tokenizer_config.json", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(file["path"] for file in manifest["files"]) == paths
    text = (corpus_copy / "tokenizer.json").read_text()
    (corpus_copy / "tokenizer.json").write_text(text.replace("<bos>", "<bus>"))
    (corpus_copy / "small" / "tokenizer_config.json").unlink()
    problems = verify(corpus_copy)
    assert len(problems) == 2
    assert "tokenizer_config.json: is missing" in problems[0]
    assert "tokenizer.json: corrupt" in problems[1]


def test_build_mends_a_missing_file(corpus_copy: Path, spec: Maker) -> None:
    before = (corpus_copy / "manifest.json").read_text()
    content = (corpus_copy / "tokenizer.json").read_bytes()
    (corpus_copy / "tokenizer.json").unlink()
    build(spec(), corpus_copy, engine="local")
    assert (corpus_copy / "tokenizer.json").read_bytes() == content
    assert verify(corpus_copy) == []
    again = json.loads((corpus_copy / "manifest.json").read_text())
    assert again["content_digest"] == json.loads(before)["content_digest"]


def test_a_file_outside_the_corpus_is_never_opened(corpus_copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    manifest["files"].append({"path": "../secret", "bytes": 1, "sha256": "0" * 64})
    (corpus_copy / "manifest.json").write_text(json.dumps(manifest))
    (problem,) = verify(corpus_copy)
    assert "'../secret', which is no file of the spec" in problem


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
def test_capo_is_made_again_without_the_tokenizer_it_came_with(tmp_path: Path, vocabulary: str) -> None:
    """The corpus has a copy, which is what decides; the path in the spec only says where it once was."""
    from tasks.capo.tokenizer import train_tokenizer

    train_tokenizer(tmp_path / "tok", vocab_size=500, num_people=30)
    config = {"num_people": 20, "exposures": 5, "tokenizer_name_or_path": str(tmp_path / "tok")}
    dataset = {"task": "capo", "config": config, "splits": {"train": {}, "test": {"form": "test"}}}
    build({"vocabulary": vocabulary, "datasets": {"people": dataset}}, tmp_path / "c", engine="local")
    shutil.rmtree(tmp_path / "tok")
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c") == (2, [])
    source = CorpusSource(tmp_path / "c", epochs=1)
    assert source.rows == 100
    assert source.vocab_size == 500
