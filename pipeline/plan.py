"""The plan: a complete spec's splits, cut into shards. Pure, and lazy: a shard is arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A range of examples of one split of one dataset, and the file it becomes."""

    dataset: str
    split: str
    number: int  # of `total`
    total: int
    first_index: int
    count: int

    @property
    def path(self) -> str:
        """The file's path inside the corpus."""
        return f"{self.dataset}/{self.split}-{self.number:05d}-of-{self.total:05d}.parquet"


def shards_of(dataset: str, split: str, entry: Mapping[str, Any]) -> Iterator[Shard]:
    """The shards of one split, whose entry in the complete spec is `entry`."""
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
        )


def plan(spec: Mapping[str, Any]) -> Iterator[Shard]:
    """All shards of a complete spec, in the order of the manifest."""
    for dataset, entry in spec["datasets"].items():
        for split, split_entry in entry["splits"].items():
            yield from shards_of(dataset, split, split_entry)


def count_shards(spec: Mapping[str, Any]) -> int:
    """How many shards the plan has."""
    return sum(
        -(-split["examples"] // split["shard_examples"])
        for entry in spec["datasets"].values()
        for split in entry["splits"].values()
    )


def count_examples(spec: Mapping[str, Any]) -> int:
    """How many examples the plan has."""
    return sum(split["examples"] for entry in spec["datasets"].values() for split in entry["splits"].values())
