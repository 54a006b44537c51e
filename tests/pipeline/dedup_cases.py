"""What the tests of deduplication share: crowded corpora, their first draws, comparing with the oracle."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from corpora import Rows, crowded, decoded
from oracles.dedup import Outcome

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.manifest import read_manifest, records_of

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
QUIET = 3, 60  # the rule for giving up, with less patience than in earnest


def first_draws(spec: dict[str, Any]) -> Rows:
    """The rows of a spec built without deduplication; each is built once."""
    return _first_draws(json.dumps({**spec, "dedup": {"mode": "off"}}))


@functools.cache
def _first_draws(text: str) -> Rows:
    with tempfile.TemporaryDirectory() as root:
        return decoded(Path(root), build(json.loads(text), root, engine="local")["spec"])


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
