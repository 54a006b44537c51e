"""Whether a disk has room for what a build will write there, asked before the first byte is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from ...tasks import get_task
from ...tasks.errors import ConfigError, shown
from ..build.build import BuildSettings, build
from ..build.jobs.watch import Watch
from ..spec.shards import Part, count_examples
from ..store.disk import free_bytes, refuse_where_full
from ..store.folder import Folder
from .estimate import Cluster, estimate

_MEASURING = 1.0  # seconds
# No format takes more: an example in a tar, a token as an int64 and its mask, twice while duplicates are
# looked for, and their fingerprints; tables, the vocabulary and a report.
_EXAMPLE, _TOKEN, _REST = 12_000, 20, 32_000_000


def build_where_room_is(
    spec: Mapping[str, Any],
    out: Path | str,
    *,
    disk: str | None = None,
    watch: Watch | None = None,
    **settings: Unpack[BuildSettings],
) -> dict[str, Any]:
    """`build`, refused before its first byte where a local disk has less free than it will write.

    disk: "ignore" begins all the same. settings: see `pipeline.build.build`.
    """
    looks = require_room if check_disk(disk) else None
    return build(spec, out, watch=watch, require_room=looks, **settings)


def check_disk(value: Any) -> bool:
    """Whether the free space counts: `disk` is None, or "ignore"."""
    if value is not None and value != "ignore":
        raise ConfigError(f"disk={shown(value)} must be ignore, or null: what is too large is refused")
    return value is None


def require_room(folder: Folder, spec: Mapping[str, Any], part: Part, workers: int) -> None:
    """OstracaError where less is free on a local disk than a build of a complete spec has yet to write.

    What lies in the folder is of an earlier call and counts as written. Nothing is measured where there is
    room for any corpus of so many tokens.
    """
    free = free_bytes(folder)
    share = count_examples(spec, part) / count_examples(spec)
    if free is None or share * _at_most(spec) <= free:
        return
    needed = round(share * estimate(spec, Cluster(cores=workers), _MEASURING).peak_bytes)
    written = sum(folder.size(name) or 0 for name in folder.names())
    refuse_where_full(folder, needed - written, free, written)


def _at_most(spec: Mapping[str, Any]) -> float:
    """Bytes that no build of a spec exceeds, whatever its examples are."""
    size = float(_REST)
    for entry in spec["datasets"].values():
        task = get_task(entry["task"])
        for split in entry["splits"].values():
            size += split["examples"] * (_EXAMPLE + _TOKEN * task.mean_tokens(split["config"]))
    return size
