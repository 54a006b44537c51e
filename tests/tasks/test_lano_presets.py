"""Every Lano file of conf/dataset is a complete, valid config that names its published grammar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from facts.lano import PRESETS

from ostraca import cli
from ostraca.tasks.lano.config import KEYS, check
from ostraca.tasks.lano.grammar import PUBLISHED

FILES = sorted((cli.CONF / "dataset").glob("lano*.yaml"))


def dataset(name: str) -> dict[str, Any]:
    """The `dataset` group of the command line's config."""
    loaded: dict[str, Any] = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return loaded


def test_all_presets_are_there_as_datasets_and_as_corpora() -> None:
    expected = {"lano", *(f"lano-{name}" for name in PUBLISHED)}
    assert {path.stem for path in FILES} == expected
    assert {path.stem for path in (cli.CONF / "corpus").glob("lano*.yaml")} == expected


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_complete_and_name_their_grammar(name: str) -> None:
    assert dataset(name) == {
        "name": name,
        "task": "lano",
        "config": {
            "config_name": name.removeprefix("lano-"),
            "config_path": None,
            "grammar": None,
            "bos": True,
            "eos": False,
            "bos_token_id": 0,
            "eos_token_id": 4,
        },
    }
    assert check(PRESETS[name]) == dataset(name)["config"]


def test_lano_is_cfg3f() -> None:
    assert dataset("lano") == dataset("lano-cfg3f")
    assert check({}) == dataset("lano")["config"]


@pytest.mark.parametrize("name", ["lano", *PRESETS])
def test_a_corpus_holds_its_dataset(name: str) -> None:
    corpus = cli.compose("build", [f"corpus={name}", "out=x"])["corpus"]
    (found,) = corpus["datasets"].values()
    assert (found["task"], found["config"]) == ("lano", dataset(name)["config"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_comments_say_what_the_keys_say(path: Path) -> None:
    """`--help` shows the comments of the files: they are the keys' own words."""
    assert path.read_text().startswith("# ")
    lines = re.findall(r"^  (\w+): \S+(?:  # (.*))?$", path.read_text(), flags=re.MULTILINE)
    assert dict(lines) == ({key: value.help for key, value in KEYS.items()} if lines else {})
