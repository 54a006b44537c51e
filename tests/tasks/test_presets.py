"""Every file of conf/dataset and conf/corpus is complete and valid, and explains itself."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from facts import FACTS, each

from ostraca import cli
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.given import corpus_spec
from ostraca.tasks import TASKS, get_task

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
ALL = [name for facts in FACTS.values() for name in facts.presets]
TEST_FORMS = {
    "depo": {"qa": True},
    "brevo": {"qa": True},
    "mano": {"qa": True},
    "lano": {},
    "capo": {"exposures": 1},
}


def files(group: str) -> list[str]:
    return sorted(path.stem for path in (cli.CONF / group).glob("*.yaml"))


@cache
def dataset(name: str) -> dict[str, Any]:
    """The `dataset` group of the command line's config."""
    loaded: dict[str, Any] = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return loaded


@cache
def corpus(name: str) -> dict[str, Any]:
    """What `ostraca build corpus=name` is given."""
    return cli.compose("build", [f"corpus={name}", "out=x"])


def test_every_task_has_its_presets() -> None:
    assert set(FACTS) == set(TEST_FORMS) == set(TASKS)
    assert len(ALL) == 28
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


@pytest.mark.parametrize(("task", "name"), each("presets"))
def test_presets_hold_the_published_numbers(task: str, name: str) -> None:
    facts = FACTS[task]
    unsaid = {key: facts.task.keys[key].default for key in facts.task.keys if key not in facts.defaults}
    config = {**unsaid, **facts.defaults, **facts.presets[name]}
    assert dataset(name) == {"name": name, "task": task, "config": config}
    assert facts.task.check(facts.presets[name]) == facts.task.check(config)


@pytest.mark.parametrize("task", TASKS)
def test_the_preset_called_like_its_task_is_what_the_task_defaults_to(task: str) -> None:
    check = get_task(task).check
    assert check({}) == check(dataset(task)["config"])
    assert get_task(task).test_form == TEST_FORMS[task]


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
    spec = check_spec(corpus_spec(corpus(name)))
    assert spec["name"] == SHORT.get(name, name)
    assert all({"train", "test"} == set(entry["splits"]) for entry in spec["datasets"].values())


@pytest.mark.parametrize("name", [*ALL, *SHORT])
def test_every_corpus_holds_its_dataset(name: str) -> None:
    """One dataset, of the same name but for the short ones."""
    text = Path(cli.CONF / "corpus" / f"{name}.yaml").read_text()
    if name in SHORT:
        target = f"{name}1" if f"{name}1" in SHORT else SHORT[name]
        assert text.endswith(f"defaults:\n  - {target}\n")
    else:
        assert f"name: {name}\n" in text
        assert f"  - /dataset@datasets.{name}: {name}\n" in text
    (found,) = corpus(name)["corpus"]["datasets"].values()
    assert (found["task"], found["config"]) == (dataset(name)["task"], dataset(name)["config"])


def test_five_tasks_are_five_in_one_vocabulary_and_about_equal() -> None:
    spec = check_spec(corpus_spec(corpus("five-tasks")))
    assert spec["vocabulary"] == "shared"
    assert {entry["task"] for entry in spec["datasets"].values()} == set(TASKS)
    for entry in spec["datasets"].values():
        split = entry["splits"]["train"]
        tokens = split["examples"] * get_task(entry["task"]).mean_tokens(split["config"])
        assert 3e6 < tokens < 6e6


def test_capo_has_every_person_as_often_as_its_exposures() -> None:
    spec = check_spec(corpus_spec(corpus("capo-100k")))
    splits = spec["datasets"]["capo-100k"]["splits"]
    assert splits["train"]["examples"] == 100_000 * 100
    assert splits["test"]["examples"] == 100_000
