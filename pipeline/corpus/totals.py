"""What a corpus holds, summed over its shards as they are finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ...tasks.core.outside import parse_json
from ...tasks.errors import OstracaError
from ..store.folder import Folder, json_bytes, write_bytes
from .changes import Changes
from .layout import STATISTICS
from .split_statistics import Counts, Statistics


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

    def add_all(self, other: Mapping[tuple[str, str], Counts]) -> None:
        """Count all that others counted."""
        for (dataset, split), counts in other.items():
            self.add(dataset, split, counts.before, counts.after)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, by "dataset/split"."""
        return {
            "/".join(part): {"before": totals.before.as_dict(), "after": totals.after.as_dict()}
            for part, totals in sorted(self._counts.items())
        }

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Totals:
        """What `as_dict` gave; ValueError, TypeError, KeyError or AttributeError where it did not."""
        totals = Totals()
        for name, counts in plain.items():
            dataset, split = name.rsplit("/", 1)
            totals.add(dataset, split, *(Statistics.from_dict(counts[side]) for side in ("before", "after")))
        return totals


def write_totals(folder: Folder, totals: Totals) -> dict[str, Any]:
    """Write the totals of a corpus; what its manifest lists of the file."""
    file = write_bytes(folder, STATISTICS, json_bytes(totals.as_dict()))
    return {"path": STATISTICS, "bytes": file.size, "sha256": file.sha256}


def read_totals(folder: Folder, manifest: Mapping[str, Any]) -> Totals:
    """The totals that were written of a corpus; OstracaError where they are not what its manifest says.

    A manifest from before it listed the file only bounds them: as many examples and tokens.
    """
    data = folder.read(STATISTICS)
    listed = [file["sha256"] for file in manifest["files"] if file["path"] == STATISTICS]
    wrong = f"{folder}/{STATISTICS}: is not what the manifest says; run `ostraca verify path={folder}`"
    if listed and hashlib.sha256(data).hexdigest() != listed[0]:
        raise OstracaError(wrong)
    try:
        totals = Totals.from_dict(parse_json(STATISTICS, data))
    except (OstracaError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise OstracaError(wrong) from None
    if not listed and not _fit(totals, manifest):
        raise OstracaError(wrong)
    return totals


def are_lost(folder: Folder, manifest: Mapping[str, Any]) -> bool:
    """Whether the totals that a manifest lists are gone or different."""
    try:
        read_totals(folder, manifest)
    except OstracaError:
        return any(file["path"] == STATISTICS for file in manifest["files"])
    return False


def _fit(totals: Totals, manifest: Mapping[str, Any]) -> bool:
    """Whether totals are of as many examples, and where rows are not packed of as many tokens."""
    sums: dict[tuple[str, str], list[int]] = {}
    for split, entry in manifest["splits"].items():
        for record in entry["shards"]:
            dropped = Changes.parse(record.get("changes", ""), record["count"]).dropped
            own = sums.setdefault((record["dataset"], split), [0, 0, 0])
            for place, more in enumerate((record["count"], record["count"] - dropped, record["tokens"])):
                own[place] += more
    if sums.keys() != totals.keys():
        return False
    packed = manifest["spec"]["pack"] is not None
    for part, (first, left, tokens) in sums.items():
        before, after = totals[part].before, totals[part].after
        rows = (before.rows, before.lengths.total, after.rows, after.lengths.total)
        if rows != (first, first, left, left) or not (packed or after.tokens == tokens):
            return False
    return True
