"""Every Mano file of conf/dataset is a complete, valid config that holds the published numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from facts.mano import PRESETS, make

from ostraca import cli
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.mano import KEYS, TASK, check, max_tokens, mean_tokens

PUBLISHED = {"mano-10": 10, "mano-13": 13, "mano-16": 16}
NAMES = ["mano", *PUBLISHED]


def dataset(name: str) -> dict[str, Any]:
    """The `dataset` group of the command line's config."""
    loaded: dict[str, Any] = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return loaded


@pytest.mark.parametrize("group", ["dataset", "corpus"])
def test_all_presets_are_there(group: str) -> None:
    assert sorted(path.stem for path in (cli.CONF / group).glob("mano*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_hold_the_published_numbers(name: str) -> None:
    """And leave nothing to defaults."""
    assert dataset(name) == {
        "name": name,
        "task": "mano",
        "config": {
            "L": PUBLISHED[name],
            "ttype": "asm",
            "value_mod": 23,
            "knowledge_augment": True,
            "bos_token_id": 9999,
            "qa": False,
            "fixed_length": None,
        },
    }
    assert check(PRESETS[name]) == dataset(name)["config"]


def test_the_short_name_is_its_target() -> None:
    assert dataset("mano") == dataset("mano-10")


@pytest.mark.parametrize("name", NAMES)
def test_comments_say_what_the_keys_say(name: str) -> None:
    """`--help` shows the comments of the files: they are the keys' own words."""
    text = (cli.CONF / "dataset" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    lines = re.findall(r"^  (\w+): \S+(?:  # (.*))?$", text, flags=re.MULTILINE)
    assert dict(lines) == ({key: value.help for key, value in KEYS.items()} if name in PUBLISHED else {})


@pytest.mark.parametrize("name", NAMES)
def test_every_corpus_holds_its_dataset(name: str) -> None:
    """`ostraca build corpus=<name>`: one dataset, of the same name but for the short one."""
    text = (cli.CONF / "corpus" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    if name in PUBLISHED:
        assert f"name: {name}\n" in text
        assert f"  - /dataset@datasets.{name}: {name}\n" in text
    else:
        assert text.endswith("defaults:\n  - mano-10\n")


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    ("more", "mean"), [({}, "L + 6"), ({"qa": True}, "2L + 5"), ({"fixed_length": 3}, "11")]
)
def test_token_counts_are_exact(name: str, more: dict[str, Any], mean: str) -> None:
    """The mean of 30,000 examples within 5 standard errors, and the longest one."""
    config, batch = make({**PRESETS[name], **more}, 30_000, seed=20)
    L = config["L"]
    assert mean_tokens(config) == {"L + 6": L + 6, "2L + 5": 2 * L + 5, "11": 11}[mean]
    sizes = np.diff(unragged(batch["input_ids"])[1])
    assert abs(sizes.mean() - mean_tokens(config)) <= 5 * sizes.std() / np.sqrt(len(sizes))
    assert sizes.max() == max_tokens(config) == (11 if "fixed_length" in more else 2 * L + 5)


def test_the_published_test_form_is_the_largest_length() -> None:
    assert TASK.test_form == {"qa": True}
