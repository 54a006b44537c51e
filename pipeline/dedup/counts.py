"""How a split fares in the rounds, and when there is nothing more to draw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tasks import get_task
from tasks.rng import canonical_json

QUIET = 16  # a split is given up after so many draws without a new example for each that it has,
LEAST_QUIET = 1 << 16  # and at least so many


@dataclass(kw_only=True)
class Counts:
    """Examples of one split."""

    asked: int = 0
    first: int = 0  # stayed at once
    stayed: int = 0
    rounds: int = 0
    quiet: int = 0  # draws since the last that was new
    complete: bool = False  # its space is known, and used up

    def end_round(self, tried: int, lost: int) -> None:
        """Count a round in which `tried` examples tried and `lost` lost."""
        if self.rounds == 0:
            self.first = tried - lost
        self.rounds += 1
        self.stayed += tried - lost
        self.quiet = self.quiet + tried if lost == tried else 0

    def as_dict(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "asked": self.asked,
            "redrawn": self.stayed - self.first,
            "dropped": self.asked - self.stayed,
            "exhausted": self.complete,
        }


def exhausted(
    spec: Mapping[str, Any],
    counts: Mapping[tuple[str, str], Counts],
    among: Collection[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Those of some splits that are not full and whose draws give nothing new.

    Their space is known and used up, or they were long quiet.
    """
    by_content = spec["dedup"]["key"] == "content"
    spaces: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, int] = {}
    for dataset, split in counts:
        entry = spec["datasets"][dataset]
        task, config = get_task(entry["task"]), entry["splits"][split]["config"]
        # The examples of the test form are some of those of the other.
        name = canonical_json([task.name, {k: v for k, v in config.items() if k not in task.test_form}])
        spaces.setdefault(name, []).append((dataset, split))
        size = None if task.distinct is None else task.distinct(config, by_content)
        sizes[name] = max(sizes.get(name, -1), -1 if size is None else size)
    found = []
    for name, parts in spaces.items():
        if sum(counts[part].stayed for part in parts) == sizes[name]:
            for part in parts:
                counts[part].complete = counts[part].stayed < counts[part].asked
            found += parts
        else:
            found += [part for part in parts if _is_quiet(counts[part])]
    return [part for part in found if part in among and counts[part].stayed < counts[part].asked]


def _is_quiet(counts: Counts) -> bool:
    return counts.quiet >= max(QUIET * counts.stayed, LEAST_QUIET)
