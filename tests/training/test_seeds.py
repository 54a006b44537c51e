"""`seeds=[...]`: each seed is the run that it would be alone; one picture shows all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import curve_words, train_words
from test_checkpoints import rows

from ostraca import cli
from ostraca.training.plots import read_curve


@pytest.mark.parametrize("at_once", [1, 2])
def test_each_seed_is_its_own_run(at_once: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = curve_words(tmp_path / "runs", "seeds=[0,3,5]", f"at_once={at_once}")
    assert cli.main(["curve", *words]) == 0
    assert cli.main(["curve", *curve_words(tmp_path / "alone", "seed=3")]) == 0
    assert rows(tmp_path / "runs" / "seed-3") == rows(tmp_path / "alone")
    assert rows(tmp_path / "runs" / "seed-0") != rows(tmp_path / "alone")
    assert (tmp_path / "runs" / "depo_hop_curves.png").read_bytes()[:4] == b"\x89PNG"
    curve = read_curve(tmp_path / "runs")
    assert curve.label == "runs, 3 seeds"
    for hop, points in curve.hops.items():
        for point in points:
            scores = [
                float(row["accuracy"])
                for seed in (0, 3, 5)
                for row in rows(tmp_path / "runs" / f"seed-{seed}")
                if (int(row["step"]), int(row["hop"])) == (point.step, hop)
            ]
            assert len(scores) == 3
            assert (point.low, point.high) == (min(scores), max(scores))
            assert point.accuracy == pytest.approx(sum(scores) / 3)
    assert cli.main(["curve", *words]) == 0
    assert capfd.readouterr().out.count("is finished at step 4") == 3


def test_one_that_fails_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "seed-3").mkdir(parents=True)
    (tmp_path / "runs" / "seed-3" / "metrics.csv").write_text("of another release\n")
    words = train_words(tmp_path / "runs", "seeds=[3,4]", "at_once=2")
    assert cli.main(["train", *words]) == 1
    said = capfd.readouterr().err.splitlines()
    assert "nobody knows of which run" in said[0]
    assert said[1] == "ostraca: seed 3: failed, as it says above; the same call goes on with what is left"
    assert (tmp_path / "runs" / "seed-4" / "checkpoints").exists()


def test_sigterm_reaches_all(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    long = ["train.max_steps=100000", "train.schedule=constant", "logging.every_steps=1"]
    words = train_words(out, *long, "seeds=[0,1]", "at_once=2")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen(
        [sys.executable, "-m", "ostraca", "train", *words], stderr=subprocess.PIPE, text=True, env=environment
    )
    for _ in range(9000):
        if all((out / f"seed-{seed}" / "metrics.csv").exists() for seed in (0, 1)):
            break
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 143
    line = "ostraca: stopped by SIGTERM; the same call goes on after the last checkpoint"
    assert said.splitlines() == [line] * 3
    for seed in (0, 1):
        (folder,) = (out / f"seed-{seed}" / "checkpoints").iterdir()
        assert (folder / "state.json").exists()
