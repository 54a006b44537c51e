"""`verify duplicates=true`: what a corpus holds twice, against a count by plain Python."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.duplicates import Found, find_in_corpus
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.spec.packing import PACK_MODES
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import OstracaError


def spec(**more: Any) -> dict[str, Any]:
    splits = {"test": {"examples": 400, "form": "test"}, "train": {"examples": 3000}}
    datasets = {"mano": {"task": "mano", "config": {"L": 1}, "splits": splits}}
    return {"datasets": datasets, "shard_tokens": 4000, "row_group_tokens": 1000, **more}


def rows_of(root: Path, split: str) -> list[tuple[int, ...]]:
    manifest = read_manifest(root)
    reader = split_reader(open_folder(root), manifest, Split.of(manifest["spec"], "mano", split))
    return [tuple(row) for _, batch in reader.batches() for row in batch.column("input_ids").to_pylist()]


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
@pytest.mark.parametrize("memory", [1 << 30, 1 << 15])
def test_counts_are_those_of_plain_python(tmp_path: Path, vocabulary: str, memory: int) -> None:
    build(spec(vocabulary=vocabulary, dedup={"mode": "off"}), tmp_path / "c", engine="local")
    test, train = rows_of(tmp_path / "c", "test"), rows_of(tmp_path / "c", "train")
    wanted = {
        "test": Found(examples=400, twice=400 - len(set(test)), shared={}),
        "train": Found(
            examples=3000,
            twice=3000 - len(set(train)),
            shared={"test": sum(count for row, count in Counter(train).items() if row in set(test))},
        ),
    }
    assert wanted["train"].shared["test"] > 0 < wanted["train"].twice
    assert find_in_corpus(tmp_path / "c", key="tokens", memory=memory) == wanted


@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_a_deduplicated_corpus_has_none(tmp_path: Path, mode: str, key: str, capsys: Any) -> None:
    build(spec(dedup={"mode": mode, "key": key}), tmp_path / "c", engine="local")
    assert all(
        each.twice == sum(each.shared.values()) == 0 for each in find_in_corpus(tmp_path / "c").values()
    )
    assert cli.main(["verify", f"path={tmp_path}/c", "duplicates=true"]) == 0
    assert "0 of them twice" in capsys.readouterr().out


def test_a_broken_promise_is_told(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ostraca.pipeline.build.dedup import outcome as module

    monkeypatch.setattr(module, "changed_shards", lambda *given: [])  # what was found is not done
    build(spec(dedup={"mode": "drop"}), tmp_path / "c", engine="local")
    monkeypatch.setattr(
        "ostraca.pipeline.check.verify.verify", lambda *given, **also: []
    )  # it would see the counts
    monkeypatch.setattr(
        "ostraca.pipeline.check.duplicates.require_records", lambda *given: None
    )  # and so would this
    assert cli.main(["verify", f"path={tmp_path}/c", "duplicates=true"]) == 1
    assert "promises none of these" in capsys.readouterr().out


@pytest.mark.parametrize("mode", PACK_MODES)
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_packed_examples_are_counted_where_none_is_cut(tmp_path: Path, mode: str, key: str) -> None:
    build(spec(), tmp_path / "plain", engine="local")
    build(spec(pack={"length": 64, "mode": mode}), tmp_path / "packed", engine="local")
    if mode in ("whole", "best_fit"):
        found = find_in_corpus(tmp_path / "plain", key=key)
        assert found["train"].twice > 0
        assert find_in_corpus(tmp_path / "packed", key=key) == found
        assert find_in_corpus(tmp_path / "packed", key=key, memory=1 << 16) == found
    else:
        with pytest.raises(OstracaError, match=f"pack.mode={mode} has cut examples"):
            find_in_corpus(tmp_path / "packed", key=key)
