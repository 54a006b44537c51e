"""The edge of the system: single examples as dictionaries, and Hugging Face datasets."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.depo import VARIED, make

from ostraca import tasks
from ostraca.tasks import examples
from ostraca.tasks.base import Task
from ostraca.tasks.core.batch import labels_of, ragged, rows_of, unragged, with_labels
from ostraca.tasks.depo import (
    TASK,
    generate_depo_example,
    make_depo_hf_dataset,
    validate_depo_example,
)
from ostraca.tasks.depo.generate import SCHEMA
from ostraca.tasks.errors import ConfigError

COLUMNS = ["input_ids", "loss_mask", "labels", "index", "n", "query_hops", "answer_starts", "answer_ends"]


@pytest.mark.parametrize("name", VARIED)
def test_an_example_is_whole(name: str) -> None:
    """Plain ints and lists; the mask covers `<ans>` and the answers; labels are tokens there, else -100."""
    for index in (0, 1, 2**40):
        example = generate_depo_example(VARIED[name], seed=1, index=index)
        assert list(example) == COLUMNS
        assert example["index"] == index
        assert type(example["n"]) is int
        assert all(type(token) is int for token in example["input_ids"])
        tokens, mask = example["input_ids"], example["loss_mask"]
        assert example["labels"] == [t if m else -100 for t, m in zip(tokens, mask, strict=True)]
        assert len(example["query_hops"]) == len(example["answer_starts"]) == len(example["answer_ends"])
        answer_id = TASK.check(VARIED[name])["answer_token_id"]
        covered = set()
        for begin, end in zip(example["answer_starts"], example["answer_ends"], strict=True):
            assert tokens[begin - 1] == answer_id
            assert answer_id not in tokens[begin:end]
            covered |= set(range(begin - 1, end))
        assert [place in covered for place in range(len(tokens))] == [bit == 1 for bit in mask]
        assert tokens.count(answer_id) == len(example["query_hops"])
        assert validate_depo_example(example, VARIED[name])


def test_every_part_of_the_address_changes_the_example() -> None:
    """Seed, split, index and config: eight addresses, eight examples; the same address, the same one."""
    config = {"N": 30}
    addresses: list[dict[str, Any]] = [
        {"config": config, "seed": 0},
        {"config": config, "seed": 1},
        {"config": config, "seed": 2**63 - 1},
        {"config": config, "seed": 0, "index": 1},
        {"config": config, "seed": 0, "split": "test"},
        {"config": config, "seed": 0, "split": "validation"},
        {"config": {**config, "M": 11}, "seed": 0},
        {"config": {**config, "bos_token_id": 9999}, "seed": 0},
    ]
    rows = [generate_depo_example(**address)["input_ids"][1:] for address in addresses]
    assert len(set(map(tuple, rows))) == len(addresses)
    assert rows == [generate_depo_example(**address)["input_ids"][1:] for address in addresses]


def test_defaults_written_out_change_nothing() -> None:
    """A config is completed before it is hashed: None, {} and all defaults are one address."""
    one = generate_depo_example(None, seed=0)
    assert one == generate_depo_example({}, seed=0) == generate_depo_example(TASK.check({}), seed=0)
    assert one == generate_depo_example({"N": np.int32(225)}, seed=np.int64(0), index=np.uint8(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**63, pytest.param(10**5000, id="huge"), 1.0, "0", None, True, [0]])
def test_bad_seeds_are_refused_in_one_line(seed: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^seed=.* must be an integer(, 0 or more| from 0 to 9223372036854775807)$"
    ):
        generate_depo_example({}, seed)
    with pytest.raises(
        ConfigError, match=r"^seed=.* must be an integer(, 0 or more| from 0 to 9223372036854775807)$"
    ):
        make_depo_hf_dataset(1, {}, seed)


@pytest.mark.parametrize("index", [-1, 2**62, 1.0, "0", None, True])
def test_bad_indices_are_refused_in_one_line(index: Any) -> None:
    with pytest.raises(ConfigError, match=r"^index=.* must be an integer from 0 to 4611686018427387903$"):
        generate_depo_example({}, 0, index)


@pytest.mark.parametrize("count", [-1, 1.0, "3", None, True])
def test_bad_numbers_of_examples_are_refused_in_one_line(count: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^num_examples=.* must be an integer(, 0 or more| from 0 to 9223372036854775807)$"
    ):
        make_depo_hf_dataset(count, {}, 0)


def test_bad_configs_are_refused_everywhere() -> None:
    for call in (
        lambda: generate_depo_example({"N": 2}, 0),
        lambda: make_depo_hf_dataset(3, {"N": 2}, 0),
        lambda: validate_depo_example({}, {"N": 2}),
    ):
        with pytest.raises(ConfigError, match="N=2"):
            call()


# ---- datasets


@pytest.fixture
def without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import datasets` fails as where it is not installed."""
    monkeypatch.setitem(sys.modules, "datasets", None)


def test_the_dataset_holds_the_examples() -> None:
    """Columns, types and rows are those of the batches and of the one-example API."""
    datasets = pytest.importorskip("datasets")

    made = make_depo_hf_dataset(40, VARIED["separator"], seed=3, split="test")
    assert isinstance(made, datasets.Dataset)
    assert made.column_names == COLUMNS
    types = {name: made.features.arrow_schema.field(name).type for name in COLUMNS}
    for name in ("input_ids", "labels", "query_hops", "answer_starts", "answer_ends"):
        assert types[name].value_type == pa.int32()
    assert types["loss_mask"].value_type == pa.uint8()
    assert types["index"] == pa.int64()
    assert types["n"] == pa.int32()
    _, batch = make(VARIED["separator"], 40, seed=3, split="test")
    assert made.to_list() == rows_of(with_labels(batch))
    assert made[7] == generate_depo_example(VARIED["separator"], 3, 7, "test")


def test_without_datasets_the_same_rows_come_as_a_list(without_datasets: None) -> None:
    made = make_depo_hf_dataset(12, {"N": 9}, seed=4)
    assert made == [generate_depo_example({"N": 9}, 4, index) for index in range(12)]


def test_no_examples_are_an_empty_dataset() -> None:
    pytest.importorskip("datasets")
    made = make_depo_hf_dataset(0, {}, seed=0)
    assert len(made) == 0
    assert made.column_names == COLUMNS  # type: ignore[union-attr]


def test_no_examples_are_an_empty_list(without_datasets: None) -> None:
    assert make_depo_hf_dataset(0, {}, seed=0) == []


def test_the_dataset_is_the_batches_without_a_copy_or_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 examples: a few calls of the kernel, and their very buffers as the dataset's chunks."""
    pytest.importorskip("datasets")
    batches: list[pa.RecordBatch] = []

    def recording(*arguments: Any) -> pa.RecordBatch:
        batches.append(TASK.generate(*arguments))
        return batches[-1]

    def no_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
        raise AssertionError("rows became dictionaries")

    monkeypatch.setattr(examples, "rows_of", no_rows)
    made = examples.make_hf_dataset(replace(TASK, generate=recording), 50_000, {"N": 20}, 0, "train")
    assert len(made) == 50_000
    assert len(batches) <= 50_000 * TASK.mean_tokens(TASK.check({"N": 20})) / examples.BATCH_TOKENS + 1
    table = made.data.table  # type: ignore[union-attr]
    assert table.column("input_ids").num_chunks == len(batches)
    for name in SCHEMA.names:
        for chunk, batch in zip(table.column(name).chunks, batches, strict=True):
            mine, theirs = chunk.buffers(), batch.column(name).buffers()
            assert [b and b.address for b in mine] == [b and b.address for b in theirs], name


# ---- ragged columns


def test_ragged_arrays_wrap_without_a_copy() -> None:
    values, offsets = np.arange(10, dtype=np.int32), np.array([0, 3, 3, 10], np.int32)
    array = ragged(values, offsets)
    assert array.to_pylist() == [[0, 1, 2], [], [3, 4, 5, 6, 7, 8, 9]]
    back, back_offsets = unragged(array)
    assert back.ctypes.data == values.ctypes.data
    assert back_offsets.ctypes.data == offsets.ctypes.data


def test_slices_of_ragged_arrays_keep_their_place() -> None:
    values, offsets = np.arange(10, dtype=np.int32), np.array([0, 3, 3, 7, 10], np.int32)
    for begin in range(5):
        for end in range(begin, 5):
            part = ragged(values, offsets).slice(begin, end - begin)
            given, first = unragged(part)
            assert first.tolist() == offsets[begin : end + 1].tolist()
            rows = [given[a:b].tolist() for a, b in itertools.pairwise(first)]
            assert rows == part.to_pylist()


def test_labels_of_slices_and_of_nothing() -> None:
    """Tokens and mask of a slice start at their own offsets."""
    _, batch = make({"N": 9}, 9)
    expected = [row["labels"] for row in rows_of(with_labels(batch))]
    for begin in range(10):
        assert labels_of(batch.slice(begin, 3)).to_pylist() == expected[begin : begin + 3]
    assert with_labels(batch).schema.names == COLUMNS


def test_the_batch_has_the_schema_of_the_task() -> None:
    """int32 tokens, uint8 mask, int64 index; nothing is nullable."""
    _, batch = make({}, 3)
    assert batch.schema.equals(TASK.schema({}))
    assert not any(field.nullable for field in batch.schema)
    batch.validate(full=True)


def test_the_tasks_are_found_by_name_and_as_modules() -> None:
    for name, module in tasks.TASKS.items():
        record = tasks.get_task(name)
        assert isinstance(record, Task)
        assert record.name == name
        assert getattr(tasks, name).__name__ == module
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tasks.nothing
