"""What a corpus holds, summed over its shards as they are finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.shard import Made
from pipeline.statistics import Counts, Statistics

STATISTICS = "report/statistics.json"


class Totals(Mapping[tuple[str, str], Counts]):
    """(dataset, split) -> its statistics before and after deduplication."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counts] = {}

    def __getitem__(self, part: tuple[str, str]) -> Counts:
        return self._counts[part]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, dataset: str, split: str, before: Statistics, after: Statistics) -> None:
        """Count some examples of a split."""
        counts = self._counts.get((dataset, split), Counts(before=Statistics(), after=Statistics()))
        self._counts[dataset, split] = Counts(before=counts.before + before, after=counts.after + after)

    def add_shard(self, made: Made) -> None:
        """Count a shard."""
        self.add(made.record.dataset, made.record.split, made.before, made.after)

    def add_all(self, other: Mapping[tuple[str, str], Counts]) -> None:
        """Count all that others counted."""
        for (dataset, split), counts in other.items():
            self.add(dataset, split, counts.before, counts.after)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, by "dataset/split"."""
        return {
            "/".join(part): {"before": each.before.as_dict(), "after": each.after.as_dict()}
            for part, each in sorted(self._counts.items())
        }

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Totals:
        """What `as_dict` gave."""
        made = Totals()
        for name, each in plain.items():
            dataset, split = name.rsplit("/", 1)
            made.add(dataset, split, *(Statistics.from_dict(each[side]) for side in ("before", "after")))
        return made
