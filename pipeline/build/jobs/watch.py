"""Who is told of a build as it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...corpus.records import ShardRecord
from .times import Times


def _no_shard(record: ShardRecord, kept: bool) -> None: ...


def _no_step(what: str, done: int, of: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is called, and where times are counted.

    on_shard(record, kept): once for every shard, in any order; kept: it was there already.
    on_step(what, done, of): for every step of deduplication.
    """

    on_shard: Callable[[ShardRecord, bool], None] = _no_shard
    on_step: Callable[[str, int, int], None] = _no_step
    times: Times = field(default_factory=Times)
