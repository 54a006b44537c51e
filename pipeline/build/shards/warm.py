"""Compile a spec's kernels once on a machine, however many workers start there at the same moment."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from ....tasks.core.kernels import CACHE_FOLDER
from ...corpus.changes import Changes
from ...corpus.formats import open_writer
from ...corpus.split import Split
from ...spec.shards import shards_of
from .disjoint import warm_looks
from .shard import shard_groups
from .table import Table


def warm_kernels(spec: Mapping[str, Any]) -> None:
    """Make one example of every split, so that all kernels are compiled and in the cache on disk.

    A task is compiled (seconds) by the first worker of a machine that comes to it, while the others turn to
    another task, or wait for it and load; so two workers compile five tasks in half the time. Where the
    cache is full already nobody waits.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return  # nothing is compiled
    waiting = sorted({entry["task"] for entry in spec["datasets"].values()})
    use = _use(spec)
    if all((use, task) in _DONE for task in waiting):
        return
    _DONE.update((use, task) for task in waiting)
    try:
        if CACHE_FOLDER is None:
            raise FileNotFoundError
        folder = Path(CACHE_FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        locks = {task: open(folder / f"lock-{task}", "w") for task in waiting}  # noqa: SIM115 (closed below)
    except OSError:  # no place for a cache: every worker compiles for itself
        _make_one_each(spec, waiting)
        return
    with contextlib.ExitStack() as stack:
        for lock in locks.values():
            stack.enter_context(lock)
        while waiting:
            free = (one for one in waiting if _is_ready(folder, use, one) or _taken(locks[one]))
            task = next(free, waiting[0])
            with contextlib.suppress(OSError):  # a file system without locks: compile as if alone
                if not _is_ready(folder, use, task):
                    fcntl.flock(locks[task], fcntl.LOCK_EX)
            begun = time.perf_counter()
            _make_one_each(spec, [task])
            with contextlib.suppress(OSError), open(_ready(folder, use, task), "x") as ready:
                ready.write(f"{time.perf_counter() - begun:.1f}")
            locks[task].close()
            waiting.remove(task)


def compile_seconds(spec: Mapping[str, Any]) -> float:
    """How long the kernels of a spec took to compile on this machine, the first time."""
    seconds = 0.0
    for task in {entry["task"] for entry in spec["datasets"].values()}:
        with contextlib.suppress(OSError, ValueError):
            seconds += float(_ready(Path(CACHE_FOLDER or ""), _use(spec), task).read_text())
    return seconds


_DONE: set[tuple[str, str]] = set()  # in this process


def _use(spec: Mapping[str, Any]) -> str:
    """What a build does beside the tasks themselves, by which it needs other kernels."""
    pack = "loose" if spec["pack"] is None else spec["pack"]["mode"]
    dedup = spec["dedup"]
    return f"{spec['format']}-{spec['vocabulary']}-{pack}-{dedup['mode']}-{dedup['key']}"


def _ready(folder: Path, use: str, task: str) -> Path:
    """The file that stands once a task's kernels have been compiled."""
    return folder / f"ready-{task}-{use}"


def _is_ready(folder: Path, use: str, task: str) -> bool:
    return _ready(folder, use, task).exists()


def _taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _make_one_each(spec: Mapping[str, Any], tasks: Collection[str]) -> None:
    """Do with one example of every split all that a build does."""
    look = spec["dedup"]["mode"] != "off"
    for name, entry in spec["datasets"].items():
        if entry["task"] not in tasks:
            continue
        for split in entry["splits"]:
            resolved = Split.of(spec, name, split)
            shard = dataclasses.replace(next(shards_of(spec, name, split)), first_index=0, count=1)
            with open_writer(resolved, io.BytesIO(), {}) as writer:
                for group in shard_groups(resolved, shard, Changes(), look=look):
                    writer.write(group.batch)
                    if group.prints is not None:
                        table = Table.of_size(1)
                        table.insert(group.prints)
                        table.contains(group.prints)
                        warm_looks(group.batch)
