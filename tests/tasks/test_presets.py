"""Every file of conf/dataset and conf/corpus is complete and valid, and explains itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ostraca import cli
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.given import corpus_spec
from ostraca.tasks import TASKS, get_task

PRESETS = {
    "depo": [*(f"depo1-{n}" for n in (225, 300, 375)), *(f"depo2-{n}" for n in (75, 100, 125))],
    "brevo": [*(f"brevo1-{n}" for n in (70, 90, 110)), *(f"brevo2-{n}" for n in (30, 40, 50))],
    "mano": ["mano-10", "mano-13", "mano-16"],
    "lano": [f"lano-cfg3{letter}" for letter in "bihgfjk"],
    "capo": [f"capo-{size}" for size in ("50k", "100k", "200k", "500k", "1m", "2m")],
}
SHORT = {
    "depo": "depo1-225",
    "depo1": "depo1-225",
    "depo2": "depo2-75",
    "brevo": "brevo1-70",
    "brevo1": "brevo1-70",
    "brevo2": "brevo2-30",
    "mano": "mano-10",
    "lano": "lano-cfg3f",
    "capo": "capo-50k",
}
ALL = [name for names in PRESETS.values() for name in names]


def files(group: str) -> list[str]:
    return sorted(path.stem for path in (cli.CONF / group).glob("*.yaml"))


def dataset(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return loaded


def test_every_task_has_its_presets() -> None:
    assert set(PRESETS) == set(TASKS)
    assert files("dataset") == sorted([*ALL, *SHORT, "depo-demo"])
    assert files("corpus") == sorted([*ALL, *SHORT, "depo-demo", "five-tasks"])


@pytest.mark.parametrize("name", [*ALL, "depo-demo"])
def test_every_dataset_file_is_complete_and_valid(name: str) -> None:
    """A file leaves nothing to defaults: what it says is the complete config."""
    loaded = dataset(name)
    assert set(loaded) == {"name", "task", "config"}
    assert (loaded["name"], loaded["task"]) == (name, name.split("-")[0].rstrip("12"))
    assert list(loaded["config"]) == list(get_task(loaded["task"]).keys)
    checked = get_task(loaded["task"]).check(loaded["config"])
    # What is embedded has its digest filled in; columns that nobody asked for are no part of a config.
    filled = {"tokenizer_sha256", "attributes"}
    assert {k: v for k, v in checked.items() if k not in filled} == {
        k: v for k, v in loaded["config"].items() if k not in filled
    }


@pytest.mark.parametrize("name", SHORT)
def test_short_names_are_their_targets(name: str) -> None:
    assert dataset(name) == dataset(SHORT[name])


@pytest.mark.parametrize("name", [*ALL, *SHORT, "depo-demo"])
def test_comments_say_what_the_keys_say(name: str) -> None:
    """`--help` shows the comments of the files: they are the keys' own words."""
    text = Path(cli.CONF / "dataset" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    lines = re.findall(r"^  (\w+): \S+(?:  # (.*))?$", text, flags=re.MULTILINE)
    keys = {} if name in SHORT else get_task(dataset(name)["task"]).keys
    assert dict(lines) == {key: value.help for key, value in keys.items()}


@pytest.mark.parametrize("name", [*ALL, *SHORT, "depo-demo", "five-tasks"])
def test_every_corpus_is_a_spec(name: str) -> None:
    assert Path(cli.CONF / "corpus" / f"{name}.yaml").read_text().startswith("# ")
    spec = check_spec(corpus_spec(cli.compose("build", [f"corpus={name}", "out=x"])))
    assert spec["name"] == SHORT.get(name, name)
    assert all({"train", "test"} == set(entry["splits"]) for entry in spec["datasets"].values())


def test_five_tasks_are_five_in_one_vocabulary_and_about_equal() -> None:
    spec = check_spec(corpus_spec(cli.compose("build", ["corpus=five-tasks", "out=x"])))
    assert spec["vocabulary"] == "shared"
    assert {entry["task"] for entry in spec["datasets"].values()} == set(TASKS)
    for entry in spec["datasets"].values():
        split = entry["splits"]["train"]
        tokens = split["examples"] * get_task(entry["task"]).mean_tokens(split["config"])
        assert 3e6 < tokens < 6e6


def test_capo_has_every_person_as_often_as_its_exposures() -> None:
    spec = check_spec(corpus_spec(cli.compose("build", ["corpus=capo-100k", "out=x"])))
    splits = spec["datasets"]["capo-100k"]["splits"]
    assert splits["train"]["examples"] == 100_000 * 100
    assert splits["test"]["examples"] == 100_000
