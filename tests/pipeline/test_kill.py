"""Promises 2 and 5 under SIGKILL: of the driver at every stage and at random moments, and of Ray's workers.

At least 100 kills: at every stage, at random moments, of drivers on Ray and of its workers.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.corpora import check_after_kill, check_whole
from harness.forks import Forks
from harness.isolation import end_marked, mark, marked, until

from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.pipeline.store.atomic import is_temporary

Maker = Callable[..., dict[str, Any]]


def specs() -> dict[str, dict[str, Any]]:
    """Small corpora that between them pass through every stage of a build."""
    mano = {
        "task": "mano",
        "config": {"L": 1},
        "splits": {"train": {"examples": 700}, "test": {"examples": 60}},
    }
    depo = {
        "task": "depo",
        "config": {"N": 12, "K": 4, "M": 4},
        "splits": {"train": {"examples": 300}, "test": {"examples": 30, "config": {"qa": True}}},
    }
    sizes = {"shard_tokens": 2_000, "row_group_tokens": 700}
    return {
        "plain": {**sizes, "datasets": {"mano": mano, "depo": depo}, "shard_tokens": 8_000},
        "packed-drop": {
            **sizes,
            "datasets": {"mano": mano},
            "pack": {"length": 64, "mode": "best_fit"},
            "dedup": {"mode": "drop"},
        },
        "redraw": {**sizes, "datasets": {"mano": mano}, "dedup": {"mode": "redraw"}},
        "webdataset-redraw": {
            **sizes,
            "datasets": {"mano": mano},
            "format": "webdataset",
            "compression": "zstd",
            "dedup": {"mode": "redraw", "key": "content"},
        },
    }


NAMES = tuple(specs())


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(list(specs().values())) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where syncing takes no time: SIGKILL leaves what the system was given, anywhere."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="ostraca-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def references(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The corpora as builds make them that nothing befalls."""
    built: dict[str, Path] = {}

    def reference(name: str) -> Path:
        if name not in built:
            built[name] = tmp_path_factory.mktemp("reference") / name
            answer = forks.build(built[name], specs()[name])
            assert answer["error"] is None
        return built[name]

    return reference


@pytest.mark.parametrize("name", NAMES)
def test_sigkill_at_every_stage(
    name: str, forks: Forks, references: Callable[[str], Path], folder: Path
) -> None:
    """Killed at a point of each stage that there is, and killed again while it goes on."""
    rng = random.Random(name)
    passed = forks.build(folder / "free", specs()[name], small=True)["stages"]
    check_whole(folder / "free", references(name))
    stages = sorted(set(passed))
    assert {"records", "manifest", "clearing away"} <= set(stages)
    if name == "plain":
        assert {"fingerprints of eval splits", "shards"} <= set(stages)
    else:
        assert {"shards put aside", "fingerprints", "hash ranges", "outcome", "shards again"} <= set(stages)
    if "redraw" in name:
        assert {"drawing again", "tables"} <= set(stages)
    kills = 0
    for number, stage in enumerate(stages):
        root = folder / f"killed-{number}"
        at = rng.randint(1, passed.count(stage))
        first = forks.build(root, specs()[name], small=True, at=[stage, at])
        assert first["killed"], (stage, at, first)
        assert first["stages"][-1] == stage or stage in first["stages"]
        check_after_kill(root)
        stage = rng.choice(stages)
        second = forks.build(root, specs()[name], small=rng.random() < 0.5, at=[stage, rng.randint(1, 4)])
        check_after_kill(root)
        kills += first["killed"] + second["killed"]
        last = forks.build(root, specs()[name], small=True)
        assert last["error"] is None
        check_whole(root, references(name))
    assert kills >= 1.3 * len(stages)


@pytest.mark.parametrize("name", NAMES)
def test_sigkill_at_random_moments(
    name: str, forks: Forks, references: Callable[[str], Path], folder: Path
) -> None:
    """12 kills of each corpus, whatever the process was at."""
    kills = kill_at_random(12, specs()[name], forks, references(name), folder, random.Random(name), 0.1)
    assert kills >= 12


def kill_at_random(
    wanted: int,
    spec: dict[str, Any],
    forks: Forks,
    reference: Path,
    folder: Path,
    rng: random.Random,
    longest: float,
) -> int:
    """Build and kill after up to `longest` seconds, again and again until it stands; returns the kills."""
    kills = number = 0
    while kills < wanted:
        root = folder / f"killed-{number}"
        number += 1
        delay, finished = rng.uniform(0, longest), dict[str, int]()
        while not (root / "manifest.json").exists():
            answer = forks.build(root, spec, small=rng.random() < 0.5, workers=rng.randint(1, 3), after=delay)
            assert answer["error"] is None
            kills += answer["killed"]
            check_after_kill(root)
            if spec.get("dedup") is None:
                assert all((root / path).stat().st_ino == inode for path, inode in finished.items())
                finished = recorded(root)
            delay = rng.uniform(delay, 2 * delay + longest / 10)  # in the end long enough
        assert forks.build(root, spec)["error"] is None
        check_whole(root, reference)
        shutil.rmtree(root)
    return kills


def recorded(root: Path) -> dict[str, int]:
    """The shards of a begun build that have records, with the numbers of their files: made once for all."""
    records = root / ".ostraca-build" / "shards"
    paths = [path.relative_to(records).with_suffix("") for path in records.rglob("*.json")]
    return {str(path): (root / path).stat().st_ino for path in paths if not is_temporary(path)}


def test_builds_at_the_same_moment(forks: Forks, references: Callable[[str], Path], folder: Path) -> None:
    """Several in one folder, some killed: each makes the corpus, finds it, or is refused by the lock."""
    rng = random.Random(1)
    spec = specs()["redraw"]
    for number in range(4):
        root = folder / str(number)
        order = {"root": str(root), "spec": spec, "small": True}
        deadly = {**order, "after": rng.uniform(0, 0.2)}
        for answer in forks.all_of([deadly, *[order] * 4]):
            refused = "another build is running" in (answer["error"] or "")
            assert answer["killed"] or answer["error"] is None or refused, answer["error"]
        check_after_kill(root)
        assert forks.build(root, spec)["error"] is None
        check_whole(root, references("redraw"))


def test_sigkill_of_a_ray_driver(references: Callable[[str], Path], tmp_path: Path) -> None:
    """While shards are made and after the search: Ray's processes end too, and harm nothing."""
    pytest.importorskip("ray")
    name = f"ray-driver-{tmp_path}"
    spec, root = specs()["redraw"], tmp_path / "killed"
    try:
        with Forks([spec], **mark(name)) as server:
            for stage in ("a shard is made", "outcome"):
                answer = server.build(root, spec, engine="ray", at=[stage, 1])
                assert answer["killed"], answer
                check_after_kill(root)
            # The last driver's workers may still be at work.
            assert server.build(root, spec)["error"] is None
        assert until(lambda: not at_work(name)), "a process of a killed build lives on"
        check_whole(root, references("redraw"))
    finally:
        end_marked(name)


def at_work(name: str) -> list[bytes]:
    """What still runs of the builds with a mark; two agents of Ray's that look for their node for a minute
    are left out: they do no work, and nothing of a corpus."""
    found = []
    for process in marked(name):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{process}/cmdline").read_bytes()
            if not title.startswith((b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")):
                found.append(title)
    return found


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


@pytest.mark.parametrize("mode", ["off", "redraw"])
def test_sigkill_of_ray_workers(mode: str, tmp_path: Path, ray_session: Any) -> None:
    """Lost workers' jobs are done elsewhere; the corpus is the same. At least 5 kills of each mode."""
    rng = random.Random(mode)
    killed = seed = 0
    while killed < 5:
        splits = {"train": {"examples": 60_000}, "test": {"examples": 500}}
        given = {
            "seed": seed,
            "shard_tokens": 60_000,
            "datasets": {"mano": {"task": "mano", "config": {"L": 2}, "splits": splits}},
            "dedup": {"mode": mode},
        }
        root = tmp_path / f"killed-{seed}"
        hits: list[int] = []
        ended = threading.Event()

        def killer(hits: list[int] = hits, ended: threading.Event = ended) -> None:
            while not ended.wait(rng.uniform(0.02, 0.3)):
                workers = ray_workers()
                if workers and len(hits) < 6:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    hits.append(1)

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            build(given, root, engine="ray", workers=3)
        finally:
            ended.set()
            thread.join()
        assert verify(root, content=True) == []
        build(given, tmp_path / f"reference-{seed}", engine="local", workers=2)
        check_whole(root, tmp_path / f"reference-{seed}")
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
@pytest.mark.timeout(3600)
def test_soak_sigkill(folder: Path) -> None:
    """Random corpora of every kind, killed for OSTRACA_SOAK_SECONDS (600); always the same bytes."""
    seconds = float(os.environ.get("OSTRACA_SOAK_SECONDS", "600"))
    rng = random.Random(os.environ.get("OSTRACA_SOAK_SEED", "0"))
    end = time.monotonic() + seconds
    kills = corpora = 0
    with Forks(list(specs().values())) as forks:
        while time.monotonic() < end:
            spec = random_spec(rng)
            reference = folder / "reference"
            assert forks.build(reference, spec)["error"] is None
            assert verify(reference, content=True) == []
            kills += kill_at_random(15, spec, forks, reference, folder, rng, rng.choice([0.1, 0.3, 1.0]))
            corpora += 1
            shutil.rmtree(reference)
    print(f"\n{kills} kills over {corpora} corpora in {seconds:.0f} s")
    assert kills >= seconds / 10


def random_spec(rng: random.Random) -> dict[str, Any]:
    """Some thousands of examples with many duplicates, in any format, packed or not."""
    splits = {
        "train": {"examples": rng.randint(500, 20_000)},
        "test": {"examples": rng.randint(1, 200)},
    }
    datasets = {"mano": {"task": "mano", "config": {"L": rng.randint(1, 3)}, "splits": splits}}
    if rng.random() < 0.5:
        datasets["depo"] = {
            "task": "depo",
            "config": {"N": rng.choice([3, 4, 20]), "K": 2, "M": 2},
            "splits": {"train": {"examples": rng.randint(100, 5_000)}},
        }
    spec: dict[str, Any] = {
        "seed": rng.randint(0, 10**6),
        "shard_tokens": rng.choice([5_000, 20_000, 100_000]),
        "row_group_tokens": rng.choice([700, 5_000]),
        "datasets": datasets,
        **rng.choice([{"format": "parquet"}, {"format": "webdataset"}, {"format": "webdataset", **_ZSTD}]),
        "vocabulary": rng.choice(["published", "shared"]),
    }
    if rng.random() < 0.7:
        spec["dedup"] = {"mode": rng.choice(["drop", "redraw"]), "key": rng.choice(["tokens", "content"])}
    if rng.random() < 0.5:
        spec["pack"] = {
            "length": rng.choice([64, 200]),
            "mode": rng.choice(["left_aligned", "whole", "best_fit", "concat"]),
        }
    return spec


_ZSTD = {"compression": "zstd"}
