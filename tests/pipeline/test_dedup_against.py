"""Examples of other corpora: none stays, wherever these lie and however they were built."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from corpora import Rows, crowded, decoded, files_below
from dedup_cases import CASES, QUIET, SPLITS, check_is, first_draws
from oracles.dedup import identities, settle

from ostraca.loaders import CorpusSource
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.dedup import counts
from ostraca.pipeline.build.dedup.against import with_against
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.export.export import export
from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks.errors import OstracaError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces of unknown size are given up early, as the oracle is told too."""
    monkeypatch.setattr(counts, "QUIET", QUIET[0])
    monkeypatch.setattr(counts, "LEAST_QUIET", QUIET[1])


def against(*roots: Path, mode: str = "drop", key: str = "content", case: str = "manos") -> dict[str, Any]:
    """A case, against other corpora."""
    return {**CASES[case], "dedup": {"mode": mode, "key": key, "against": list(map(str, roots))}}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Corpora that hold some of the problems of the case "manos"."""
    root = tmp_path_factory.mktemp("others")
    config = {"L": 2, "value_mod": 3}
    splits = {"train": {"examples": 60}, "test": {"examples": 20, "form": "test"}}
    for name, own in {
        "plain": {"seed": 5},
        "more": {"seed": 6, "format": "webdataset"},
        "packed": {"seed": 7, "pack": {"length": 64, "mode": "left_aligned"}},
        "deduplicated": {"seed": 8, "dedup": {"mode": "redraw", "key": "content"}},
        "by tokens": {"seed": 9, "dedup": {"mode": "drop", "key": "tokens"}},
        "shared": {"seed": 10, "vocabulary": "shared"},
    }.items():
        build(crowded({"m": ("mano", config)}, splits, **own), root / name, engine="local")
    return {path.name: path for path in root.iterdir()}


def rows_with_published_ids(root: Path) -> Rows:
    """The examples of a corpus, packed or renamed or not: those of an equal spec that is neither."""
    manifest = read_manifest(root)
    spec = {**manifest["spec"], "vocabulary": "published", "pack": None}
    copy = root.parent / f"{root.name} plain"
    build(spec, copy, engine="local")
    return decoded(copy, spec)


@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize(
    "names",
    [["plain"], ["plain", "more"], ["deduplicated"], ["packed", "shared"], ["plain", "plain"]],
    ids=str,
)
def test_no_example_of_another_corpus_stays(
    others: dict[str, Path],
    tmp_path: Path,
    mode: str,
    names: list[str],
) -> None:
    spec = against(*(others[name] for name in names), mode=mode)
    first = first_draws({**spec, "dedup": None})
    taken: set[Any] = set()
    for name in names:
        theirs = read_manifest(others[name])["spec"]
        rows = (
            rows_with_published_ids(others[name])
            if name in ("packed", "shared")
            else decoded(others[name], theirs)
        )
        taken |= identities(theirs, rows, "content")
    made = build(spec, tmp_path / "c", engine="local")
    wanted = settle(made["spec"], first, taken=taken, quiet=QUIET)
    check_is(tmp_path / "c", made, wanted)
    assert not identities(made["spec"], wanted.rows, "content") & taken
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []


def test_where_another_corpus_has_all_of_round_0_all_are_redrawn(tmp_path: Path) -> None:
    """The same spec once more, against itself: every first draw loses, and all that stay are redrawn."""
    spec = crowded({"m": ("mano", {"L": 4})}, {"train": {"examples": 50}})
    build(spec, tmp_path / "one", engine="local")
    dedup = {"mode": "redraw", "key": "content", "against": [str(tmp_path / "one")]}
    made = build({**spec, "dedup": dedup}, tmp_path / "two", engine="local")
    assert made["dedup"] == {"m/train": {"asked": 50, "redrawn": 50, "dropped": 0, "exhausted": False}}


def test_nothing_at_all_may_stay(tmp_path: Path) -> None:
    """Against itself with mode drop: every shard is empty, and everything still works."""
    spec = crowded({"m": ("mano", {"L": 2})}, SPLITS)
    build(spec, tmp_path / "one", engine="local")
    dedup = {"mode": "drop", "against": [str(tmp_path / "one")]}
    for form, compression in (("parquet", "zstd"), ("webdataset", "none"), ("webdataset", "zstd")):
        root = tmp_path / f"{form} {compression}"
        made = build(
            {**spec, "dedup": dedup, "format": form, "compression": compression}, root, engine="local"
        )
        assert made["totals"]["rows"] == made["totals"]["tokens"] == 0
        assert made["content_digest"] == "0" * 32
        assert verify(root, content=True) == []
        assert reproduce(root)[1] == []
        with pytest.raises(OstracaError, match="has no example: all were dropped as duplicates"):
            CorpusSource(root)
        export(root, "jsonl", tmp_path / f"{root.name} lines")
        export(root, "megatron", tmp_path / f"{root.name} megatron")


def test_the_folder_of_the_other_corpus_may_move(others: dict[str, Path], tmp_path: Path) -> None:
    """What counts is what it holds: spec digest, manifest and files are the same but for the path."""
    one = build(against(others["plain"]), tmp_path / "one", engine="local")
    moved = shutil.copytree(others["plain"], tmp_path / "moved")
    two = build(against(moved), tmp_path / "two", engine="local")
    assert one["spec_digest"] == two["spec_digest"]
    assert files_below(tmp_path / "one") == files_below(tmp_path / "two")
    shutil.rmtree(moved)
    assert verify(tmp_path / "two", content=True) == []
    assert reproduce(tmp_path / "two")[1] == []
    next((tmp_path / "two").rglob("*.parquet")).unlink()
    build(two["spec"], tmp_path / "two", engine="local")  # mended, although the other corpus is gone
    assert verify(tmp_path / "two", content=True) == []


def test_another_corpus_that_is_gone_or_another_one_gets_one_line(
    others: dict[str, Path], tmp_path: Path
) -> None:
    complete = check_spec(with_against(against(others["plain"])))
    moved = copy.deepcopy(complete)
    moved["dedup"]["against"][0]["path"] = str(tmp_path / "nowhere")
    nameless = copy.deepcopy(complete)
    nameless["dedup"]["against"][0]["path"] = None
    wrong = copy.deepcopy(complete)
    wrong["dedup"]["against"][0]["path"] = str(others["more"])
    for spec, words in (
        (moved, "nowhere: no such folder"),
        (nameless, "say where the corpus crowded is"),
        (wrong, "has content digest .* but the spec asks for .* give the corpus with that digest"),
        (
            against(others["by tokens"]),
            "was deduplicated by tokens, this corpus by content; set dedup.key=tokens",
        ),
        (against(tmp_path / "nowhere"), r"dedup\.against: .*nowhere: no such folder"),
        (against(tmp_path), r"dedup\.against: .* holds no corpus"),
    ):
        with pytest.raises(OstracaError, match=words) as caught:
            build(spec, tmp_path / "c", engine="local")
        assert "\n" not in str(caught.value)
