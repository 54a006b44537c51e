"""Every `experiment=NAME` is a setting that trains, and those of the papers hold the papers' numbers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ostraca import cli
from ostraca.conf import CONF
from ostraca.tasks import get_task

# Name of a preset and of its dataset -> tokens a window, windows a step, steps.
PUBLISHED = {
    "depo1-225": (2048, 128, 87_500),
    "depo1-300": (2048, 128, 100_000),
    "depo1-375": (2048, 128, 112_500),
    "depo2-75": (2048, 128, 100_000),
    "depo2-100": (2048, 128, 125_000),
    "depo2-125": (2048, 128, 150_000),
    "brevo1-70": (1024, 256, 100_000),
    "brevo1-90": (1024, 256, 125_000),
    "brevo1-110": (1024, 256, 150_000),
    "brevo2-30": (1536, 192, 200_000),
    "brevo2-40": (1536, 192, 225_000),
    "brevo2-50": (1536, 192, 250_000),
    "mano-10": (1024, 64, 80_000),
    "mano-13": (1024, 64, 95_000),
    "mano-16": (1024, 64, 110_000),
    "lano-cfg3f": (512, 96, 100_000),
    "lano-cfg3j": (1536, 96, 100_000),
    "lano-cfg3k": (1536, 96, 100_000),
    # 100 exposures of paragraphs of 89.95 tokens.
    "capo-50k": (512, 12, 73_201),
    "capo-100k": (512, 24, 73_201),
    "capo-200k": (512, 48, 73_201),
    "capo-500k": (512, 96, 91_501),
    "capo-1m": (512, 192, 91_501),
    "capo-2m": (512, 384, 91_501),
}
# Task -> weight decay and learning rates; of Brevo and Lano none is known, and Depo's are taken.
DEPO = (0.03, {3e-4, 5e-4, 1e-3, 2e-3})
OPTIMIZER = {
    "depo": DEPO,
    "brevo": DEPO,
    "lano": DEPO,
    "mano": (0.1, {1e-4, 2e-4, 3e-4, 5e-4}),
    "capo": (0.01, {5e-4, 1e-3}),
}
OWN = [f"{task}-{size}" for task in OPTIMIZER for size in ("small", "tiny")]
ALL = [*PUBLISHED, *OWN]
FILLED_IN = {"tokenizer_sha256", "attributes"}
DEPO_ALL = [name for name in ALL if name.startswith("depo")]


@cache
def composed(command: str, name: str, *words: str) -> dict[str, Any]:
    """The config of a command with a preset; nobody changes it."""
    return cli.compose(command, [f"experiment={name}", *words])


def few_words(out: Path, *words: str) -> list[str]:
    """What makes a preset quick: its dataset, its optimizer, and next to nothing of its size."""
    model = ["model.layers=1", "model.width=16", "model.heads=2"]
    train = ["train.batch_size=2", "train.max_steps=2", "train.threads=1"]
    return [f"out={out}", *model, *train, *words]


def test_each_file_is_known() -> None:
    assert sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")) == sorted(ALL)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_hold_the_published_numbers(name: str) -> None:
    config = composed("train", name)
    train = config["train"]
    found = (train["context_length"], train["batch_size"], train["max_steps"])
    assert found == PUBLISHED[name]
    assert config["dataset"] == yaml.safe_load((CONF / f"dataset/{name}.yaml").read_text())
    assert (config["model"]["name"], config["model"]["canon"]) == ("llama_12l768d", None)
    decay, rates = OPTIMIZER[config["dataset"]["task"]]
    assert train["weight_decay"] == decay
    assert train["learning_rate"] in rates
    assert (train["betas"], train["eps"], train["warmup_steps"]) == ([0.9, 0.98], 1e-6, 1000)
    assert (train["schedule"], train["min_learning_rate_ratio"]) == ("cosine", 0.1)
    # Sentences and paragraphs one after another, cut into windows; of the others a window begins with one.
    assert (train["packing"] == "concat") == (config["dataset"]["task"] in ("lano", "capo"))


def test_the_small_depo_is_the_one_that_was_measured() -> None:
    config = composed("curve", "depo-small")
    dataset, train, model = config["dataset"]["config"], config["train"], config["model"]
    assert (dataset["N"], dataset["K"], dataset["mini_vocab"]) == (40, 4, 50)
    assert (train["context_length"], train["batch_size"], train["learning_rate"]) == (512, 128, 1e-3)
    assert (train["schedule"], train["warmup_steps"]) == ("constant", 200)
    assert 107e6 < train["context_length"] * train["batch_size"] * train["max_steps"] < 109e6
    assert (model["layers"], model["width"], model["canon"]) == (8, 512, "AC")


@pytest.mark.parametrize("path", sorted((CONF / "dataset/small").glob("*.yaml")), ids=lambda path: path.stem)
def test_their_own_datasets_are_complete_and_valid(path: Path) -> None:
    text = path.read_text()
    entry = yaml.safe_load(text)
    task = get_task(entry["task"])
    assert text.startswith("# ")
    assert (entry["name"], path.stem.partition("-")[0]) == (path.stem, entry["task"])
    assert list(entry["config"]) == list(task.keys)
    checked = task.check(entry["config"])
    assert {key for key in entry["config"] if checked.get(key) != entry["config"][key]} <= FILLED_IN
    for key, value in task.keys.items():
        assert value.help in text, key


@pytest.mark.parametrize("name", ALL)
def test_every_file_says_what_it_is(name: str) -> None:
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n# ")
    said = " ".join(line.removeprefix("# ") for line in text.partition("\ndefaults:")[0].splitlines())
    assert "o expect" in said or "was measured" in said
    train = composed("train", name)["train"]
    assert f"{train['context_length'] * train['batch_size']:,} tokens a step" in said


@pytest.mark.parametrize("name", ALL)
def test_every_preset_trains(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    short = [] if name.endswith("-tiny") else ["train.context_length=160"]
    assert cli.main(["train", f"experiment={name}", *few_words(tmp_path / "run", *short)]) == 0
    rows = (tmp_path / "run/metrics.csv").read_text().splitlines()
    assert len(rows) == 2, capsys.readouterr()
    assert rows[1].startswith("2,")


@pytest.mark.parametrize("name", DEPO_ALL)
def test_every_preset_of_depo_is_a_curve(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    brief = ["eval.num_examples_per_hop=1", "eval.batch_size=1"]
    if not name.endswith("-tiny"):
        brief += ["dataset.N=20", "train.context_length=null"]
    assert cli.main(["curve", f"experiment={name}", *few_words(tmp_path / "run", *brief)]) == 0
    assert (tmp_path / "run/depo_hop_metrics.csv").read_text().count("\n2,") > 1


def test_the_command_line_wins() -> None:
    words = ["train.max_steps=7", "train.learning_rate=0.5", "dataset.N=30", "model=llama_nope", "seed=3"]
    config = composed("train", "depo1-225", *words)
    assert (config["train"]["max_steps"], config["train"]["learning_rate"]) == (7, 0.5)
    assert (config["dataset"]["config"]["N"], config["seed"]) == (30, 3)
    assert (config["model"]["name"], config["model"]["width"]) == ("llama_nope", 64)
    other = composed("curve", "depo-tiny", "dataset=mano-13", "eval.every_steps=9")
    assert (other["dataset"]["name"], other["dataset"]["config"]["L"]) == ("mano-13", 13)
    assert other["eval"]["every_steps"] == 9


def test_help_shows_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "experiment=depo1-225", "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"experiment=   {', '.join(sorted(ALL))}" in shown
    assert "max_steps: 87500" in shown
