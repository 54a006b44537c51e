"""What a manifest says of each shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ...tasks.errors import OstracaError
from .changes import Changes

FORMAT_VERSION = 4  # of the manifests that are written
READABLE = (3, FORMAT_VERSION)


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What the manifest says of a shard."""

    dataset: str
    split: str
    path: str  # inside the corpus
    rows: int
    tokens: int
    bytes: int
    sha256: str
    content_digest: str
    first_index: int
    count: int  # examples before deduplication
    changes: str = ""  # what deduplication changed: see pipeline.corpus.changes
    group_rows: str = ""  # rows of each row group, where they are packed: see pipeline.corpus.numbers
    group_tokens: str = ""  # tokens of each row group, of texts bytes; none in manifests of format 3
    tail: str = ""  # where the part of the file behind its row groups begins, and its digest: row_groups.Tail
    group_ends: str = ""  # of tars before there were tails: where in the file each row group ends

    def as_dict(self) -> dict[str, Any]:
        """Its fields, empty texts left out."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name)
        }

    @property
    def format(self) -> int:
        """Of the manifests that can hold it."""
        return FORMAT_VERSION if self.group_tokens else 3


def format_of(records: Iterable[ShardRecord]) -> int:
    """The format of a manifest of these records; OstracaError where they are of several."""
    found = {record.format: record.path for record in records}
    if len(found) > 1:
        (old, one), (new, other) = sorted(found.items())
        raise OstracaError(
            f"{one} is a shard of manifest format {old} and {other} one of format {new}; make all with one "
            "release"
        )
    return next(iter(found), FORMAT_VERSION)


def records_of(manifest: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All (split, shard record) of a manifest."""
    return [(split, record) for split, entry in manifest["splits"].items() for record in entry["shards"]]


def sums_of_changes(records: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Of (split, shard record)s, for each "dataset/split": examples asked for, redrawn and dropped."""
    sums: dict[str, dict[str, Any]] = {}
    for split, record in records:
        none = {"asked": 0, "redrawn": 0, "dropped": 0, "exhausted": False}
        own = sums.setdefault(f"{record['dataset']}/{split}", none)
        changes = Changes.parse(record.get("changes", ""), record["count"])
        own["asked"] += record["count"]
        own["redrawn"] += len(changes) - changes.dropped
        own["dropped"] += changes.dropped
    return sums
