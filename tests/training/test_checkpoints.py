"""A run that was stopped, or killed, goes on as if it had not been: the same losses, scores and weights."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import curve_config, curve_words, tiny_llama, train_words
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from ostraca import cli
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.training import curve
from ostraca.training import run as running
from ostraca.training.checkpoints import Checkpoint, Checkpoints
from ostraca.training.whole import load_weights, weights_of

LONG = ["train.max_steps=12", "train.checkpoint_every=3", "eval.every_steps=4", "train.keep_checkpoints=9"]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "depo_hop_metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "train_seconds"} for row in csv.DictReader(file)]


def saved(out: Path, step: int) -> dict[str, Any]:
    """All of a checkpoint but the times."""
    folder = out / "checkpoints" / f"step-{step:08}"
    state = json.loads((folder / "state.json").read_text())
    del state["seconds"], state["waited"], state["files"]
    training = torch.load(folder / "training.pt", weights_only=True)
    return {"state": state, "weights": load_file(folder / "model.safetensors"), "training": training}


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


def last_of(kept: Checkpoints) -> Checkpoint | None:
    step = kept.last_step()
    return None if step is None else kept.read(step)


class _StoppedError(Exception):
    pass


def run_until(step: int, config: dict[str, Any]) -> None:
    """A run that ends, without a word, when this step is done."""
    with pytest.MonkeyPatch.context() as patched:
        stop_after(patched, step)
        with pytest.raises(_StoppedError):
            curve.run(config)


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = running.train

    def stopping(*arguments: Any, **more: Any) -> Iterator[Any]:
        for one in real(*arguments, **more):
            if one.number > step:
                raise _StoppedError
            yield one

    monkeypatch.setattr(running, "train", stopping)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    curve.run(curve_config(out, *LONG))
    return out


@pytest.mark.parametrize("steps", [[1], [3], [4, 8], [2, 5, 7, 11], [12]])
def test_it_goes_on_as_if_it_had_not_stopped(
    steps: list[int], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for step in steps:
        if step < 12:
            run_until(step, curve_config(out, *LONG))
        else:
            curve.run(curve_config(out, *LONG))
    curve.run(curve_config(out, *LONG))
    said = capsys.readouterr().out
    assert (f"the run in {out} is finished at step 12" in said) == (steps == [12])
    assert ("goes on after step" in said) == (steps not in ([1], [12]))
    assert rows(out) == rows(whole)
    for step in (3, 6, 9, 12):
        assert_equal(saved(out, step), saved(whole, step))


def test_it_goes_on_from_a_store(s3: str, whole: Path, tmp_path: Path) -> None:
    config = curve_config(tmp_path / "run", *LONG, f"train.checkpoint_folder={s3}/run")
    run_until(7, config)
    curve.run(config)
    assert rows(tmp_path / "run") == rows(whole)
    assert not (tmp_path / "run" / "checkpoints").exists()
    names = {name.partition("/")[0] for name in open_folder(f"{s3}/run").names()}
    assert names == {f"step-{step:08}" for step in (3, 6, 9, 12)}


def test_dropout_goes_on_too(tmp_path: Path) -> None:
    """What is random in training is in the checkpoint; what it holds is loaded by transformers."""
    inner = GPT2LMHeadModel(GPT2Config(vocab_size=18, n_positions=64, n_layer=1, n_embd=8, n_head=2))
    inner.save_pretrained(tmp_path / "model")
    config = curve_config(tmp_path, *LONG)
    config["model"] = {"name": "own", "kind": "from_pretrained", "name_or_path": str(tmp_path / "model")}
    curve.run(config | {"out": str(tmp_path / "a")})
    run_until(7, config | {"out": str(tmp_path / "b")})
    curve.run(config | {"out": str(tmp_path / "b")})
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert_equal(saved(tmp_path / "a", 12), saved(tmp_path / "b", 12))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "a/checkpoints/step-00000012")
    assert isinstance(loaded, GPT2LMHeadModel)
    weights = load_file(tmp_path / "a/checkpoints/step-00000012/model.safetensors")
    assert_equal({name: loaded.state_dict()[name] for name in weights}, weights)
    assert torch.equal(loaded.lm_head.weight, loaded.transformer.wte.weight)


def command(out: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "ostraca", "curve", *curve_words(out, *LONG, *more)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(running: subprocess.Popen[str], path: Path) -> None:
    """Wait for a file."""
    for _ in range(6000):
        if path.exists():
            return
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    raise AssertionError(path)


def test_killed_runs_go_on(whole: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments after a checkpoint is there."""
    out, rng = tmp_path / "run", random.Random(5)
    for step in (3, 6, 9):
        running = command(out)
        until(running, out / f"checkpoints/step-{step:08}/state.json")
        time.sleep(rng.random() * 0.02)
        running.kill()
        running.communicate()
    done = command(out)
    said, told = done.communicate(timeout=120)
    assert done.returncode == 0, told
    assert "after step" in said or "is finished" in said
    assert rows(out) == rows(whole)
    assert_equal(saved(out, 12), saved(whole, 12))
    assert not [path for path in out.rglob("*") if ".tmp-" in path.name]


def test_sigterm_saves_and_ends(whole: Path, tmp_path: Path) -> None:
    """At the end of the step it comes in, on a checkpoint of that step."""
    out = tmp_path / "run"
    running = command(out, "train.max_steps=100000", "train.schedule=constant")
    until(running, out / "checkpoints/step-00000003/state.json")
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 143
    assert told == "ostraca: stopped by SIGTERM; the same call goes on after the last checkpoint\n"
    last = last_of(Checkpoints(open_folder(out / "checkpoints"), 1))
    assert last is not None
    again = command(out, "train.max_steps=100000", "train.schedule=constant")
    assert again.stdout is not None
    lines = [again.stdout.readline() for _ in range(3)]
    again.kill()
    again.communicate()
    assert f"the run in {out} goes on after step {last.step:,}\n" in lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("train.learning_rate=0.5", r"train.learning_rate is 0.003 there and 0.5 here"),
        ("model.width=32", r"model.width is 16 there and 32 here"),
        ("seed=3", r"seed is 0 there and 3 here"),
        ("dataset.N=4", r"dataset.config.N is 5 there and 4 here"),
        ("eval.seed_offset=7", r"eval.seed_offset is \d+ there and 7 here"),
    ],
)
def test_another_run_is_refused(change: str, line: str, whole: Path) -> None:
    before = rows(whole)
    with pytest.raises(ConfigError, match=rf"holds another run: {line}; take another out="):
        curve.run(curve_config(whole, *LONG, change))
    assert rows(whole) == before


def test_what_decides_nothing_may_change(whole: Path, tmp_path: Path) -> None:
    run_until(5, curve_config(tmp_path, *LONG))
    curve.run(curve_config(tmp_path, *LONG, "train.checkpoint_every=4", "train.keep_checkpoints=1"))
    assert rows(tmp_path) == rows(whole)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000012"]


def test_a_curve_of_an_older_release_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "depo_hop_metrics.csv").write_text("step\n")
    with pytest.raises(ConfigError, match=r"holds a depo_hop_metrics.csv and no run.json"):
        curve.run(curve_config(tmp_path))
    assert (tmp_path / "depo_hop_metrics.csv").read_text() == "step\n"


def test_divergence_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    wild = ["train.max_steps=50", "train.checkpoint_every=1", "eval.every_steps=50", "train.warmup_steps=30"]
    wild += ["train.learning_rate=1e32", "train.grad_clip=null"]
    with pytest.raises(
        OstracaError, match=r"diverged; .*the last good checkpoint is .*/checkpoints/step-\d{8}\)"
    ):
        curve.run(curve_config(tmp_path, *wild))
    last = last_of(Checkpoints(open_folder(tmp_path / "checkpoints"), 1))
    assert last is not None
    assert all(weight.isfinite().all() for weight in last.weights.values())


def checkpoint(step: int, model: nn.Module) -> Checkpoint:
    return Checkpoint(step=step, weights=weights_of(model), training={"a": torch.ones(2)}, state={"b": [1]})


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(open_folder(tmp_path), 2)
    assert last_of(kept) is None
    for step in (1, 2, 10, 300):
        kept.save(checkpoint(step, tiny_llama(seed=step)))
    kept.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000300"]
    last = last_of(kept)
    assert last is not None
    assert (last.step, last.state["b"], kept.where(300)) == (300, [1], f"{tmp_path}/step-00000300")
    assert_equal(dict(last.weights), weights_of(tiny_llama(seed=300)))


def test_one_that_is_not_whole_is_none_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    kept = Checkpoints(open_folder(tmp_path), 3)
    for step in (1, 2):
        kept.save(checkpoint(step, tiny_llama(seed=step)))
    kept.wait()
    (tmp_path / "step-00000002/state.json").unlink()
    last = last_of(kept)
    assert last is not None
    assert last.step == 1
    with (tmp_path / "step-00000001/training.pt").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    with pytest.raises(
        OstracaError, match=r"training.pt: is not what was written; remove the folder step-00000001"
    ):
        last_of(kept)


def test_a_state_that_was_edited_is_told(tmp_path: Path) -> None:
    run_until(5, curve_config(tmp_path, *LONG))
    path = tmp_path / "checkpoints/step-00000003/state.json"
    state = json.loads(path.read_text())
    del state["tokens"]
    path.write_text(json.dumps(state))
    with pytest.raises(
        OstracaError, match=r"step-00000003: is not as ostraca writes it \(KeyError\('tokens'\)\)"
    ):
        curve.run(curve_config(tmp_path, *LONG))


def test_a_line_that_was_cut_off_comes_again(whole: Path, tmp_path: Path) -> None:
    run_until(10, curve_config(tmp_path, *LONG))
    table = tmp_path / "depo_hop_metrics.csv"
    table.write_text(table.read_text() + "1")  # the beginning of step 12
    curve.run(curve_config(tmp_path, *LONG))
    assert rows(tmp_path) == rows(whole)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    kept = Checkpoints(open_folder(tmp_path), 3)
    (tmp_path / "step-00000001").write_text("in the way")
    kept.save(checkpoint(1, tiny_llama()))
    with pytest.raises(OstracaError, match="step-00000001"):
        kept.wait()
    kept.wait()


@pytest.mark.parametrize(
    ("other", "line"),
    [({"layers": 3}, "blocks.2"), ({"canon": "A"}, "canon"), ({"vocabulary": 5}, "embedding")],
)
def test_weights_of_another_model_are_refused(other: dict[str, Any], line: str) -> None:
    with pytest.raises(OstracaError, match=rf"is of another model: of .*{line}"):
        load_weights(tiny_llama(), weights_of(tiny_llama(**other)), "here")


def test_a_checkpoint_is_nobody_else_s(tmp_path: Path) -> None:
    """Training goes on while it is written."""
    model = tiny_llama()
    held = weights_of(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert_equal(held, weights_of(tiny_llama()))


def test_the_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = curve_words(tmp_path / "run")
    assert cli.main(["curve", *words]) == 0
    assert cli.main(["curve", *words]) == 0
    assert "is finished at step 4" in capsys.readouterr().out
    assert cli.main(["curve", *words, "seed=4"]) == 2
    assert "holds another run: seed is 0 there and 4 here" in capsys.readouterr().err


def test_checkpoints_elsewhere_are_one_run_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of another run are not taken, and a run does not begin anew where its own are not."""

    def call(name: str, folder: str | None, *words: str) -> int:
        given = [] if folder is None else [f"train.checkpoint_folder={tmp_path / folder}"]
        return cli.main(["train", *train_words(tmp_path / name, *given, *words)])

    assert call("a", "kept") == 0
    assert call("b", "kept", "train.learning_rate=0.1") == 2
    assert (
        f"{tmp_path}/kept/step-00000004 holds another run: train.learning_rate is" in capsys.readouterr().err
    )
    assert call("a", "others") == 2
    assert call("a", None) == 2
    assert "holds another run: train.checkpoint_folder is" in capsys.readouterr().err
    assert call("c", "each", "seeds=[0,1]", "order_seed=5", "data_seed=5") == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["seed-0", "seed-1"]
    assert call("d", "/proc/none") in (1, 2)
    assert not (tmp_path / "d" / "metrics.csv").exists()


OWN = """
import torch
from torch import nn

class Spare(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.output = nn.Linear(8, vocab_size)
        self.spare = nn.Linear(8, 8)  # gets no gradient
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))

    def forward(self, input_ids):
        return self.output(self.embedding(input_ids))
"""


@pytest.mark.parametrize("parts", [1, 2])
def test_a_parameter_without_a_gradient_stays_as_it_is(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And neither that nor a buffer that holds an infinity keeps a run from going on."""
    (tmp_path / "sparing.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    words = [*LONG, "model=sparing:Spare", f"train.parts={parts}"]
    curve.run(curve_config(tmp_path / "a", *words))
    run_until(7, curve_config(tmp_path / "b", *words))
    curve.run(curve_config(tmp_path / "b", *words))
    assert_equal(saved(tmp_path / "a", 12), saved(tmp_path / "b", 12))
    for name in ("spare.weight", "mask"):
        assert torch.equal(
            saved(tmp_path / "a", 3)["weights"][name], saved(tmp_path / "a", 12)["weights"][name]
        )


def test_a_signal_in_the_last_step_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is kept; what would come after it, another seed say, is not begun."""
    real = running.Watch.row

    def signalled(self: Any, step: Any, *more: Any, **keys: Any) -> None:
        if step.number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, step, *more, **keys)

    monkeypatch.setattr(running.Watch, "row", signalled)
    assert cli.main(["train", *train_words(tmp_path / "run", "seeds=[0,1]")]) == 143
    assert (tmp_path / "run/seed-0/checkpoints/step-00000004/state.json").exists()
    assert not (tmp_path / "run/seed-1").exists()


def test_a_table_that_was_edited_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = train_words(tmp_path / "run")
    assert cli.main(["train", *words]) == 0
    table = tmp_path / "run" / "metrics.csv"
    whole = table.read_text()
    for text in (whole.replace("\n4,", "\nfoo,"), whole.replace("step,", "stop,"), "a,b\n1,2\n"):
        table.write_text(text)
        assert cli.main(["train", *words]) == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert f"{table} is not as ostraca wrote it" in said


def test_losses_are_kept_for_what_is_written_alone(tmp_path: Path) -> None:
    assert cli.main(["train", *train_words(tmp_path / "run", "logging.every_steps=3")]) == 0
    state = json.loads((tmp_path / "run/checkpoints/step-00000004/state.json").read_text())
    assert (state["losses_since_row"], state["losses_since_evaluation"]) == ([], [])
    assert state["run"]["train"]["max_steps"] == 4
