"""Whether a manifest agrees with itself: its records with its spec, and all else in it with its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...tasks.errors import OstracaError
from ..spec.dedup import searches
from ..spec.shards import is_eval, plan
from ..store.folder import Folder
from .changes import Changes
from .manifest import NAME, make_manifest, part_of
from .records import ShardRecord, records_of, sums_of_changes

_MOST_FOLDED = 1 << 20  # tokens in a byte of a file: many more than zstd makes of equal ones


def require_records(root: Path | str | Folder, manifest: Mapping[str, Any]) -> None:
    """OstracaError where `check_records` finds something wrong."""
    problems = check_records(manifest)
    if problems:
        raise OstracaError(f"{root}/{problems[0]}; run `ostraca verify path={root}`")


def check_records(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with a manifest by itself: its shards must be the plan's, and its sums the shards'."""
    problems = _check_shards(manifest)
    if problems:
        return problems
    records = (ShardRecord(split=split, **record) for split, record in records_of(manifest))
    # `dedup` as it stands: what it must be is added up below, once.
    again = make_manifest(
        manifest["spec"], _as_planned(manifest, records), part=part_of(manifest), dedup=manifest["dedup"]
    )
    fields = [
        field
        for field in ("format_version", "name", "tasks", "content_digest", "totals", "splits")
        if again[field] != manifest[field]
    ]
    if not _is_dedup(manifest):
        fields.append("dedup")
    return [f"{NAME}: {field} does not follow from the shards' records; it was edited" for field in fields]


def _is_dedup(manifest: Mapping[str, Any]) -> bool:
    """Whether what a manifest says of deduplication is what its records add up to."""
    said = manifest["dedup"]
    if manifest["spec"]["dedup"]["mode"] == "off":
        return said is None
    sums = sums_of_changes(records_of(manifest))
    searched = searches(manifest["spec"])
    return (
        said is not None
        and {
            part: {**counts, "exhausted": False if searched else counts["exhausted"]}
            for part, counts in said.items()
        }
        == sums
    )


def _check_shards(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with the shards that a manifest lists: they must be the plan's, all and in its order."""
    wanted = {shard.path: shard for shard in plan(manifest["spec"], part_of(manifest))}
    listed: list[str] = []
    for split, record in records_of(manifest):
        shard = wanted.get(record["path"])
        if shard is None or record["path"] in listed[-1:]:
            return [f"{NAME}: {record['path']!r} is not a shard of the spec, or is listed twice"]
        listed.append(record["path"])
        given = (split, *(record[k] for k in ("dataset", "first_index", "count")))
        planned = (shard.split, shard.dataset, shard.first_index, shard.count)
        if given != planned:
            return [f"{NAME}: {shard.path} is said to be {given}, but the spec makes it {planned}"]
        problem = _check_rows(manifest["spec"], record, shard.split)
        if problem:
            return [f"{NAME}: {shard.path}: {problem}"]
    seen = set(listed)
    missing = [path for path in wanted if path not in seen]
    if missing:
        return [f"{NAME}: lists no {missing[0]}, a shard of the spec ({len(missing)} missing)"]
    by_split = {path: shard.split for path, shard in wanted.items()}
    if len(listed) > len(wanted) or any(
        [path for path in listed if by_split[path] == split]
        != [path for path in wanted if by_split[path] == split]
        for split in manifest["splits"]
    ):
        return [f"{NAME}: a shard is listed twice, or the shards are not in the spec's order"]
    return []


def _check_rows(spec: Mapping[str, Any], record: Mapping[str, Any], split: str) -> str | None:
    """What is wrong with a shard's number of rows and with what it says of dropped examples."""
    try:
        changes = Changes.parse(record.get("changes", ""), record["count"])
    except OstracaError as error:
        return str(error)
    if len(changes) and spec["dedup"]["mode"] == "off":
        return "examples were changed, but the spec asks for no deduplication"
    if len(changes) and spec["dedup"]["mode"] == "disjoint" and is_eval(split):
        return "examples of an eval split were left out, but the spec asks for no such thing"
    if changes.attempts.any() and spec["dedup"]["mode"] != "redraw":
        return "examples were redrawn, but the spec asks for none to be"
    if not record["rows"] <= record["tokens"] <= _MOST_FOLDED * record["bytes"]:
        sizes = f"{record['rows']:,} rows, {record['tokens']:,} tokens and {record['bytes']:,} bytes"
        return f"is said to have {sizes}, which no shard has"
    rows = record["count"] - changes.dropped
    if spec["pack"] is None and record["rows"] != rows:
        return f"is said to have {record['rows']} rows, but the spec makes it {rows}"
    return None


def _as_planned(manifest: Mapping[str, Any], records: Iterable[ShardRecord]) -> list[ShardRecord]:
    """Records in the order of the plan."""
    by_path = {record.path: record for record in records}
    return [by_path[shard.path] for shard in plan(manifest["spec"], part_of(manifest))]
