"""Fixed expected examples of every task: who breaks if they change.

`golden.json` holds, for each task, the version they are of, digests of the examples 0..19 (Mano: 0..49) of
train with seed 42, and one example with seed 0 spelled out. " test" stands for the published test form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import FACTS
from facts.kinds import Facts, lists
from oracles.capo import replay

from ostraca.tasks import TASKS
from ostraca.tasks.capo.config import tokenizer_of
from ostraca.tasks.core.batch import rows_of

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden.json").read_text())
CASES = [(task, name) for task, golden in GOLDEN.items() for name in golden["digests"]]


def who_breaks(task: str) -> str:
    version = GOLDEN[task]["version"]
    return (
        f"{task}'s examples changed: every corpus ever built with {task} version {version} can no longer be "
        f"reproduced or streamed from its manifest. Raise VERSION in ostraca/tasks/{task}/__init__.py (and "
        "golden.json) if that is meant."
    )


def config_of(facts: Facts, name: str) -> dict[str, Any]:
    """A preset, a preset in its test form, or one of the small configs."""
    preset = name.removesuffix(" test")
    if preset not in facts.presets:
        return dict(facts.varied[name])
    return {**facts.presets[preset], **(facts.task.test_form if name != preset else {})}


def numbers(column: pa.Array) -> str:
    return " ".join(map(str, column.to_pylist()))


def columns(batch: pa.RecordBatch, ragged: tuple[str, ...], last: str) -> str:
    """Every row of the ragged columns, and one of numbers."""
    rows = [f"{name} {' '.join(map(str, row.tolist()))}" for name in ragged for row in lists(batch[name])]
    return "\n".join([*rows, numbers(batch[last])])


def all_rows(batch: pa.RecordBatch) -> str:
    return "\n".join(f"{name} {value}" for row in rows_of(batch) for name, value in row.items())


def tokens_and_numbers(batch: pa.RecordBatch) -> str:
    rows = [" ".join(map(str, row.tolist())) for row in lists(batch["input_ids"])]
    return "\n".join([*rows, *(numbers(batch[name]) for name in ("length", "answer"))])


def people_and_spans(batch: pa.RecordBatch) -> str:
    ragged = ("input_ids", "value_starts", "value_ends", "char_starts", "char_ends")
    about = [batch[name].to_pylist() for name in ("person", "exposure", "population")]
    return repr([*about, *([row.tolist() for row in lists(batch[name])] for name in ragged)])


# What of a batch is digested: all of it. The forms are as old as the values.
AS_TEXT: dict[str, Callable[[pa.RecordBatch], str]] = {
    "depo": lambda batch: columns(
        batch, ("input_ids", "loss_mask", "query_hops", "answer_starts", "answer_ends"), "n"
    ),
    "brevo": all_rows,
    "mano": tokens_and_numbers,
    "lano": lambda batch: columns(batch, ("input_ids", "loss_mask"), "length"),
    "capo": people_and_spans,
}


@pytest.mark.parametrize("task", TASKS)
def test_these_values_are_of_this_version(task: str) -> None:
    facts, golden = FACTS[task], GOLDEN[task]
    assert facts.task.version == golden["version"], "VERSION rose: write down the new values in golden.json"
    assert set(facts.presets) <= set(golden["digests"])
    if facts.task.test_form:
        assert {f"{name} test" for name in facts.presets} <= set(golden["digests"])


@pytest.mark.parametrize(("task", "name"), CASES)
def test_examples_are_fixed(task: str, name: str) -> None:
    _, batch = FACTS[task].make(config_of(FACTS[task], name), 50 if task == "mano" else 20, seed=42)
    digest = hashlib.blake2b(AS_TEXT[task](batch).encode(), digest_size=12).hexdigest()
    assert digest == GOLDEN[task]["digests"][name], who_breaks(task)


@pytest.mark.parametrize("task", TASKS)
def test_a_short_example_is_fixed(task: str) -> None:
    """Spelled out: tokens (of Capo a text), mask, labels and metadata.

    Three nodes of Depo on a cycle and three questions; four nodes and six edges of Brevo2; Mano's
    (13 + 15) * 14 - 6 = 18 (mod 23); a sentence of Lano with <bos> and <eos>.
    """
    short = GOLDEN[task]["short"]
    made = FACTS[task].generate_example(short["config"], seed=0, index=short["index"])
    assert made == short["example"], who_breaks(task)


# Their order of up to 2^20 examples is a list, of which the oracle makes every place: seconds each.
LARGE_LISTS = ("capo-500k test", "capo-1m test")


@pytest.mark.parametrize("name", [name for name in GOLDEN["capo"]["digests"] if name not in LARGE_LISTS])
def test_the_fixed_tokens_of_capo_spell_what_the_oracle_writes(name: str) -> None:
    """Text, people and spans of the same examples, as `oracles.capo` has them."""
    config, batch = FACTS["capo"].make(config_of(FACTS["capo"], name), 20, seed=42)
    loaded = tokenizer_of(config)
    for row in rows_of(batch):
        expected = replay({**config, "bio": "text"}, 42, "train", row["index"])
        ids = row["input_ids"][:-1] if config["eos"] else row["input_ids"]
        assert config["eos"] == (row["input_ids"][-1] == loaded.end)
        assert loaded.backend.decode(ids, skip_special_tokens=False) == expected["text"]
        assert [row[key] for key in ("person", "exposure", "population")] == [
            expected[key] for key in ("person", "exposure", "population")
        ]
        assert (row["char_starts"], row["char_ends"]) == (expected["value_starts"], expected["value_ends"])
        assert np.all(np.diff(np.sort(row["value_starts"])) > 0)


def test_the_fixed_text_of_capo_is_the_oracles() -> None:
    short = GOLDEN["capo"]["short"]
    config = FACTS["capo"].complete(short["config"])
    assert short["example"] == replay(config, 0, "train", short["index"])
