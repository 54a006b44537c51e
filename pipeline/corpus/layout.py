"""Where the files of a corpus stand in its folder."""

from __future__ import annotations

from ..spec.shards import Shard

STATE = ".ostraca-build"  # spec.json, lock, a record of each finished shard, and what deduplication needs
LOCK = f"{STATE}/lock"
SPEC = f"{STATE}/spec.json"
STATISTICS = "report/statistics.json"


def aside_path(path: str) -> str:
    """Where the shard that will stand at `path` stands as long as it may hold duplicates."""
    return f"{STATE}/aside/{path}"


def record_path(shard: Shard) -> str:
    """Where the record of a finished shard stands."""
    return f"{STATE}/shards/{shard.path}.json"


def prints_path(path: str, number: int = 0) -> str:
    """Where the fingerprints of those examples of the shard at `path` that try in a round stand."""
    return f"{STATE}/dedup/prints/{number:04d}/{path}"
