"""`ostraca curve` and `train-minimal` from end to end, in small."""

import csv
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small import DEPO, curve_config
from transformers import GPT2Config, GPT2LMHeadModel

from ostraca import cli
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.training import curve, minimal
from ostraca.training.loop.ranks import resolve_device
from ostraca.training.record import COLUMNS
from ostraca.training.run import context_length


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "depo_hop_metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_time(out: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "train_seconds"} for row in rows(out)]


def test_writes_a_row_per_step_and_hop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve.run(curve_config(tmp_path, "train.max_steps=5", "eval.hops=[1,3]"))
    found = rows(tmp_path)
    assert tuple(found[0]) == COLUMNS
    assert COLUMNS[:4] == ("step", "examples_seen", "hop", "accuracy")
    assert [(row["step"], row["hop"]) for row in found] == [
        (step, hop) for step in ("0", "2", "4", "5") for hop in ("1", "3")
    ]
    assert found[0]["examples_seen"] == "0"
    assert found[0]["train_loss"] == ""
    for row in found:
        assert 0 <= float(row["accuracy"]) <= 1
        assert row["answers"] == str(3 * DEPO["M"])
        assert float(row["chance"]) == pytest.approx(0.2)
    assert int(found[-1]["tokens_seen"]) == 5 * 4 * 64
    assert float(found[-1]["train_loss"]) > 0
    assert (tmp_path / "depo_hop_curves.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr()
    assert said.err == ""  # no progress line into a pipe
    assert len([line for line in said.out.splitlines() if line.startswith("step")]) == 4


def test_the_same_seed_is_the_same_curve(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        curve.run(curve_config(tmp_path / name, f"seed={seed}", "model=tiny_gpt2"))
    assert without_time(tmp_path / "a") == without_time(tmp_path / "b")
    assert without_time(tmp_path / "a") != without_time(tmp_path / "c")
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("resample", [True, False])
def test_resampling_takes_fresh_examples(
    resample: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    make = curve.hop_dataset

    def noted(hop_set: Any, indices: range, *more: Any) -> Any:
        asked.append((hop_set.config["fixed_k"], indices.start))
        return make(hop_set, indices, *more)

    monkeypatch.setattr(curve, "hop_dataset", noted)
    curve.run(curve_config(tmp_path, "eval.hops=[2]", f"eval.resample_each_eval={str(resample).lower()}"))
    assert asked == [(2, 0), (2, 3), (2, 6)] if resample else [(2, 0)] * 3


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("eval.hops=[1,8]", "hops 1 to K=4"),
        ("eval.hops=[]", "eval.hops is empty"),
        ("train.context_length=20", r"train.context_length=20 is shorter than .*\(39 tokens\)"),
        ("corpus_path=/no/such/corpus", "/no/such/corpus"),
        ("model.heads=5", "model.width=16"),
        ("eval.every_steps=0", "eval.every_steps=0"),
        ("train.device=cuda:99", "cuda:99"),
        ("train.device=gpu", "gpu"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    override: str, line: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(OstracaError, match=line):
        curve.run(curve_config(out, override))
    assert not out.exists()


def test_context_length_by_default_is_the_longest_test_example_rounded_up() -> None:
    assert context_length(None, 961) == 1024
    assert context_length(None, 64) == 64
    assert context_length(961, 961) == 961
    assert context_length(None, 961, 2048) == 2048
    assert context_length(None, 961, 300) == 1024


def test_divergence_is_told(tmp_path: Path) -> None:
    wild = ("train.learning_rate=1e30", "train.grad_clip=null", "train.max_steps=20", "eval.every_steps=20")
    with pytest.raises(OstracaError, match=r"lower train.learning_rate"):
        curve.run(curve_config(tmp_path, *wild))


def test_a_pretrained_model_is_trained_on(tmp_path: Path) -> None:
    inner = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_positions=64, n_layer=1, n_embd=8, n_head=2))
    inner.save_pretrained(tmp_path / "model")
    config = curve_config(tmp_path / "run")
    config["model"] = {"name": "own", "kind": "from_pretrained", "name_or_path": str(tmp_path / "model")}
    for out in ("a", "b"):  # it has dropout: the curve is still the seed's
        curve.run(config | {"out": str(tmp_path / out)})
    assert without_time(tmp_path / "a") == without_time(tmp_path / "b")
    assert len(rows(tmp_path / "a")) == 3 * 3


def test_trains_from_a_corpus(tmp_path: Path) -> None:
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    built = [f"dataset.{key}={value}" for key, value in DEPO.items()]
    small = ["dataset=depo", "examples=500", "engine=local", "workers=1"]
    assert cli.main(["build", f"out={corpus}", *small, *built]) == 0
    curve.run(curve_config(run, f"corpus_path={corpus}"))
    assert len(rows(run)) == 3 * 3
    # The default dataset is nobody's wish: the corpus decides, and it has K=4.
    config = curve_config(tmp_path / "x", f"corpus_path={corpus}", "eval.hops=[8]")
    with pytest.raises(ConfigError, match="hops 1 to K=4"):
        curve.run(config | {"dataset": cli.compose("curve", [])["dataset"]})
    asked = {"overrides": [f"corpus_path={corpus}", "dataset=depo1"]}
    with pytest.raises(ConfigError, match=r"dataset=depo1: the corpus in corpus_path decides"):
        curve.run(config | asked)


def test_trains_from_a_packed_corpus(tmp_path: Path) -> None:
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    built = [f"dataset.{key}={value}" for key, value in DEPO.items()]
    small = ["dataset=depo", "examples=500", "engine=local", "pack.length=70", "pack.mode=best_fit"]
    assert cli.main(["build", f"out={corpus}", *small, *built]) == 0
    curve.run(curve_config(run, f"corpus_path={corpus}", "train.context_length=null"))
    assert len(rows(run)) == 3 * 3
    with pytest.raises(ConfigError, match=r"context_length=64 is shorter than .* packed to 70 tokens"):
        curve.run(curve_config(tmp_path / "x", f"corpus_path={corpus}", "train.context_length=64"))
    assert not (tmp_path / "x").exists()


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    wanted = ["enabled=true", "project=test", "mode=offline"]
    curve.run(curve_config(tmp_path / "run", *(f"logging.wandb.{each}" for each in wanted)))
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"accuracy/hop_1" in file.read_bytes()


def test_wandb_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(OstracaError, match=r"ostraca\[wandb\]"):
        curve.run(curve_config(tmp_path, "logging.wandb.enabled=true"))


def test_train_minimal(capsys: pytest.CaptureFixture[str]) -> None:
    minimal.run(cli.compose("train-minimal", ["train.threads=1"]))
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[-1]) for line in lines[:-1]]
    assert losses[-1] < 0.8 * losses[0]
    assert lines[-1].startswith("answers right: ")


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)
    assert resolve_device("auto") == torch.device("cuda:0")


def test_evaluations_are_no_time_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the one before the first step nor later ones."""
    score = curve.score_hop

    def slow(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.5)
        return score(*arguments, **more)

    monkeypatch.setattr(curve, "score_hop", slow)
    begin = time.perf_counter()
    curve.run(curve_config(tmp_path, "eval.hops=[1,2]"))
    whole = time.perf_counter() - begin
    assert whole > 3 * 2 * 0.5
    assert float(rows(tmp_path)[-1]["train_seconds"]) < whole - 3 * 2 * 0.5
