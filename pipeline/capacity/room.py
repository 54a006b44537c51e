"""Whether a disk has room for what a build will write there, asked before the first byte is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ...tasks import get_task
from ...tasks.errors import ConfigError, OstracaError, shown
from ..folder import Folder, LocalFolder
from ..plan import Part, count_examples
from ..storage import plain_errors
from .estimate import Cluster, estimate
from .measure import nearest_folder
from .report import size

_MEASURING = 1.0  # seconds
# No format takes more: an example in a tar, a token as an int64 and its mask, twice while duplicates are
# looked for, and their fingerprints; tables, the vocabulary and a report.
_EXAMPLE, _TOKEN, _REST = 12_000, 20, 32_000_000


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


def refuse_where_full(folder: Folder, needed: int, free: int | None, written: int = 0) -> None:
    """OstracaError where fewer bytes are free than are needed; written: what stands there already."""
    if free is not None and needed > free:
        beside = f" beside the {size(written)} that stand there already" if written else ""
        raise OstracaError(
            f"{folder}: about {size(needed, up=True)} will be written{beside}, but the disk has {size(free)} "
            "free; free some, choose another out= or fewer examples, or set disk=ignore to begin all the same"
        )


def free_bytes(folder: Folder) -> int | None:
    """Of the disk of a folder that may not be there yet; None where nobody can tell, as of a store."""
    if not isinstance(folder, LocalFolder):
        return None
    with plain_errors(folder.root):
        usage = shutil.disk_usage(nearest_folder(folder.root))
    return usage.free if usage.total else None  # some file systems say 0 of 0


def _at_most(spec: Mapping[str, Any]) -> float:
    """Bytes that no build of a spec exceeds, whatever its examples are."""
    found = float(_REST)
    for entry in spec["datasets"].values():
        task = get_task(entry["task"])
        for split in entry["splits"].values():
            found += split["examples"] * (_EXAMPLE + _TOKEN * task.mean_tokens(split["config"]))
    return found
