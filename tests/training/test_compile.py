"""`train.compile`: the same run but for rounding; where it fails the run goes on without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import train_words
from test_ranks import rows

WORDS = ["logging.every_steps=1", "train.compile=always", "model.canon=AC"]


def train(out: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is compiled stays in a process."""
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    call = [sys.executable, "-m", "ostraca", "train", *train_words(out, *words)]
    return subprocess.run(call, capture_output=True, text=True, env=own, check=False, timeout=280)


def losses(out: Path) -> list[float]:
    return [float(row["train_loss"]) for row in rows(out)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    out = tmp_path_factory.mktemp("runs") / "plain"
    assert train(out, *WORDS, "train.compile=never").returncode == 0
    return losses(out)


def test_a_compiled_run_is_the_same(plain: list[float], tmp_path: Path) -> None:
    ran = train(tmp_path / "run", *WORDS, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert losses(tmp_path / "run") == pytest.approx(plain, rel=1e-4)
    assert list((tmp_path / "cache").rglob("*.so"))  # it was


def test_a_compiler_that_fails_is_told_and_done_without(plain: list[float], tmp_path: Path) -> None:
    broken = {"CXX": "/bin/false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ran = train(tmp_path / "run", *WORDS, **broken)
    assert ran.returncode == 0
    (said,) = ran.stderr.splitlines()
    assert said.startswith("ostraca: train.compile: going on without, since it failed: ")
    assert losses(tmp_path / "run") == plain
