"""Builds on a real Ray cluster of three nodes on this machine; what came of each: `harness/cluster.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness.corpora import check_whole
from harness.isolation import alone, end_marked, mark

from ostraca.pipeline.build.build import build
from ostraca.tasks.errors import OstracaError

pytest.importorskip("ray")
from harness.cluster import REDRAW

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpora that were built on the cluster."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What came of each scenario."""
    command = [*alone(), sys.executable, str(ROOT / "tests/harness/cluster.py"), str(folder)]
    paths = f"{ROOT}:{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", **mark(str(folder))}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
    finally:
        end_marked(str(folder))
    results: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):  # Ray speaks too
            results |= json.loads(line)
    assert "started" in results, done.stderr
    return results


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same corpus, built by threads of this process."""
    root = tmp_path_factory.mktemp("reference") / "corpus"
    build(REDRAW, root, engine="local", workers=2)
    return root


def test_a_node_that_is_lost_at_work_changes_nothing(
    found: dict[str, Any], folder: Path, reference: Path
) -> None:
    """Its jobs are run again elsewhere: same digest, same files."""
    assert found["node_removed"].get("worked") == [True], found["node_removed"]
    check_whole(folder / "removed", reference)


def test_a_build_waits_for_a_node_and_uses_it(found: dict[str, Any], folder: Path, reference: Path) -> None:
    """Jobs that fit no node wait until one joins on which they can run."""
    result = found["node_added"]
    assert (result.get("waits"), result.get("worked"), result.get("failed")) == (True, True, []), result
    check_whole(folder / "added", reference)


def test_jobs_that_fit_no_node_end_in_one_line(found: dict[str, Any], folder: Path) -> None:
    """Ray itself would wait for ever."""
    for name, asked in (("num_cpus", "ray.num_cpus=5"), ("memory", "ray.memory=100,000,000,000,000")):
        line = found["never_fits"].get(name, found["never_fits"])
        assert asked in line
        assert "no Ray node has that much (they have: 1 CPUs, " in line
        assert "\n" not in line
        assert not (folder / f"never-{name}" / "manifest.json").exists()


def test_ray_is_told_what_a_job_takes(found: dict[str, Any]) -> None:
    """num_cpus and memory are the job's; in_flight bounds what is handed over before a result is there."""
    result = found["what_ray_is_told"]
    assert result["resources"] == {"CPU": 1.0, "memory": 50 << 20}
    assert result["slots"] == 3
    assert result["drawn"] == 2
    assert result["rest"] > 2


def test_no_example_is_in_the_object_store(found: dict[str, Any], folder: Path, reference: Path) -> None:
    """What the stores were given is for each stage the job, and Ray's copies on other nodes."""
    result = found["what_is_stored"]
    assert result["jobs"] > 10
    assert result["objects"] <= 3 * result["stages"]  # one a node and a stage, none a job
    assert result["bytes"] / result["objects"] < 4096
    assert result["bytes"] < result["corpus_bytes"] / 100
    check_whole(folder / "stored", reference)


def test_a_full_object_store_changes_nothing(found: dict[str, Any], folder: Path, reference: Path) -> None:
    """Ray puts what has no room on disk; what others keep there stays as it is."""
    result = found["full_store"]
    assert result["put"] > result["room"]
    assert result["held_is_intact"]
    check_whole(folder / "full", reference)


def test_a_killed_driver_leaves_nothing_on_the_cluster(
    found: dict[str, Any], folder: Path, reference: Path
) -> None:
    """The nodes live on, and the same call goes on at once."""
    assert found["driver_killed"].get("begun"), found["driver_killed"]
    check_whole(folder / "killed", reference)


def test_the_drivers_memory_does_not_grow_with_the_corpus(found: dict[str, Any]) -> None:
    """Ten times the shards: records of some kB each, no examples."""
    few, many = found["driver_memory"]["few"], found["driver_memory"]["many"]
    assert many["shards"] > 8 * few["shards"]
    assert (many["tokens"] - few["tokens"]) * 5 > 60 << 20  # bytes of token ids and loss masks
    assert many["peak"] - few["peak"] < 16 << 20


@pytest.mark.parametrize(("name", "value"), [("num_cpus", 64), ("memory", 10**15)])
def test_a_ray_of_our_own_that_is_too_small_is_said_at_once(
    name: str, value: int, tmp_path: Path, ray_session: Any
) -> None:
    """No node can join it: no job is handed over."""
    with pytest.raises(OstracaError, match=f"ray.{name}={value:,}|ray.{name}={value}") as caught:
        build(REDRAW, tmp_path / "c", engine="ray", ray={name: value})
    assert "\n" not in str(caught.value)
