"""Promise 4, against an oracle: no example twice, none of an eval split in train; the rows that must stay do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import Rows, crowded, decoded, files_below
from oracles.dedup import Outcome, identities, settle

from pipeline.build import build
from pipeline.changes import Changes
from pipeline.dedup import counts, search, tail
from pipeline.manifest import read_manifest, records_of
from pipeline.spec import check_spec
from pipeline.verify import reproduce, verify

SPLITS = {
    "train": {"examples": 420},
    "train_more": {"examples": 90},
    "test": {"examples": 80, "form": "test"},
    "valid": {"examples": 110},
}
TINY_DEPO = {"N": 3, "K": 2, "M": 1, "mini_vocab": 2}
GRAMMAR = "7 -> 5 6 | 6 5 | 5 5 6\n5 -> 1 | 1 1 | 2\n6 -> 1 | 1 2\n"
CASES: dict[str, dict[str, Any]] = {
    "mano 1": crowded({"m": ("mano", {"L": 1, "value_mod": 5})}, SPLITS),
    "mano 2": crowded({"m": ("mano", {"L": 2, "value_mod": 3})}, SPLITS),
    "mano 3": crowded({"m": ("mano", {"L": 3, "value_mod": 2, "knowledge_augment": False})}, SPLITS),
    "manos": crowded(
        {
            "b": ("mano", {"L": 2, "value_mod": 3}),
            "a": ("mano", {"L": 1, "value_mod": 3}),
            "c": ("mano", {"L": 2, "value_mod": 3, "bos_token_id": 70}),
        },
        SPLITS,
    ),
    "depo": crowded({"d": ("depo", TINY_DEPO)}, SPLITS),
    "brevo": crowded({"b": ("brevo", {"N": 3}), "other": ("brevo", {"N": 4, "max_in": 1})}, SPLITS),
    "lano": crowded(
        {"l": ("lano", {"grammar": GRAMMAR})},
        {name: {"examples": entry["examples"]} for name, entry in SPLITS.items()},
    ),
}
QUIET = 16, 700  # the rule for giving up, with less patience than in earnest


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces of unknown size are given up early, as the oracle is told too."""
    monkeypatch.setattr(counts, "QUIET", QUIET[0])
    monkeypatch.setattr(counts, "LEAST_QUIET", QUIET[1])


@pytest.fixture(scope="module")
def first_draws(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Rows]:
    """The rows of a spec built without deduplication; each is built once."""
    kept: dict[str, Rows] = {}

    def rows(spec: dict[str, Any]) -> Rows:
        plain = {**spec, "dedup": None}
        if repr(plain) not in kept:
            root = tmp_path_factory.mktemp("off") / "c"
            kept[repr(plain)] = decoded(root, build(plain, root, engine="local")["spec"])
        return kept[repr(plain)]

    return rows


def stays_in(root: Path) -> dict[tuple[str, str], dict[int, int]]:
    """Of each split, the indices that a manifest says stay, and from which attempt."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    for split, record in records_of(read_manifest(root)):
        own = dict.fromkeys(range(record["count"]), 0)
        changes = Changes.parse(record.get("changes", ""), record["count"])
        own |= dict(zip(changes.places.tolist(), changes.attempts.tolist(), strict=True))
        dropped = set(changes.places[changes.attempts == 0].tolist())
        found.setdefault((record["dataset"], split), {}).update(
            {record["first_index"] + place: own[place] for place in own if place not in dropped}
        )
    return found


def check_is(root: Path, manifest: dict[str, Any], wanted: Outcome) -> None:
    """The corpus in `root` is what the oracle says, in its files and in its manifest."""
    assert manifest["dedup"] == wanted.counts
    assert stays_in(root) == wanted.attempts
    assert decoded(root, manifest["spec"]) == wanted.rows
    assert {name: len(rows) for name, rows in wanted.rows.items()} == {
        (each["dataset"], split): sum(
            other["rows"] for other in entry["shards"] if other["dataset"] == each["dataset"]
        )
        for split, entry in manifest["splits"].items()
        for each in entry["shards"]
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_exactly_the_rows_of_the_oracle_stay(
    first_draws: Callable[[dict[str, Any]], Rows], tmp_path: Path, name: str, mode: str, key: str
) -> None:
    spec = {**CASES[name], "dedup": {"mode": mode, "key": key}}
    wanted = settle(check_spec(spec), first_draws(spec), quiet=QUIET)
    assert any(entry["dropped"] + entry["redrawn"] for entry in wanted.counts.values())
    manifest = build(spec, tmp_path / "c", engine="local", workers=2)
    check_is(tmp_path / "c", manifest, wanted)
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []
    names = identities(manifest["spec"], wanted.rows, key)
    assert len(names) == manifest["totals"]["rows"]  # so no two are the same
