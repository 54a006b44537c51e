"""Deduplication by its law, in plain Python: dictionaries and sets over whole examples, round by round.

All examples are ranked: splits whose name does not begin with "train" first, then by split, dataset and
index. Each is tried as it was first drawn, by rank; it stays where no equal one has stayed before. With
"redraw" this goes split by split: attempt a of all of the split that have lost so far is tried in its round
a, until all stay. A dataset's split is given up when its space is used up, or after so many draws without a
new example that no more are to be expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from oracles.content import canonical

from ostraca.tasks import get_task
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.examples import stream_of

Part = tuple[str, str]  # dataset, split
Rows = dict[Part, dict[int, dict[str, Any]]]  # index -> columns, with published ids


@dataclass
class Outcome:
    """What stays, from which attempt, and how each split fared."""

    rows: Rows
    attempts: dict[Part, dict[int, int]]
    counts: dict[str, dict[str, Any]]
    taken: set[Any] = field(repr=False)


def identity(task: str, config: Mapping[str, Any], row: Mapping[str, Any], key: str) -> Any:
    """What is equal exactly where two examples are the same."""
    tokens = row["input_ids"] if "input_ids" in row else row["text"]
    if key == "content" and task != "capo":
        return task, canonical(task, config, tokens)
    return task, tuple(tokens)


def identities(spec: Mapping[str, Any], rows: Rows, key: str) -> set[Any]:
    """Those of all rows of a corpus."""
    found = set()
    for (dataset, split), own in rows.items():
        entry = spec["datasets"][dataset]
        config = entry["splits"][split]["config"]
        found |= {identity(entry["task"], config, row, key) for row in own.values()}
    return found


def draw(spec: Mapping[str, Any], part: Part, index: int, attempt: int) -> dict[str, Any]:
    """One attempt at one example."""
    entry = spec["datasets"][part[0]]
    task, config = get_task(entry["task"]), entry["splits"][part[1]]["config"]
    key = stream_of(task, config, spec["seed"], part[1], attempt=attempt)
    return rows_of(task.generate(config, key, np.array([index])))[0]


def settle(
    spec: Mapping[str, Any],
    first: Rows,
    *,
    taken: set[Any] = frozenset(),  # type: ignore[assignment]
    quiet: tuple[int, int] = (16, 1 << 16),
) -> Outcome:
    """Who stays of the complete `spec`, whose examples are `first` as they were first drawn.

    taken: the identities of other corpora's examples. quiet: a split is given up after so many draws without
    a new example for each that it has, and at least so many.
    """
    mode, key = spec["dedup"]["mode"], spec["dedup"]["key"]
    taken = set(taken)
    ranked = sorted(first, key=lambda part: (part[1].startswith("train"), part[1], part[0]))
    waiting = {part: sorted(first[part]) for part in ranked}
    attempts: dict[Part, dict[int, int]] = {part: {} for part in ranked}
    rows: Rows = {part: {} for part in ranked}
    still = dict.fromkeys(ranked, 0)  # draws since the last that was new
    over: set[Part] = set()
    complete: set[Part] = set()
    names = list(dict.fromkeys(part[1] for part in ranked))
    for names_now in [[name] for name in names] if mode == "redraw" else [names]:
        now = [part for part in ranked if part[1] in names_now]
        attempt = 0
        while True:
            for part in now:
                entry = spec["datasets"][part[0]]
                config = entry["splits"][part[1]]["config"]
                tried = [] if part in over else waiting[part]
                lost = []
                for index in tried:
                    row = first[part][index] if attempt == 0 else draw(spec, part, index, attempt)
                    name = identity(entry["task"], config, row, key)
                    if name in taken:
                        lost.append(index)
                        continue
                    taken.add(name)
                    rows[part][index] = row
                    attempts[part][index] = attempt
                still[part] = still[part] + len(tried) if len(lost) == len(tried) else 0
                if part not in over:
                    waiting[part] = lost
            if mode == "drop":
                break
            for part in now:
                if _used_up(spec, part, rows, key):
                    over.add(part)
                elif still[part] >= max(quiet[0] * len(rows[part]), quiet[1]):
                    over.add(part)
            if all(part in over or not waiting[part] for part in now):
                break
            attempt += 1
    if mode == "redraw":
        complete = {part for part in ranked if waiting[part] and _used_up(spec, part, rows, key)}
    counts = {
        "/".join(part): {
            "asked": len(first[part]),
            "redrawn": sum(number > 0 for number in attempts[part].values()),
            "dropped": len(first[part]) - len(rows[part]),
            "exhausted": part in complete,
        }
        for part in ranked
    }
    return Outcome(rows=rows, attempts=attempts, counts=counts, taken=taken)


def _space(spec: Mapping[str, Any], part: Part) -> Any:
    """Equal for splits that draw from one space: their configs differ in nothing but the form of the test."""
    entry = spec["datasets"][part[0]]
    test_form = get_task(entry["task"]).test_form
    config = entry["splits"][part[1]]["config"]
    return entry["task"], sorted((k, repr(v)) for k, v in config.items() if k not in test_form)


def _used_up(spec: Mapping[str, Any], part: Part, rows: Rows, key: str) -> bool:
    """Whether the splits of a space hold all that it has, where it is known how many that are."""
    together = [other for other in rows if _space(spec, other) == _space(spec, part)]
    sizes = []
    for dataset, split in together:
        entry = spec["datasets"][dataset]
        count = get_task(entry["task"]).distinct
        sizes.append(None if count is None else count(entry["splits"][split]["config"], key == "content"))
    known = [size for size in sizes if size is not None]
    return bool(known) and sum(len(rows[other]) for other in together) == max(known)
