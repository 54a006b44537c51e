"""Several processes, started by torchrun, are one run: the same losses, checkpoints for any number."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import train_words
from test_checkpoints import assert_equal, saved

from ostraca import cli

WORDS = ["train.max_steps=9", "train.checkpoint_every=3", "train.keep_checkpoints=9", "logging.every_steps=2"]
EXACT = ["model.canon=AC", "train.parts=4", "train.grad_clip=0.5"]


def started(out: Path, world_size: int, *more: str, command: str = "train") -> subprocess.Popen[str]:
    """`ostraca train`, by torchrun where there are several processes."""
    launched = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world_size}"]
    words = [
        *(launched if world_size > 1 else []),
        "-m",
        "ostraca",
        command,
        *train_words(out, *WORDS, *more),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def run(out: Path, world_size: int, *more: str, command: str = "train") -> Path:
    running = started(out, world_size, *more, command=command)
    _, told = running.communicate(timeout=240)
    assert running.returncode == 0, told
    return out


def rows(out: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    """Without what is measured with a clock."""
    clocked = ("tokens_per_second", "mfu", "data_wait", "memory_gib", "train_seconds")
    with (out / name).open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in clocked} for row in csv.DictReader(file)]


def assert_same(a: Path, b: Path) -> None:
    """Rows and the last checkpoint, to the bit."""
    assert rows(a) == rows(b)
    assert_equal(saved(a, 9), saved(b, 9))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "alone", 1, *EXACT)


def test_two_processes_are_one(alone: Path, tmp_path: Path) -> None:
    assert_same(run(tmp_path / "two", 2, *EXACT), alone)


def test_a_killed_run_goes_on_at_another_world_size(alone: Path, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    out = tmp_path / "run"
    running = started(out, 2, *EXACT)
    for _ in range(9000):
        if (out / "checkpoints/step-00000003/state.json").exists() or running.poll() is not None:
            break
        time.sleep(0.02)
    workers = psutil.Process(running.pid).children()
    assert len(workers) >= 2
    running.kill()
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    running.communicate()
    assert_same(run(out, 1, *EXACT), alone)


def test_dropout_is_the_parts_own(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    inner = GPT2LMHeadModel(GPT2Config(vocab_size=18, n_positions=64, n_layer=1, n_embd=8, n_head=2))
    inner.save_pretrained(tmp_path / "model")
    words = ["model=from_pretrained", f"model.name_or_path={tmp_path / 'model'}", "train.parts=2"]
    one, two = (run(tmp_path / str(world), world, *words) for world in (1, 2))
    assert_same(one, two)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_gradients_that_torch_adds_up_are_the_same_but_for_rounding(
    parallel: str, alone: Path, tmp_path: Path
) -> None:
    """And checkpoints are whole: one process goes on with them."""
    out = run(tmp_path / "run", 2, *EXACT, f"train.parallel={parallel}")
    for name in ("train_loss", "gradient_norm"):
        found, wanted = ([float(row[name]) for row in rows(each)] for each in (out, alone))
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
    found, wanted = (load_file(each / "checkpoints/step-00000009/model.safetensors") for each in (out, alone))
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-2, atol=1e-3)
    for step in (6, 9):
        (out / f"checkpoints/step-{step:08}/state.json").unlink()
    run(out, 1, *EXACT)
    assert rows(out)[:1] == rows(run(tmp_path / "again", 2, *EXACT, f"train.parallel={parallel}"))[:1]
    assert [row["step"] for row in rows(out)] == ["2", "4", "6", "8", "9"]
    found = saved(out, 9)["weights"]
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-2, atol=1e-3)


def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    words = [*EXACT, "eval.every_steps=4", "eval.num_examples_per_hop=5", "eval.batch_size=3"]
    one, two = (run(tmp_path / str(world), world, *words, command="curve") for world in (1, 2))
    name = "depo_hop_metrics.csv"
    assert rows(one, name) == rows(two, name)
    assert (two / "depo_hop_curves.png").exists()
    shared = run(tmp_path / "fsdp", 2, *words, "train.parallel=fsdp", command="curve")
    for found, wanted in zip(rows(shared, name), rows(one, name), strict=True):
        for column in ("step", "hop", "answers"):
            assert found[column] == wanted[column]
        assert float(found["accuracy"]) == pytest.approx(float(wanted["accuracy"]), abs=0.1)


def told(running: subprocess.Popen[str]) -> list[str]:
    """What ostraca says on stderr; torchrun says more."""
    _, said = running.communicate(timeout=240)
    return [line for line in said.splitlines() if line.startswith("ostraca: ")]


def test_sigterm_saves_a_step_that_all_have_made(tmp_path: Path) -> None:
    out = tmp_path / "run"
    long = ["train.max_steps=100000", "train.schedule=constant", "train.checkpoint_every=100000"]
    running = started(out, 2, *EXACT, *long)
    for _ in range(9000):
        if (out / "metrics.csv").exists() and len(rows(out)) > 1:
            break
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    said = told(running)
    assert said == ["ostraca: stopped by SIGTERM; the same call goes on after the last checkpoint"]
    (folder,) = (out / "checkpoints").iterdir()
    assert (folder / "state.json").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["train.batch_size=5"],
            "batch_size=5 (of all ranks together) cannot be shared by world_size=2 ranks",
        ),
        (["train.parts=1"], "train.parts=1 cannot be shared by 2 processes"),
        (["seeds=[0,1]"], "seeds: several processes work on one run here"),
    ],
)
def test_what_the_processes_cannot_share_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    running = started(tmp_path / "run", 2, *words)
    said = told(running)
    assert running.returncode != 0
    (only,) = said
    assert line in only
    assert not (tmp_path / "run").exists()


def test_one_process_of_a_folder_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    long = ["train.max_steps=100000", "train.schedule=constant"]
    running = started(out, 1, *long)
    for _ in range(9000):
        if (out / "metrics.csv").exists():
            break
        time.sleep(0.02)
    assert cli.main(["train", *train_words(out, *WORDS, *long)]) == 1
    running.kill()
    running.communicate()
    assert "another run is running in this folder" in capsys.readouterr().err
