"""Compile a spec's kernels once on a machine, however many workers start there at the same moment."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.fingerprint import content_digest
from pipeline.shard import split_key
from tasks import get_task
from tasks.kernels import CACHE_FOLDER


def warm_kernels(spec: Mapping[str, Any]) -> None:
    """Make one example of every task, so that its kernels are compiled and in the cache on disk.

    The first worker of a machine compiles (seconds); the others wait for it, then load. Where the cache
    is full already nobody waits.
    """
    folder = Path(CACHE_FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 (closed below)
    except OSError:  # no place for a cache: every worker compiles for itself
        _make_one_each(spec)
        return
    ready = folder / ("ready-" + "-".join(sorted({e["task"] for e in spec["datasets"].values()})))
    with lock:
        if not ready.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
        _make_one_each(spec)
        ready.touch()


def _make_one_each(spec: Mapping[str, Any]) -> None:
    for name, entry in spec["datasets"].items():
        task = get_task(entry["task"])
        for split, split_entry in entry["splits"].items():
            key = split_key(spec, name, split)
            batch = task.generate(split_entry["config"], key, np.zeros(1, np.int64))
            task.validate(batch, split_entry["config"])
            content_digest(batch, key)
