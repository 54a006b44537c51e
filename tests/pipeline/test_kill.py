"""Promises 2 and 5 under SIGKILL: of the driver at random moments, and of Ray's workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import files_of

from pipeline.build import build
from pipeline.manifest import read_manifest
from pipeline.spec import check_spec, spec_digest
from pipeline.verify import verify

Maker = Callable[..., dict[str, Any]]

# Builds the spec of argv[2] (JSON) in argv[1] and says when a shard is made.
DRIVER = """
import json, sys
from pipeline.build import build
def on_shard(record, kept):
    if not kept:
        print("shard", flush=True)
build(json.loads(sys.argv[2]), sys.argv[1], engine=sys.argv[3], workers=2, on_shard=on_shard)
"""


def start_driver(root: Path, spec: dict[str, Any], engine: str) -> subprocess.Popen[str]:
    import json

    command = [sys.executable, "-c", DRIVER, str(root), json.dumps(spec), engine]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def kill_until_whole(root: Path, spec: dict[str, Any], engine: str, longest: float, seed: int) -> int:
    """Start the build and kill it at a random moment, again and again, until one got to its end.

    After every kill: no manifest, no file under a final name that is not whole, and no finished shard
    made again. Returns how many kills hit a running build.
    """
    rng = random.Random(seed)
    kills = 0
    finished: dict[Path, int] = {}
    while True:
        driver = start_driver(root, spec, engine)
        assert driver.stdout is not None
        driver.stdout.readline()  # the build is under way
        time.sleep(rng.uniform(0, longest))
        driver.send_signal(signal.SIGKILL)
        driver.stdout.close()
        whole = driver.wait() == 0
        for path, inode in finished.items():
            assert path.stat().st_ino == inode, f"{path} was made again"
        if whole or (root / "manifest.json").exists():
            return kills
        kills += 1
        records = (root / ".ostraca-build" / "shards").rglob("*.json")
        finished = {}
        for record in records:
            path = root / record.relative_to(root / ".ostraca-build" / "shards").with_suffix("")
            finished[path] = path.stat().st_ino


def test_sigkill_of_a_local_build(spec: Maker, tmp_path: Path) -> None:
    """At least 20 kills at random moments, over several corpora; each ends with the same bytes."""
    kills = seed = 0
    while kills < 20:
        given = spec(train=60_000, seed=seed, shard_tokens=40_000)
        root = tmp_path / f"killed-{seed}"
        kills += kill_until_whole(root, given, "local", 0.35, seed)
        build(given, root, engine="local")
        assert verify(root) == []
        reference = tmp_path / f"reference-{seed}"
        build(given, reference, engine="local", workers=2)
        assert files_of(root) == files_of(reference)
        assert read_manifest(root)["content_digest"] == read_manifest(reference)["content_digest"]
        seed += 1


def test_sigkill_of_a_ray_driver(spec: Maker, tmp_path: Path) -> None:
    """Its workers end with it, or at least never disturb the next build."""
    given = spec(train=60_000, shard_tokens=40_000)
    root = tmp_path / "killed"
    for delay in (0.0, 0.3):
        driver = start_driver(root, given, "ray")
        assert driver.stdout is not None
        assert driver.stdout.readline() == "shard\n"
        time.sleep(delay)
        driver.kill()
        driver.stdout.close()
        driver.wait()
    build(given, root, engine="local")
    assert verify(root) == []
    reference = tmp_path / "reference"
    build(given, reference, engine="local", workers=2)
    assert files_of(root) == files_of(reference)


def ray_workers() -> list[int]:
    """Process ids of the Ray workers below this process that run a shard job."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::_run_warm") and os.getpid() in ancestors(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        stat = Path(f"/proc/{process}/stat").read_text()
        process = int(stat.rpartition(")")[2].split()[1])
        found.append(process)
    return found


def test_sigkill_of_ray_workers(spec: Maker, tmp_path: Path, ray_session: Any) -> None:
    """Lost workers' shards are made elsewhere; the corpus is the same. At least 3 kills in all."""
    rng = random.Random(1)
    killed = seed = 0
    while killed < 3:
        given = spec(train=400_000, seed=seed, shard_tokens=400_000)
        root = tmp_path / f"killed-{seed}"
        hits: list[int] = []
        ended = threading.Event()

        def killer(hits: list[int] = hits, ended: threading.Event = ended) -> None:
            while not ended.wait(rng.uniform(0.05, 0.4)):
                workers = ray_workers()
                if workers and len(hits) < 6:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    hits.append(1)

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            manifest = build(given, root, engine="ray", workers=3)
        finally:
            ended.set()
            thread.join()
        assert verify(root, content=True) == []
        reference = build(given, tmp_path / f"reference-{seed}", engine="local", workers=2)
        assert manifest["content_digest"] == reference["content_digest"]
        assert files_of(root) == files_of(tmp_path / f"reference-{seed}")
        killed += len(hits)
        seed += 1


def test_killed_before_anything_was_written(spec: Maker, tmp_path: Path) -> None:
    """A folder with only `.ostraca-build` in it is a begun build."""
    root = tmp_path / "c"
    (root / ".ostraca-build").mkdir(parents=True)
    (root / ".ostraca-build" / "lock").touch()
    manifest = build(spec(), root, engine="local")
    assert manifest["spec_digest"] == spec_digest(check_spec(spec()))


@pytest.mark.soak
def test_soak_sigkill(spec: Maker, tmp_path: Path) -> None:
    """Hundreds of kills."""
    kills = seed = 0
    while kills < 300:
        given = spec(train=60_000, seed=seed, shard_tokens=40_000)
        root = tmp_path / f"killed-{seed}"
        kills += kill_until_whole(root, given, "local", 0.5, 1000 + seed)
        build(given, root, engine="local")
        assert verify(root, content=True) == []
        seed += 1
