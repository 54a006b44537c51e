"""The plan: a complete spec's splits, cut into shards. Pure, and lazy: a shard is arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .formats import suffix_of


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A range of examples of one split of one dataset, and the file it becomes."""

    dataset: str
    split: str
    number: int  # of `total`
    total: int
    first_index: int
    count: int
    suffix: str

    @property
    def path(self) -> str:
        """The file's path inside the corpus."""
        return f"{self.dataset}/{self.split}-{self.number:05d}-of-{self.total:05d}.{self.suffix}"


def shards_of(spec: Mapping[str, Any], dataset: str, split: str) -> Iterator[Shard]:
    """The shards of one split of a complete spec."""
    entry = spec["datasets"][dataset]["splits"][split]
    examples, size = entry["examples"], entry["shard_examples"]
    total = -(-examples // size)
    for number in range(total):
        first = number * size
        yield Shard(
            dataset=dataset,
            split=split,
            number=number,
            total=total,
            first_index=first,
            count=min(size, examples - first),
            suffix=suffix_of(spec["format"], spec["compression"]),
        )


Part = tuple[
    int, int
]  # (number, of): the corpus is built in `of` parts, of which this is the number-th, from 1
WHOLE: Part = (1, 1)


def is_eval(split: str) -> bool:
    """Whether a split is none of train, by its name: its examples come before train's, and stay out of it."""
    return not split.startswith("train")


def plan(spec: Mapping[str, Any], part: Part = WHOLE) -> Iterator[Shard]:
    """All shards of a complete spec, or of a part of it, in the order of the manifest.

    A part has consecutive shards of every split.
    """
    for dataset, entry in spec["datasets"].items():
        for split, split_entry in entry["splits"].items():
            numbers = _numbers(split_entry, part)
            yield from itertools.islice(shards_of(spec, dataset, split), numbers.start, numbers.stop)


def _numbers(entry: Mapping[str, Any], part: Part) -> range:
    """The numbers of the shards of a split that belong to a part."""
    total = -(-entry["examples"] // entry["shard_examples"])
    return range(total * (part[0] - 1) // part[1], total * part[0] // part[1])


def _splits(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in spec["datasets"].values():
        yield from entry["splits"].values()


def count_shards(spec: Mapping[str, Any], part: Part = WHOLE) -> int:
    """How many shards the plan has."""
    numbers = (_numbers(entry, part) for entry in _splits(spec))
    return sum(run.stop - run.start for run in numbers)  # len() would not take 2^63


def count_examples(spec: Mapping[str, Any], part: Part = WHOLE) -> int:
    """How many examples the plan has, before deduplication."""
    count = 0
    for entry in _splits(spec):
        numbers, size = _numbers(entry, part), entry["shard_examples"]
        count += min(entry["examples"], numbers.stop * size) - min(entry["examples"], numbers.start * size)
    return count
