"""How a split fares in the rounds, and when there is nothing more to draw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ....tasks import get_task
from ....tasks.core.rng import canonical_json

QUIET = 16  # a split is given up after so many draws without a new example for each that it has,
LEAST_QUIET = 1 << 16  # at least so many,
MOST_QUIET = 1 << 22  # and at most: a single one takes about 60 microseconds


@dataclass(kw_only=True)
class Counts:
    """Examples of one split."""

    asked: int = 0
    first: int | None = None  # stayed in round 0, once it is over
    stayed: int = 0
    quiet: int = 0  # draws since the last that was new
    complete: bool = False  # it is not full, and its space is known and used up

    def end_round(self, tried: int, lost: int) -> None:
        """Count a round in which `tried` examples tried and `lost` lost."""
        if self.first is None:
            self.first = tried - lost
        self.stayed += tried - lost
        self.quiet = self.quiet + tried if lost == tried else 0

    def as_dict(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "asked": self.asked,
            "redrawn": self.stayed - (self.first or 0),
            "dropped": self.asked - self.stayed,
            "exhausted": self.complete,
        }


@dataclass(frozen=True, kw_only=True)
class Space:
    """Splits that draw from the same examples."""

    parts: tuple[tuple[str, str], ...]
    size: int | None  # how many different ones there are; None: not known


def spaces_of(spec: Mapping[str, Any], parts: Iterable[tuple[str, str]]) -> list[Space]:
    """The spaces that the splits of a spec draw from."""
    by_content = spec["dedup"]["key"] == "content"
    sharing: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, int | None] = {}
    for dataset, split in parts:
        entry = spec["datasets"][dataset]
        task, config = get_task(entry["task"]), entry["splits"][split]["config"]
        # The examples of the test form are some of those of the other.
        name = canonical_json([task.name, {k: v for k, v in config.items() if k not in task.test_form}])
        sharing.setdefault(name, []).append((dataset, split))
        size = None if task.distinct is None else task.distinct(config, by_content)
        known = [each for each in (sizes.get(name), size) if each is not None]
        sizes[name] = max(known, default=None)
    return [Space(parts=tuple(own), size=sizes[name]) for name, own in sharing.items()]


def exhausted(
    spaces: Iterable[Space],
    counts: Mapping[tuple[str, str], Counts],
    among: Collection[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Those of some splits that are not full and whose draws give nothing new.

    Their space is known and used up, or they were long quiet.
    """
    found: list[tuple[str, str]] = []
    for space in spaces:
        used_up = sum(counts[part].stayed for part in space.parts) == space.size
        for part in space.parts:
            lacks = part in among and counts[part].stayed < counts[part].asked
            if lacks and (used_up or _is_quiet(counts[part])):
                found.append(part)
    return found


def mark_complete(spaces: Iterable[Space], counts: Mapping[tuple[str, str], Counts]) -> None:
    """Say of every split that is not full whether that is because there are no more, once all is settled."""
    for space in spaces:
        if sum(counts[part].stayed for part in space.parts) == space.size:
            for part in space.parts:
                counts[part].complete = counts[part].stayed < counts[part].asked


def _is_quiet(counts: Counts) -> bool:
    return counts.quiet >= min(max(QUIET * counts.stayed, LEAST_QUIET), MOST_QUIET)
