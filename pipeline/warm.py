"""Compile a spec's kernels once on a machine, however many workers start there at the same moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.fingerprint import content_digest
from pipeline.shard import split_key
from tasks import get_task
from tasks.kernels import CACHE_FOLDER


def warm_kernels(spec: Mapping[str, Any]) -> None:
    """Make one example of every split, so that all kernels are compiled and in the cache on disk.

    A task is compiled (seconds) by the first worker of a machine that comes to it, while the others turn to
    another task, or wait for it and load; so two workers compile five tasks in half the time. Where the
    cache is full already nobody waits.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return  # nothing is compiled
    waiting = sorted({entry["task"] for entry in spec["datasets"].values()})
    folder = Path(CACHE_FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locks = {task: open(folder / f"lock-{task}", "w") for task in waiting}  # noqa: SIM115 (closed below)
    except OSError:  # no place for a cache: every worker compiles for itself
        _make_one_each(spec, waiting)
        return
    with contextlib.ExitStack() as stack:
        for lock in locks.values():
            stack.enter_context(lock)
        while waiting:
            task = next((each for each in waiting if _is_ready(each) or _taken(locks[each])), waiting[0])
            with contextlib.suppress(OSError):  # a file system without locks: compile as if alone
                if not _is_ready(task):
                    fcntl.flock(locks[task], fcntl.LOCK_EX)
            _make_one_each(spec, [task])
            with contextlib.suppress(OSError):
                _ready(task).touch()
            locks[task].close()
            waiting.remove(task)


def _ready(task: str) -> Path:
    """The file that stands once a task's kernels have been compiled."""
    return Path(CACHE_FOLDER) / f"ready-{task}"


def _is_ready(task: str) -> bool:
    return _ready(task).exists()


def _taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _make_one_each(spec: Mapping[str, Any], tasks: Collection[str]) -> None:
    for name, entry in spec["datasets"].items():
        if entry["task"] not in tasks:
            continue
        task = get_task(entry["task"])
        for split, split_entry in entry["splits"].items():
            key = split_key(spec, name, split)
            batch = task.generate(split_entry["config"], key, np.zeros(1, np.int64))
            task.validate(batch, split_entry["config"])
            content_digest(batch, key)
