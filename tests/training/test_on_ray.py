"""Ray's workers are the processes of a run: the same losses, and what befalls them loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import train_words
from test_ranks import EXACT, WORDS, assert_same, rows, run, started, told

from ostraca import cli

pytest.importorskip("ray")
RAY = ["workers=2"]
# Ray's own, at the import of Ray Train.
pytestmark = pytest.mark.filterwarnings("ignore:`use_.*deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "alone", 1, *EXACT)


@pytest.mark.usefixtures("ray_session")
def test_two_workers_are_one_process(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a relative folder, too: workers have another current one."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *train_words(Path("run"), *WORDS, *EXACT, *RAY)]) == 0
    assert_same(tmp_path / "run", alone)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["2", "4", "6", "8", "9"]
    assert lines[0].endswith("on 2 x cpu")
    assert lines[-1].endswith("metrics.csv")
    assert cli.main(["train", *train_words(Path("run"), *WORDS, *EXACT, *RAY)]) == 0
    assert "is finished at step 9" in capsys.readouterr().out


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["workers=0"], 2, "workers=0 must be an integer, 1 or more"),
        (["model=no_such_module:Model"], 2, "no_such_module"),
        (["train.learning_rate=1e30", "train.grad_clip=null"], 1, "training diverged"),
    ],
)
def test_what_a_worker_finds_is_one_line(
    words: list[str], status: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", *train_words(tmp_path / "run", *WORDS, *RAY, *words)]) == status
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


@pytest.mark.usefixtures("ray_session")
def test_what_the_main_worker_alone_finds_ends_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["train", *train_words(out, *WORDS)]) == 0
    assert cli.main(["train", *train_words(out, *WORDS, *RAY, "train.learning_rate=0.5")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "holds another run: train.learning_rate" in said


LONG = ["train.max_steps=100000", "train.schedule=constant", "train.checkpoint_every=50"]


def until(out: Path, reached: Callable[[Path], Any]) -> None:
    for _ in range(6000):
        if (out / "metrics.csv").exists() and reached(out):
            return
        time.sleep(0.02)
    raise AssertionError("nothing came of it")


@pytest.mark.soak
def test_sigterm_saves_and_ends(tmp_path: Path) -> None:
    out = tmp_path / "run"
    running = started(out, 1, *EXACT, *RAY, *LONG, "train.checkpoint_every=100000")
    until(out, lambda out: len(rows(out)) > 1)
    running.send_signal(signal.SIGTERM)
    assert told(running) == ["ostraca: stopped by SIGTERM; the same call goes on after the last checkpoint"]
    assert running.returncode == 143
    (folder,) = (out / "checkpoints").iterdir()
    assert (folder / "state.json").exists()


def test_a_lost_worker_is_replaced(tmp_path: Path) -> None:
    """By Ray Train, which starts all anew: they go on from the last checkpoint."""
    psutil = pytest.importorskip("psutil")
    out = tmp_path / "run"
    running = started(out, 1, *EXACT, *RAY, *LONG, "train.max_steps=300", "train.checkpoint_every=20")
    until(out, lambda out: any(out.glob("checkpoints/step-*/state.json")))
    workers = [
        child.pid
        for child in psutil.Process(running.pid).children(recursive=True)
        if "TrainWorker" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    said, _ = running.communicate(timeout=200)
    assert running.returncode == 0
    assert "goes on after step" in said
    found = [int(row["step"]) for row in rows(out)]
    assert found == [*range(2, 301, 2)]
