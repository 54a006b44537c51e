"""The edge of the system for Mano: single examples as dictionaries, and Hugging Face datasets."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.mano import VARIED, make

from ostraca import tasks
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.mano import TASK, generate_mano_example, make_mano_hf_dataset, validate_mano_example

COLUMNS = ["input_ids", "loss_mask", "labels", "index", "length", "answer"]


@pytest.mark.parametrize("name", VARIED)
def test_an_example_is_whole(name: str) -> None:
    """Plain ints and lists; loss on all of 2 * length + 5 tokens; labels are the tokens."""
    for index in (0, 1, 2**40):
        example = generate_mano_example(VARIED[name], seed=1, index=index)
        assert list(example) == COLUMNS
        assert example["index"] == index
        assert type(example["length"]) is type(example["answer"]) is int
        assert all(type(token) is int for token in example["input_ids"])
        assert len(example["input_ids"]) == 2 * example["length"] + 5
        assert example["loss_mask"] == [1] * len(example["input_ids"])
        assert example["labels"] == example["input_ids"]
        assert example["input_ids"][-1] == 5000 + example["answer"]
        assert validate_mano_example(example, VARIED[name])


def test_every_part_of_the_address_changes_the_example() -> None:
    """Seed, split, index and config: addresses that differ, examples that do; the same address, the same."""
    config = {"L": 16, "qa": True}
    addresses: list[dict[str, Any]] = [
        {"config": config, "seed": 0},
        {"config": config, "seed": 1},
        {"config": config, "seed": 2**63 - 1},
        {"config": config, "seed": 0, "index": 1},
        {"config": config, "seed": 0, "split": "test"},
        {"config": {**config, "ttype": "asmd"}, "seed": 0},
        {"config": {**config, "bos_token_id": 9997}, "seed": 0},
    ]
    rows = [generate_mano_example(**address)["input_ids"][1:] for address in addresses]
    assert len(set(map(tuple, rows))) == len(addresses)
    assert rows == [generate_mano_example(**address)["input_ids"][1:] for address in addresses]


def test_defaults_and_spellings_written_out_change_nothing() -> None:
    """A config is completed before it is hashed: None, {}, all defaults, "mas" for "asm" are one address."""
    one = generate_mano_example(None, seed=0)
    assert one == generate_mano_example({}, seed=0) == generate_mano_example(TASK.check({}), seed=0)
    assert one == generate_mano_example({"L": np.int32(10), "ttype": "mas"}, seed=0)


def test_bad_arguments_are_refused_everywhere() -> None:
    for call in (
        lambda: generate_mano_example({"L": 0}, 0),
        lambda: make_mano_hf_dataset(3, {"L": 0}, 0),
        lambda: validate_mano_example({}, {"L": 0}),
    ):
        with pytest.raises(ConfigError, match="L=0"):
            call()
    with pytest.raises(ConfigError, match="seed=-1"):
        generate_mano_example({}, -1)
    with pytest.raises(ConfigError, match="index=-1"):
        generate_mano_example({}, 0, -1)


def test_the_dataset_holds_the_examples() -> None:
    """Columns, types and rows are those of the batches and of the one-example API."""
    datasets = pytest.importorskip("datasets")

    made = make_mano_hf_dataset(40, VARIED["all operators"], seed=3, split="test")
    assert isinstance(made, datasets.Dataset)
    assert made.column_names == COLUMNS
    types = {name: made.features.arrow_schema.field(name).type for name in COLUMNS}
    assert types["input_ids"].value_type == types["labels"].value_type == pa.int32()
    assert types["loss_mask"].value_type == pa.uint8()
    assert types["index"] == pa.int64()
    assert types["length"] == types["answer"] == pa.int32()
    _, batch = make(VARIED["all operators"], 40, seed=3, split="test")
    assert made.to_list() == rows_of(with_labels(batch))
    assert made[7] == generate_mano_example(VARIED["all operators"], 3, 7, "test")


def test_without_datasets_the_same_rows_come_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    made = make_mano_hf_dataset(12, {"L": 4}, seed=4)
    assert made == [generate_mano_example({"L": 4}, 4, index) for index in range(12)]
    assert make_mano_hf_dataset(0, {}, seed=0) == []


def test_the_batch_has_the_schema_of_the_task() -> None:
    """int32 tokens, uint8 mask, int64 index; nothing is nullable."""
    _, batch = make({}, 3)
    assert batch.schema.equals(TASK.schema({}))
    assert not any(field.nullable for field in batch.schema)
    batch.validate(full=True)


def test_the_task_is_found_by_name() -> None:
    assert tasks.get_task("mano") is TASK
    assert tasks.mano.__name__ == "ostraca.tasks.mano"
