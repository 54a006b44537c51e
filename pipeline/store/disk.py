"""The space on the disk of a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...tasks.errors import OstracaError
from .atomic import plain_errors
from .folder import Folder
from .local import LocalFolder


def free_bytes(folder: Folder) -> int | None:
    """Of the disk of a folder that may not be there yet; None where nobody can tell, as of a store."""
    if not isinstance(folder, LocalFolder):
        return None
    with plain_errors(folder.root):
        usage = shutil.disk_usage(nearest_folder(folder.root))
    return usage.free if usage.total else None  # some file systems say 0 of 0


def refuse_where_full(folder: Folder, needed: int, free: int | None, written: int = 0) -> None:
    """OstracaError where fewer bytes are free than are needed; written: what stands there already."""
    if free is not None and needed > free:
        beside = f" beside the {size(written)} that are there already" if written else ""
        raise OstracaError(
            f"{folder}: about {size(needed, up=True)} will be written{beside}, but the disk has {size(free)} "
            "free; free some, choose another out= or fewer examples, or set disk=ignore to begin anyway"
        )


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


def size(count: float, up: bool = False) -> str:
    """Bytes in the unit that fits; up: rounded up."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count + 0.05 * up:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"
