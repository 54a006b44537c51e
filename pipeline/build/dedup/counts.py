"""How a split fares in the rounds, and when there is nothing more to draw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...corpus.split import Split

QUIET = 16  # a split is given up after so many draws without a new example for each that it has,
LEAST_QUIET = 1 << 16  # at least so many,
MOST_QUIET = 1 << 22  # and at most: a single one takes about 60 microseconds


@dataclass(kw_only=True)
class Score:
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


def spaces_of(splits: Iterable[Split]) -> list[Space]:
    """The spaces that these splits draw from."""
    sharing: dict[str, list[Split]] = {}
    for split in splits:
        sharing.setdefault(split.space, []).append(split)
    spaces = []
    for own in sharing.values():
        known = [split.distinct for split in own if split.distinct is not None]
        spaces.append(Space(parts=tuple(split.id for split in own), size=max(known, default=None)))
    return spaces


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How all splits of a search fare."""

    counts: Mapping[tuple[str, str], Score]
    spaces: Sequence[Space]

    @staticmethod
    def of(splits: Collection[Split]) -> Standing:
        """Before the first round; how many are asked for has still to be counted."""
        return Standing(counts={split.id: Score() for split in splits}, spaces=spaces_of(splits))

    def exhausted(self, among: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of some splits that are not full and whose draws give nothing new.

        Their space is known and used up, or they were long quiet.
        """
        members: list[tuple[str, str]] = []
        for space in self.spaces:
            used_up = self._is_used_up(space)
            for part in space.parts:
                lacks = part in among and self.counts[part].stayed < self.counts[part].asked
                if lacks and (used_up or _is_quiet(self.counts[part])):
                    members.append(part)
        return members

    def mark_complete(self) -> None:
        """Once all is settled: say of each split that is not full whether there are no more."""
        for space in filter(self._is_used_up, self.spaces):
            for part in space.parts:
                self.counts[part].complete = self.counts[part].stayed < self.counts[part].asked

    def _is_used_up(self, space: Space) -> bool:
        return sum(self.counts[part].stayed for part in space.parts) == space.size


def _is_quiet(counts: Score) -> bool:
    return counts.quiet >= min(max(QUIET * counts.stayed, LEAST_QUIET), MOST_QUIET)
