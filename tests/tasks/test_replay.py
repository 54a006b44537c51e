"""Promise 1: anyone can replay an example with plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facts import FACTS, each
from oracles.lano import replay

from ostraca.tasks import TASKS
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.core.words import count_words


def assert_replayed(
    task: str, given: dict[str, Any], indices: list[int], seed: int = 0, split: str = "train"
) -> None:
    """Tokens and all metadata of the examples at these indices are those of the oracle."""
    facts = FACTS[task]
    given = {**given, **facts.replay_given}
    config, batch = facts.make(given, np.array(indices, np.int64), seed, split)
    assert rows_of(batch) == [facts.replay(config, seed, split, index) for index in indices]


@pytest.mark.parametrize(("task", "name"), each("varied"))
def test_generate_equals_the_replay(task: str, name: str) -> None:
    """60 or 100 examples, over two seeds, for configs that reach every branch."""
    # The seed of Capo's people stands in a column.
    for seed in (0, 2**70 if FACTS[task].task.seeded is None else 2**63 - 1):
        assert_replayed(task, FACTS[task].varied[name], list(range(FACTS[task].replay_rows[0])), seed)


@pytest.mark.parametrize(
    ("task", "name", "form"),
    [
        pytest.param(task, name, form, id="-".join(map(str, [name, *form.values()])))
        for task, facts in FACTS.items()
        for name in facts.presets
        for form in facts.replay_forms
    ],
)
def test_presets_equal_the_replay(task: str, name: str, form: dict[str, Any]) -> None:
    given = {**FACTS[task].presets[name], **form}
    assert_replayed(task, given, list(range(FACTS[task].replay_rows[1])), split="test")


@pytest.mark.parametrize("task", TASKS)
def test_far_indices_equal_the_replay(task: str) -> None:
    """Indices beyond 32 bits have streams of their own."""
    indices = [2**31 - 1, 2**31, 2**32 + 1, 2**53 + 1, 2**62 - 1]
    assert_replayed(task, FACTS[task].replay_far, indices)


@pytest.mark.parametrize("name", FACTS["capo"].varied)
def test_the_ends_of_a_corpus_equal_the_replay(name: str) -> None:
    """Of Capo, whose examples are so many: indices within the corpus, at its end, and far beyond it."""
    config = FACTS["capo"].complete(FACTS["capo"].varied[name], 5)
    most = config["num_people"] * config["exposures"]
    indices = [0, 1, 2, 7, most - 1, most, 3 * most + 1, 2**40, 2**62 - 1]
    assert_replayed("capo", config, indices, seed=5, split="test")


@pytest.mark.parametrize(
    ("task", "given", "rows"),
    [
        pytest.param(task, given, rows, id=f"{task}-{place}")
        for task, facts in FACTS.items()
        for place, (given, rows) in enumerate(facts.replay_large)
    ],
)
def test_large_examples_equal_the_replay(task: str, given: dict[str, Any], rows: int) -> None:
    assert_replayed(task, given, list(range(rows)))


@pytest.mark.parametrize("task", ["depo", "brevo"])
def test_both_forms_of_the_word_table_are_replayed(task: str) -> None:
    """The table of seen words is direct up to 2^14 words and hashed above: both among the configs."""
    configs = [FACTS[task].complete(given) for given in FACTS[task].varied.values()]
    sizes = [
        count_words(config["mini_vocab"], config["min_tlen"], config["max_tlen"])
        for config in configs
        if config.get("multi", True)
    ]
    assert min(sizes) <= 8
    assert max(sizes) > 2**14


def test_rows_longer_than_expected_get_the_room_they_need() -> None:
    """A batch of nothing but Lano's long half of the sentences outgrows its first room."""
    facts = FACTS["lano"]
    given = {"grammar": "7 -> 5 | " + "5 " * 1000 + "\n5 -> 1 | 2\n"}
    config, batch = facts.make(given, 60)
    long = np.flatnonzero(batch["length"].to_numpy() == 1000)
    assert 20 < len(long) < 40
    _, batch = facts.make(given, np.tile(long, 3).astype(np.int64))
    assert rows_of(batch) == [replay(config, facts.key_of(config), int(index)) for index in long] * 3
