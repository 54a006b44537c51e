"""`dedup.mode=disjoint`, the default: no example of an eval split is in train. Against sets of tuples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import files_of
from corpora import decoded
from dedup_cases import CASES, first_draws, stays_in

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.merge import merge
from ostraca.pipeline.check.duplicates import find_in_corpus
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.manifest_checks import check_records
from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks.errors import ConfigError

DISJOINT = {"mode": "disjoint"}


def left_out(spec: Mapping[str, Any]) -> dict[tuple[str, str], set[int]]:
    """Of each split, the indices of the examples of train that some eval split of the same task has too."""
    task_of = {name: entry["task"] for name, entry in spec["datasets"].items()}
    first = first_draws(dict(spec))
    evals = {
        (task_of[dataset], tuple(row["input_ids"]))
        for (dataset, split), rows in first.items()
        if not split.startswith("train")
        for row in rows.values()
    }
    return {
        (dataset, split): {
            index
            for index, row in rows.items()
            if split.startswith("train") and (task_of[dataset], tuple(row["input_ids"])) in evals
        }
        for (dataset, split), rows in first.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_train_is_what_was_drawn_without_what_is_in_eval(name: str, tmp_path: Path) -> None:
    """Crowded corpora of four tasks: every other row stays as it is, and the manifest says what went."""
    spec = {**CASES[name], "dedup": DISJOINT}
    gone = left_out(spec)
    manifest = build(spec, tmp_path / "c", engine="local")
    rows = decoded(tmp_path / "c", manifest["spec"])
    assert sum(map(len, gone.values())) > 0
    assert rows == {
        part: {index: row for index, row in drawn.items() if index not in gone[part]}
        for part, drawn in first_draws(spec).items()
    }
    assert manifest["dedup"] == {
        "/".join(part): {
            "asked": len(drawn),
            "redrawn": 0,
            "dropped": len(gone[part]),
            "exhausted": False,
        }
        for part, drawn in first_draws(spec).items()
    }
    assert {part: set(stays) for part, stays in stays_in(tmp_path / "c").items()} == {
        part: set(kept) for part, kept in rows.items()
    }
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []
    found = find_in_corpus(tmp_path / "c")
    assert all(
        count == 0
        for split, each in found.items()
        if split.startswith("train")
        for before, count in each.shared.items()
        if not before.startswith("train")
    )


CROWDED = CASES["mano 2"]


@pytest.mark.parametrize(
    "more",
    [
        {"format": "webdataset"},
        {"format": "webdataset", "compression": "zstd", "vocabulary": "shared"},
        {"pack": {"length": 64, "mode": "best_fit"}},
        {"shard_tokens": 10**6, "row_group_tokens": 10**6},
    ],
    ids=str,
)
def test_it_is_the_same_in_every_format(more: dict[str, Any], tmp_path: Path) -> None:
    spec = {**CROWDED, **more, "dedup": DISJOINT}
    manifest = build(spec, tmp_path / "c", engine="local")
    gone = {"/".join(part): len(places) for part, places in left_out(CROWDED).items()}
    assert {part: each["dropped"] for part, each in manifest["dedup"].items()} == gone
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []


@pytest.mark.parametrize("name", ["depo2-75", "brevo2-30", "mano-10", "lano-cfg3f", "capo-50k"])
def test_where_nothing_is_in_both_nothing_changes(name: str, tmp_path: Path) -> None:
    """Presets: the content digest is that of mode=off."""
    dataset = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    sizes = {"train": {"examples": 300}, "test": {"examples": 50, "form": "test"}}
    digests = []
    for mode in ("off", None):
        entry = {"task": dataset["task"], "config": dataset["config"], "splits": sizes}
        spec = {"datasets": {name: entry}, "dedup": {"mode": mode}}
        digests.append(build(spec, tmp_path / str(mode), engine="local")["content_digest"])
    assert digests[0] == digests[1]


def test_parts_know_the_eval_splits_of_the_whole(tmp_path: Path) -> None:
    """Merged they are, byte for byte, the corpus of one build."""
    spec = {**CROWDED, "shard_tokens": 1000, "row_group_tokens": 500, "dedup": DISJOINT}
    build(spec, tmp_path / "whole", engine="local")
    for number in (1, 2, 3):
        build(spec, tmp_path / str(number), engine="local", part=(number, 3))
    merge([tmp_path / str(number) for number in (3, 1, 2)], tmp_path / "merged")
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")
    assert verify(tmp_path / "merged") == []


def test_ray_makes_the_same(tmp_path: Path, ray_session: Any) -> None:
    spec = {**CROWDED, "dedup": DISJOINT}
    build(spec, tmp_path / "ray", engine="ray")
    build(spec, tmp_path / "local", engine="local")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


def test_what_verify_says_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As drawn it only tells; where the spec promises disjoint splits it is an error."""
    splits = {"train": {"examples": 300}, "test": {"examples": 30}}
    spec = {"datasets": {"m": {"task": "mano", "config": {"L": 1, "value_mod": 5}, "splits": splits}}}
    build({**spec, "dedup": {"mode": "off"}}, tmp_path / "off", engine="local")
    shared = len(left_out(spec)["m", "train"])
    assert cli.main(["verify", f"path={tmp_path}/off", "duplicates=true"]) == 0
    assert f", {shared:,} also in test\n" in capsys.readouterr().out
    build(spec, tmp_path / "on", engine="local")
    assert cli.main(["verify", f"path={tmp_path}/on", "duplicates=true"]) == 0
    assert ", 0 also in test\n" in capsys.readouterr().out


def test_it_is_the_default_and_says_what_it_cannot() -> None:
    spec = {**CROWDED, "dedup": None}
    assert check_spec(spec)["dedup"] == {"mode": "disjoint", "key": "tokens", "against": []}
    assert check_spec({**spec, "dedup": {"mode": False}})["dedup"]["mode"] == "off"
    with pytest.raises(ConfigError, match=r"dedup.key=content needs dedup.mode=drop or redraw"):
        check_spec({**spec, "dedup": {"key": "content"}})
    other = {"name": "x", "spec_digest": "0", "content_digest": "0"}
    with pytest.raises(ConfigError, match=r"dedup.against needs dedup.mode=drop or redraw"):
        check_spec({**spec, "dedup": {"against": [other]}})


def test_eval_splits_too_large_for_memory_are_told_at_once(tmp_path: Path) -> None:
    splits = {"train": {"examples": 10}, "test": {"examples": 10**8}}
    spec = {"datasets": {"m": {"task": "mano", "config": {"L": 1}, "splits": splits}}}
    with pytest.raises(ConfigError, match=r"100,000,000 eval examples .* raise that, or set dedup.mode=off"):
        build(spec, tmp_path / "c", engine="local", memory="1GiB")
    assert not list((tmp_path / "c").rglob("*.parquet"))
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_an_eval_example_that_was_left_out_is_an_edit(tmp_path: Path) -> None:
    """Only train loses examples: a manifest that says otherwise is not believed."""
    build({**CROWDED, "dedup": DISJOINT}, tmp_path / "c", engine="local")
    manifest = read_manifest(tmp_path / "c")
    manifest["splits"]["test"]["shards"][0]["changes"] = str(Changes.dropping(np.array([1, 5])))
    assert "eval split" in check_records(manifest)[0]
