"""What each split of a spec would take: exact counts, and sums of what its row groups cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..build.shards.prints import prints_size
from ..corpus.split import Split, SplitId, splits_of
from ..spec.dedup import searches
from ..store.folder import json_bytes
from .measure import Measured, Spread


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """A split of a dataset. Examples and shards are those of the build, the rest is expected."""

    dataset: str
    split: str
    examples: int
    tokens: int  # that are written
    shards: int
    shard_examples: int  # of every shard but the last
    shard_groups: int  # row groups of it
    shard_bytes: int
    shard_tokens: int
    bytes: int  # of all shards
    group_examples: int
    group_size: Spread  # bytes of a row group
    token_deviation: float  # of a row group's tokens
    rows: Spread  # of a row group's rows
    seconds: float  # of a core, for all of it
    shard_seconds: float  # for a shard
    print_bytes: int  # of the files of fingerprints, where duplicates are looked for
    record_bytes: int  # of the records that stand beside the shards until the build is done


def split_plans(spec: Mapping[str, Any], measured: Mapping[SplitId, Measured]) -> tuple[SplitPlan, ...]:
    """What each split of a complete spec takes."""
    return tuple(_split_plan(split, measured[split.id]) for split in splits_of(spec))


def _split_plan(split: Split, costs: Measured) -> SplitPlan:
    examples, group = split.examples, split.row_group_examples
    full = min(split.shard_examples, examples)
    shards = -(-examples // full)
    last = examples - (shards - 1) * full
    # The examples that were measured may be longer or shorter than the mean one.
    sampled = costs.tokens.mean / costs.examples
    mean = split.task.mean_tokens(split.config)
    mean = sampled if costs.statistics.rows == examples else mean
    scale = mean / max(sampled, 1e-9)

    def file_size(count: int) -> int:
        groups = -(-count // group)
        return round(costs.file_bytes + groups * costs.group_bytes + count * costs.example_bytes * scale)

    seconds = scale * costs.seconds / costs.examples
    look = searches(split.spec)
    record = len(json_bytes(costs.statistics.as_dict())) + 1000 + 3 * -(-full // group)
    return SplitPlan(
        dataset=split.dataset,
        split=split.name,
        examples=examples,
        tokens=round(examples * mean * costs.kept),
        shards=shards,
        shard_examples=full,
        shard_groups=-(-full // group),
        shard_bytes=file_size(full),
        shard_tokens=round(full * mean * costs.kept),
        bytes=(shards - 1) * file_size(full) + file_size(last),
        group_examples=group,
        group_size=Spread(
            mean=costs.group_bytes + min(group, full) * costs.example_bytes * scale,
            deviation=costs.deviation,
        ),
        token_deviation=costs.tokens.deviation,
        rows=costs.rows,
        seconds=examples * seconds,
        shard_seconds=full * seconds,
        print_bytes=(shards - 1) * prints_size(full) + prints_size(last) if look else 0,
        record_bytes=shards * record,
    )
