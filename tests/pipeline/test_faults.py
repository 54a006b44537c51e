"""Ctrl-C, full disks and locks: one line, nothing torn, and the same call goes on to the same corpus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.corpora import check_whole
from harness.isolation import alone, end_marked, mark, marked, until

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.layout import STATE
from ostraca.pipeline.store.atomic import is_temporary
from ostraca.tasks.errors import OstracaError

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[2]
WORDS = ["dataset=mano", "dataset.L=2", "shard_tokens=60000", "row_group_tokens=5000", "report=false"]
MANY = [*WORDS, "examples=400000", "dedup.mode=redraw"]


def command(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "ostraca"), "build", *words]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a build as a shell in a terminal does: with a process group of its own."""
    name = f"faults-{tmp_path}"

    def start(*words: str) -> subprocess.Popen[str]:
        # Tests in the background of a shell, or under nohup, ignore these, and what they start inherits that.
        return subprocess.Popen(
            ["env", "--default-signal=INT,HUP", *command(*words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **mark(name), "RAY_ADDRESS": "127.0.0.1:9"},
        )

    yield start
    assert until(lambda: not marked(name), 30), "a process of the build lives on"
    end_marked(name)


def shards_of(root: Path) -> list[Path]:
    """The finished shards of a build that runs: those with a record."""
    return [path for path in (root / STATE / "shards").rglob("*.json") if not is_temporary(path)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference") / "corpus"
    assert cli.main(["build", *MANY, "engine=local", "workers=2", f"out={root}"]) == 0
    return root


@pytest.fixture
def finish(run_here: Run, reference: Path) -> Callable[[Path], None]:
    """The same call again goes on with what is there, to the same corpus."""

    def go_on(root: Path) -> None:
        done = run_here("build", *MANY, "engine=local", "workers=2", f"out={root}")
        assert done.returncode == 0, done.stderr
        assert "M tokens were there already" in done.stdout
        check_whole(root, reference)

    return go_on


@pytest.mark.parametrize(
    ("number", "status", "engine"),
    [
        (signal.SIGINT, 130, "local"),
        (signal.SIGTERM, 143, "local"),
        (signal.SIGHUP, 129, "local"),
        (signal.SIGINT, 130, "ray"),
        (signal.SIGTERM, 143, "ray"),
        pytest.param(
            signal.SIGHUP, 129, "ray", marks=pytest.mark.soak
        ),  # the same path as SIGINT, half a minute
    ],
)
def test_a_signal_stops_a_build_in_one_line(
    number: signal.Signals,
    status: int,
    engine: str,
    begun: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    finish: Callable[[Path], None],
) -> None:
    """Ctrl-C and a closed terminal reach the whole process group, a scheduler's SIGTERM the command alone.

    RAY_ADDRESS is set as in every job of a cluster: without ray.address a local Ray is started.
    """
    if engine == "ray":
        pytest.importorskip("ray")
    root = tmp_path / "c"
    workers = 2 if engine == "local" else 1  # each of Ray's is a process that imports and compiles
    driver = begun(*MANY, f"engine={engine}", f"workers={workers}", f"out={root}")
    assert until(lambda: len(shards_of(root)) >= 2)
    if number == signal.SIGTERM:
        driver.send_signal(number)
    else:
        os.killpg(driver.pid, number)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == status, said
    assert said == f"ostraca: stopped by {number.name}; the same call goes on, finished shards are kept\n"
    assert not (root / "manifest.json").exists()
    finished = shards_of(root)
    assert len(finished) >= 2
    finish(root)


def test_a_stopped_process_holds_its_lock_and_a_killed_one_does_not(
    begun: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    finish: Callable[[Path], None],
    run_here: Run,
) -> None:
    """SIGSTOP: the build is still somebody's. SIGKILL: it is free at once."""
    root = tmp_path / "c"
    holder = begun(*MANY, "engine=local", f"out={root}")
    assert until(lambda: bool(shards_of(root)))
    os.kill(holder.pid, signal.SIGSTOP)
    refused = run_here("build", *MANY, "engine=local", f"out={root}")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert (
        "another build is running in this folder; wait for it, stop it, or choose another" in refused.stderr
    )
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    finish(root)


SMALL = {
    "shard_tokens": 2_000,
    "row_group_tokens": 700,
    "vocabulary": "shared",  # a small tokenizer.json
    "dedup": {"mode": "redraw"},
    "datasets": {
        "mano": {
            "task": "mano",
            "config": {"L": 1},
            "splits": {"train": {"examples": 700}, "test": {"examples": 60}},
        }
    },
}

# A disk with room for a page more than is in use, and for another each time the build ends for want of it
# without having got further. argv: the disk, the spec, where the corpus goes.
GROWING = """
import json, os, subprocess, sys
from pathlib import Path
from ostraca.pipeline.corpus import manifest
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.dedup import search
from ostraca.pipeline.store.atomic import is_temporary
from ostraca.tasks.errors import OstracaError

search._PARALLEL, search.TAIL_EXAMPLES = 1, 8
disk, spec = Path(sys.argv[1]), json.loads(sys.argv[2])
root, room, last, late, full = disk / "c", 0, 0, 0, []
real = manifest.make_manifest

def used():
    state = os.statvfs(disk)
    return state.f_blocks - state.f_bfree

def resize(pages):
    size = pages * os.statvfs(disk).f_frsize
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)

def make_manifest(*given, **named):
    resize(used() + late)  # what the search had is free by now
    return real(*given, **named)

manifest.make_manifest = make_manifest
while True:
    room, last = 1 if used() > last else room + 1, used()
    resize(last + room)
    try:
        build(spec, root, engine="local", report=True)
        break
    except OstracaError as error:
        line = str(error)
        assert "no space left on the disk; free some or choose another out=" in line, line
        assert "\\n" not in line
        full.append(line.removeprefix(f"{root}/").partition(":")[0])
        late += (root / ".ostraca-build/dedup/outcome.json").exists()
    assert [path for path in root.rglob("*") if is_temporary(path)] == []
    assert not (root / "manifest.json").exists()
subprocess.run(["cp", "-r", str(root), sys.argv[3]], check=True)
print(json.dumps(full))
"""


def test_a_full_disk_at_every_stage(tmp_path: Path) -> None:
    """A real tmpfs, page by page larger: one line each time, nothing torn, in the end the same corpus."""
    pytest.importorskip("matplotlib")  # the report has pictures
    own = alone()
    if not own:
        pytest.skip("this machine lets us mount nothing (unshare --map-root-user)")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = [str(disk), json.dumps(SMALL), str(tmp_path / "copy")]
    script = f'mount -t tmpfs -o size=16k none {disk} && exec "$@"'
    done = subprocess.run(
        [*own, "bash", "-c", script, "bash", sys.executable, "-c", GROWING, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    build(SMALL, tmp_path / "reference", engine="local", report=True)
    check_whole(tmp_path / "copy", tmp_path / "reference")
    full = json.loads(done.stdout)
    search = [f".ostraca-build/dedup/{each}" for each in ("prints/0000", "lost", "table", "prints/0001")]
    for stage in (".ostraca-build/aside/mano/train", ".ostraca-build/shards", *search, "report/"):
        assert any(path.startswith(stage) for path in full), (stage, full)


def test_the_lock_of_another_build_that_has_just_ended(tmp_path: Path) -> None:
    """Its file is gone from the folder: whoever opened it before holds nothing."""
    from ostraca.pipeline.store.atomic import _stands, lock

    path = tmp_path / ".ostraca-build" / "lock"
    with lock(path):
        with open(path) as same:
            assert _stands(path, same)
            path.unlink()
            assert not _stands(path, same)
        with lock(path), pytest.raises(OstracaError, match="another build is running"), lock(path):
            pass
