"""What a manifest says of row groups is checked against the files: verify passes nothing a loader refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import EVERY_FORMAT, LOAD, VERIFY, build_small, without_tails
from harness.hostile import Case, try_all

from ostraca.pipeline.corpus.numbers import decode_numbers, encode_numbers

Numbers = Callable[[Any], Any]
TOLD = frozenset({"load", "verify"})


def _moved(place: int, by: int, numbers: Any) -> Any:
    """One more here, one fewer there: the sum stays."""
    changed = numbers.copy()
    changed[place] += by
    changed[(place + 1) % len(numbers)] -= by
    return changed


LISTS: dict[str, Numbers] = {
    "one row to the next group": partial(_moved, 0, 1),
    "all rows to the next group": lambda numbers: np.append(0, np.cumsum(numbers)[1:]),
    "two groups swapped": lambda numbers: numbers[[1, 0, *range(2, len(numbers))]],
    "a number more": lambda numbers: np.append(numbers, 1),
    "a number less": lambda numbers: numbers[:-1],
    "below 0": lambda numbers: -numbers,
    "all one": np.ones_like,
    "huge": lambda numbers: numbers + 2**62,
    "none": lambda numbers: numbers[:0],
    "reversed": lambda numbers: numbers[::-1].copy(),
    "the last one higher": lambda numbers: _moved(len(numbers) - 1, 1, numbers),
}


def _edit(field: str, number: int, change: Callable[[str], str], root: Path) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    record = manifest["splits"]["train"]["shards"][number]
    record[field] = change(record[field])
    (root / "manifest.json").write_text(json.dumps(manifest))


def _texts(text: str) -> Iterator[tuple[str, str]]:
    rng = random.Random(0)
    yield from {"empty": "", "a letter": "x", "not ASCII": "é" * 9}.items()
    for _ in range(6):
        place = rng.randrange(len(text))
        letter = rng.choice([each for each in "0123456789abcdef:" if each != text[place]])
        yield f"{letter} at {place}", text[:place] + letter + text[place + 1 :]
    yield "cut", text[: len(text) // 2]


def _cases(root: Path) -> list[Case]:
    record = json.loads((root / "manifest.json").read_text())["splits"]["train"]["shards"][0]
    found = []
    for field in ("group_rows", "group_tokens", "group_ends", "tail"):
        text = record.get(field)
        if text is None:
            continue
        changes = dict(_texts(text))
        for name, change in LISTS.items() if field != "tail" else ():
            numbers = decode_numbers(text, len(text) * 1000)
            changed = change(numbers)
            if not np.array_equal(changed, numbers):
                changes[name] = encode_numbers(changed)
        found += [
            Case(
                name=f"{field}: {name}",
                damage=partial(_edit, field, 0, lambda _, new=new: new),
                told_by=TOLD,
            )
            for name, new in changes.items()
        ]
    return found


@pytest.mark.parametrize("form", EVERY_FORMAT)
@pytest.mark.parametrize("tails", [True, False])
def test_edits_of_row_groups_are_told(form: str, tails: bool, tmp_path: Path) -> None:
    root = build_small(tmp_path / "c", **EVERY_FORMAT[form])
    if not tails:
        if form == "parquet":
            pytest.skip("its manifest has no list of row groups")
        root = without_tails(root, tmp_path / "old")
    found = _cases(root)
    assert len(found) >= 10
    try_all(root, found, [LOAD, VERIFY], tmp_path / "trials").check()
