"""`ostraca plan`: what it prints, and what it says to nonsense."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ostraca.pipeline.commands.plan
import ostraca.pipeline.forecast.estimate
import ostraca.pipeline.forecast.measure
from ostraca import cli
from ostraca.pipeline.commands.plan import _duration as duration
from ostraca.pipeline.commands.plan import amount
from ostraca.pipeline.forecast.measure import Disk, measure_disk
from ostraca.pipeline.store.disk import size
from ostraca.tasks.core.counts import whole

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measure as shortly as can be, in a folder where whatever is left behind is seen."""
    real = ostraca.pipeline.commands.plan.estimate
    monkeypatch.setattr(
        ostraca.pipeline.commands.plan, "estimate", lambda given, cluster: real(given, cluster, seconds=0)
    )
    monkeypatch.setattr(
        ostraca.pipeline.commands.plan, "measure_disk", lambda folder: Disk(bandwidth=1e9, latency=0.001)
    )
    monkeypatch.chdir(tmp_path)


def test_the_command_fits_80_columns_and_warns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["plan", "dataset=depo", "dataset.N=20", "nodes=200", "cores=64", "disk=500GB", "bandwidth=2GB"]
    extra = ["dataset.name=mine", "tokens=1e12", "dedup.mode=drop", "network=1GB/s"]
    assert cli.main([*words, *extra]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    warnings = [line for line in lines if line.startswith(("WARNING", "note"))]
    assert max(len(line) for line in lines if line not in warnings) <= 80
    assert lines[0].startswith("mine on 200 nodes of 64 cores: ")
    assert lines[0].endswith("bound by disk")
    disk, memory, note = warnings
    assert "500.0 GB are there" in disk
    assert "set dedup.memory=" in memory
    assert "stands in" in note
    said = " ".join(out.split())
    for part in (
        "mine/train",
        "2.0 GB/s from all nodes",
        "1.0 GB/s a node",
        "4,096 hash ranges (passes)",
    ):
        assert part in said
    assert "\x1b" not in out
    assert list(tmp_path.iterdir()) == []


def advised(lines: str, key: str) -> str:
    """The value that a warning advises for a key."""
    return lines.partition(f"{key}=")[2].split()[0]


def test_advice_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """With what a warning says to set, it is gone."""
    words = ["plan", "dataset=depo", "dataset.N=20", "nodes=40", "cores=64", "bandwidth=100TB", "disk=9TB"]
    words += ["tokens=1e11", "dedup.mode=drop", "dedup.memory=1MiB"]
    assert cli.main([*words, "shard_tokens=1073741824"]) == 0
    out = capsys.readouterr().out
    assert out.count("WARNING") == 2
    better = f"shard_tokens={advised(out, 'shard_tokens')}"
    memory = f"dedup.memory={advised(out, 'dedup.memory')}"
    assert cli.main([*words[:-1], better, memory]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_a_manifest_that_is_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "dataset=depo", "dataset.N=20", "tokens=4e12", "bandwidth=100GB", "disk=1e16"]
    assert cli.main([*words, "shard_tokens=16777216"]) == 0
    out = capsys.readouterr().out
    assert "WARNING: the manifest: " in out
    assert cli.main([*words, f"shard_tokens={advised(out, 'shard_tokens')}"]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_more_examples_than_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "dataset=mano", "dataset.L=1", "dataset.ttype=a", "examples=1e6", "dedup.mode=redraw"]
    assert cli.main(words) == 0
    assert "are different: ask for fewer" in capsys.readouterr().out


def test_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**options: Any) -> Any:
        raise PermissionError(13, "no")

    monkeypatch.setattr(ostraca.pipeline.commands.plan, "measure_disk", measure_disk)
    monkeypatch.setattr(ostraca.pipeline.forecast.measure.tempfile, "TemporaryDirectory", refuse)
    assert cli.main(["plan", "dataset=mano", "examples=100"]) == 0
    assert "could not be measured" in " ".join(capsys.readouterr().out.split())
    assert list(tmp_path.iterdir()) == []


def test_the_time_is_that_of_the_whole_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In a cache of its own, where all is compiled: starting, compiling and reports are in the sum."""
    command = [sys.executable, str(ROOT / "ostraca"), "plan", "dataset=mano", "examples=100"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = " ".join(done.stdout.split())
    assert "bound by its start and end" in said
    found = re.search(
        r"wall time ([0-9.]+) s: starting ([0-9.]+) s, compiling ([0-9.]+) s, reports ([0-9.]+) s, "
        r"making shards ([0-9.]+) s",
        said,
    )
    assert found is not None, said
    whole, *parts = map(float, found.groups())
    assert whole == pytest.approx(sum(parts), abs=0.3)
    assert parts[1] > 0.5  # compiling


def test_what_many_nodes_take_is_not_made_of_what_one_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "dataset=mano", "examples=1e6", "nodes=200"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "for all nodes together cannot be measured and does not count: set bandwidth=" in said
    assert "GB/s" not in said


@pytest.mark.parametrize("refused", [False, True])
def test_a_disk_is_measured_past_the_page_cache(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system knows O_DIRECT; where it refuses that, what fsync flushes is measured."""
    real, flags = os.open, []

    def opened(path: Any, how: int, *more: Any, **options: Any) -> int:
        if "large-" in str(path):
            flags.append(how & os.O_DIRECT)
            if refused and flags[-1]:
                raise OSError(22, "Invalid argument")
        return real(path, how, *more, **options)

    monkeypatch.setattr(os, "open", opened)
    assert measure_disk(tmp_path) is not None
    assert flags == [os.O_DIRECT] * 3
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "plan",
        "dataset=mano",
        "examples=1e3",
        "out=s3://bucket/x",
        "network=100MB",
        "splits.test.examples=5.0",
    ]
    assert cli.main(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "100.0 MB/s a node" in out
    assert "WARNING" not in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "plan: say what to build with either corpus=NAME or dataset=NAME"),
        (["corpus=depo1", "nodes=0"], "nodes=0 must be"),
        (["corpus=depo1", "cores=many"], "cores='many' must be"),
        (["corpus=depo1", "disk=-1"], "disk=-1 must be bytes, e.g."),
        (["corpus=depo1", "bandwidth=0"], "bandwidth=0 must be bytes a second"),
        (["corpus=depo1", "network=true"], "network=True must be"),
        (["corpus=depo1", "tokens=1.5"], "tokens=1.5 must be"),
        (["corpus=depo1", "tokens=1e400"], "tokens=inf must be"),
        (["corpus=depo1", "tokens=1e13", "shard_tokens=1000"], "raise shard_tokens"),
        (["corpus=depo1", "dedup.mode=drp"], "did you mean 'drop'"),
        (["corpus=depo1", "pack.mode=whole"], "length is missing"),
        (["corpus=capo-50k", "tokens=1e12"], "its config has 5,000,000"),
        (["corpus=depo1", "out=null"], "out=None"),
        (["corpus=depo1", "workers=3"], "unknown key 'workers'"),
    ],
)
def test_nonsense(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_every_key_of_a_corpus_is_one_of_plan() -> None:
    """The same words describe a corpus to `plan` and to `build`."""
    plan, made = (cli.compose(command, [], resolve=False) for command in ("plan", "build"))
    assert set(made) - set(plan) == {"engine", "workers", "ray", "part", "report", "mend", "manifest"}
    same = set(made) & set(plan) - {"out"}
    assert {key: plan[key] for key in same} == {key: made[key] for key in same}


@pytest.mark.parametrize(
    ("text", "number"),
    [("2TB", 2e12), ("1.5 GiB", 1.5 * 2**30), (10**9, 1e9), ("1e9", 1e9), (2e12, 2e12), ("500MB/s", 5e8)],
)
def test_amounts(text: Any, number: float) -> None:
    assert amount("disk", text) == number


def test_numbers_and_times_as_they_are_shown() -> None:
    assert whole(1e12) == 10**12
    assert isinstance(whole(1e12), int)
    assert whole(1.5) == 1.5
    assert [size(x) for x in (0, 999, 1000, 1.25e9, 3e15, 5e18)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.2 GB",
        "3.0 PB",
        "5,000.0 PB",
    ]
    assert size(107_374_182_400, up=True) == "107.4 GB"
    assert [duration(x) for x in (0.04, 89, 120, 7200, 10**6)] == [
        "0.0 s",
        "89.0 s",
        "2.0 minutes",
        "2.0 hours",
        "11.6 days",
    ]
