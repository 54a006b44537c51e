"""A build that does not fit on its disk is refused before its first byte; real disks (tmpfs) of a few MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import make_spec
from harness.isolation import alone

from ostraca.pipeline.build.build import build
from ostraca.pipeline.forecast import room
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SPEC = make_spec(train=60_000, test=500, shard_tokens=1 << 20)
MEBIBYTE = 1 << 20


def on_a_disk(size: int, words: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where DISK is a file system of so many bytes."""
    own = alone()
    if not own:
        pytest.skip("this machine lets us mount nothing (unshare --map-root-user)")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={size} none {disk} && "$@"; code=$?; find {disk}; exit $code'
    words = [word.replace("DISK", str(disk)) for word in words]
    return subprocess.run(
        [
            *own,
            "bash",
            "-c",
            script,
            "bash",
            sys.executable,
            *(word.replace("DISK", str(disk)) for word in words),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def words(*more: str) -> list[str]:
    """A corpus of 4.9 MB, in parts of 1.2 MB."""
    own = ["dataset=depo", "dataset.N=20", "dataset.K=4", "dataset.M=5", *more]
    return [f"{ROOT}/ostraca", "build", "out=DISK/deep/c", "engine=local", "examples=60000", *own]


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of the corpus of SPEC."""
    manifest = build(SPEC, tmp_path_factory.mktemp("size") / "c", engine="local")
    return int(manifest["totals"]["bytes"])


def test_what_is_too_large_is_refused_in_one_line(tmp_path: Path) -> None:
    done = on_a_disk(2 * MEBIBYTE, words(), tmp_path)
    assert done.returncode not in (0, 101), done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "disk")]  # nothing was written
    assert done.stderr.count("\n") == 1
    for part in ("/deep/c: about ", " will be written, but the disk has 2.1 MB free", "set disk=ignore"):
        assert part in done.stderr


def test_who_says_so_begins_all_the_same(tmp_path: Path) -> None:
    done = on_a_disk(2 * MEBIBYTE, words("disk=ignore", "shard_tokens=1000000"), tmp_path)
    assert done.returncode != 0
    assert "no space left on the disk" in done.stderr
    assert done.stderr.count("\n") == 1
    assert ".parquet" in done.stdout


RESUMED = """
import json, sys
from ostraca import Watch, build
from ostraca.tasks.errors import OstracaError

spec, out = json.loads(sys.argv[1]), sys.argv[2]
class Stopped(Exception): pass
seen = []
def stop(record, kept):
    seen.append(record.path)
    if len(seen) > 3:
        raise Stopped
try:
    build(spec, out, engine="local", watch=Watch(on_shard=stop))
except Stopped:
    kept = []
    build(spec, out, engine="local", watch=Watch(on_shard=lambda record, found: kept.append(found)))
    assert sum(kept) >= 3, kept
import pathlib
next(pathlib.Path(out, "small").glob("train-*")).unlink()
ballast = pathlib.Path(out).with_name("ballast")
try:
    ballast.write_bytes(bytes(1 << 30))
except OSError:
    pass
try:
    build(spec, out, engine="local")
except OstracaError as error:
    assert "about" in str(error) and "will be written, but the disk has 0 bytes free" in str(error), error
    ballast.unlink()
    build(spec, out, engine="local")
    print("told")
"""


def test_what_was_written_before_counts(needed: int, tmp_path: Path) -> None:
    """A disk with room for the corpus, of which most is taken by a build that was stopped."""
    asked = ["-c", RESUMED, json.dumps(SPEC), "DISK/c"]
    done = on_a_disk(round(1.15 * needed) + MEBIBYTE // 4, asked, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "told" in done.stdout


def test_a_part_takes_a_part(needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake figure: how many of these bytes are free."""
    spec, folder = check_spec(SPEC), open_folder(tmp_path / "c")
    monkeypatch.setattr(room, "free_bytes", lambda folder: round(0.85 * needed))
    room.require_room(folder, spec, (1, 2), workers=1)
    with pytest.raises(Exception, match=r"about .* will be written, but"):
        room.require_room(folder, spec, (1, 1), workers=1)


def test_nothing_is_measured_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(room, "estimate", measured)
    for free in (10**12, None):
        monkeypatch.setattr(room, "free_bytes", lambda folder, free=free: free)
        room.require_room(open_folder(tmp_path), check_spec(SPEC), (1, 1), workers=1)


def test_of_a_store_nothing_is_asked() -> None:
    assert room.free_bytes(open_folder("memory://x/c")) is None


@pytest.mark.parametrize("value", ["ignored", 0, True, "1GB"])
def test_nonsense(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be ignore, or null"):
        room.build_where_room_is(SPEC, tmp_path / "c", engine="local", disk=value)
