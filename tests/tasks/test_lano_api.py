"""The edge of the system: single examples as dictionaries, Hugging Face datasets, what inspect shows."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.lano import VARIED, make

from ostraca.tasks import get_task
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.lano import TASK, generate_lano_example, look, make_lano_hf_dataset, validate_lano_example
from ostraca.tasks.lano.config import check
from ostraca.tasks.lano.grammar import grammar_of

COLUMNS = ["input_ids", "loss_mask", "labels", "index", "length"]


@pytest.mark.parametrize("name", VARIED)
def test_an_example_is_whole(name: str) -> None:
    """Plain ints and lists; loss on all tokens; the sentence between <bos> and <eos>."""
    config = check(VARIED[name])
    for index in (0, 1, 2**40):
        example = generate_lano_example(VARIED[name], seed=1, index=index)
        assert list(example) == COLUMNS
        assert example["index"] == index
        ids = example["input_ids"]
        assert all(type(token) is int for token in ids)
        assert example["labels"] == ids
        assert example["loss_mask"] == [1] * len(ids)
        assert example["length"] == len(ids) - config["bos"] - config["eos"]
        assert (ids[0] == config["bos_token_id"]) or not config["bos"]
        assert (ids[-1] == config["eos_token_id"]) or not config["eos"]
        assert validate_lano_example(example, VARIED[name])


def test_every_part_of_the_address_changes_the_example() -> None:
    addresses: list[dict[str, Any]] = [
        {"config": {}, "seed": 0},
        {"config": {}, "seed": 1},
        {"config": {}, "seed": 2**63 - 1},
        {"config": {}, "seed": 0, "index": 1},
        {"config": {}, "seed": 0, "split": "test"},
        {"config": {"config_name": "cfg3g"}, "seed": 0},
        {"config": {"bos_token_id": 9}, "seed": 0},
    ]
    rows = [generate_lano_example(**address)["input_ids"][1:] for address in addresses]
    assert len(set(map(tuple, rows))) == len(addresses)
    assert rows == [generate_lano_example(**address)["input_ids"][1:] for address in addresses]


def test_defaults_written_out_change_nothing() -> None:
    one = generate_lano_example(None, seed=0)
    assert one == generate_lano_example({}, seed=0) == generate_lano_example(check({}), seed=0)
    assert one == generate_lano_example({"bos_token_id": np.int32(0)}, seed=np.int64(0))  # type: ignore[arg-type]


def test_bad_configs_are_refused_everywhere() -> None:
    for call in (
        lambda: generate_lano_example({"config_name": "x"}, 0),
        lambda: make_lano_hf_dataset(3, {"config_name": "x"}, 0),
        lambda: validate_lano_example({}, {"config_name": "x"}),
    ):
        with pytest.raises(ConfigError, match="config_name='x'"):
            call()


def test_the_task_is_found_by_name() -> None:
    assert get_task("lano") is TASK


def test_the_dataset_holds_the_examples() -> None:
    datasets = pytest.importorskip("datasets")

    made = make_lano_hf_dataset(40, VARIED["eos"], seed=3, split="test")
    assert isinstance(made, datasets.Dataset)
    assert made.column_names == COLUMNS
    types = {name: made.features.arrow_schema.field(name).type for name in COLUMNS}
    assert types["input_ids"].value_type == types["labels"].value_type == pa.int32()
    assert types["loss_mask"].value_type == pa.uint8()
    assert (types["index"], types["length"]) == (pa.int64(), pa.int32())
    _, batch = make(VARIED["eos"], 40, seed=3, split="test")
    assert made.to_list() == rows_of(with_labels(batch))
    assert made[7] == generate_lano_example(VARIED["eos"], 3, 7, "test")
    assert make_lano_hf_dataset(0, {}, seed=0).column_names == COLUMNS  # type: ignore[union-attr]


def test_without_datasets_the_same_rows_come_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    made = make_lano_hf_dataset(5, VARIED["bare"], seed=4)
    assert made == [generate_lano_example(VARIED["bare"], 4, index) for index in range(5)]
    assert make_lano_hf_dataset(0, {}, seed=0) == []


def test_the_batch_has_the_schema_of_the_task() -> None:
    _, batch = make({}, 3)
    assert batch.schema.equals(TASK.schema({}))
    assert not any(field.nullable for field in batch.schema)
    batch.validate(full=True)


# ---- what inspect shows


@pytest.mark.parametrize("name", ["ambiguous", "eos", "bare", "no bos but eos"])
def test_a_look_tells_the_length_and_shows_the_tree(name: str) -> None:
    config, batch = make(VARIED[name], 10, seed=6)
    for example in rows_of(batch):
        shown = look(example, config, tree=False)
        assert shown.facts == f"length {example['length']}"
        assert not shown.below
        below = look(example, config, tree=True).below
        ids = example["input_ids"]
        sentence = ids[config["bos"] : len(ids) - config["eos"]]
        assert [int(token) for token in below[-1].split()] == sentence
        assert len(below) == len(grammar_of(config).levels)


def test_a_tree_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    config, batch = make({"config_name": "cfg3b"}, 1)
    (example,) = rows_of(batch)
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert columns - 2 <= max(map(len, look(example, config, tree=True).below)) <= columns


def test_a_look_at_what_is_no_sentence_says_so() -> None:
    config = check(VARIED["ambiguous"])
    example = {"input_ids": [0, 9], "loss_mask": [1, 1], "index": 0, "length": 1}
    assert look(example, config, tree=True).below == ["no parse"]
