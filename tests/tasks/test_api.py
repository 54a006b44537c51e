"""The edge of the system: single examples as dictionaries, and Hugging Face datasets."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import FACTS, each

from ostraca import tasks
from ostraca.tasks import TASKS, examples
from ostraca.tasks.base import Task
from ostraca.tasks.core.batch import rows_of, with_labels
from ostraca.tasks.errors import ConfigError, OstracaError

SEED = r"^seed=.* must be an integer(, 0 or more| from 0 to 9223372036854775807)$"
COUNT = SEED.replace("seed", "num_examples")
INDEX = r"^index=.* must be an integer from 0 to 4611686018427387903$"


@pytest.mark.parametrize(("task", "name"), each("varied"))
def test_an_example_is_whole(task: str, name: str) -> None:
    """Plain ints and lists in the columns of the task; labels are tokens under the mask, else -100."""
    facts = FACTS[task]
    config = facts.complete(facts.varied[name], 1)
    for index in (0, 1, 2**40):
        example = facts.generate_example(facts.varied[name], seed=1, index=index)
        assert list(example) == list(facts.columns)
        assert example["index"] == index
        for column, kind in facts.columns.items():
            values = example[column] if kind.endswith("s") else [example[column]]
            assert type(values) is list
            assert all(type(value) is int for value in values)
        pairs = zip(example["input_ids"], example["loss_mask"], strict=True)
        assert example["labels"] == [token if bit else -100 for token, bit in pairs]
        facts.whole(config, example)
        assert facts.validate_example(example, facts.varied[name])


@pytest.mark.parametrize("task", TASKS)
def test_every_part_of_the_address_changes_the_example(task: str) -> None:
    """Seed, split, index and config: eight addresses, eight examples; the same address, the same one."""
    config, *others = FACTS[task].address
    addresses: list[dict[str, Any]] = [
        {"config": config, "seed": 0},
        {"config": config, "seed": 1},
        {"config": config, "seed": 2**63 - 1},
        {"config": config, "seed": 0, "index": 1},
        {"config": config, "seed": 0, "split": "test"},
        {"config": config, "seed": 0, "split": "validation"},
        *({"config": {**config, **other}, "seed": 0} for other in others),
    ]
    rows, again = (
        [FACTS[task].generate_example(**address)["input_ids"][1:] for address in addresses] for _ in "12"
    )
    assert len(set(map(tuple, rows))) == len(addresses)
    assert rows == again


@pytest.mark.parametrize("task", TASKS)
def test_defaults_written_out_change_nothing(task: str) -> None:
    """A config is completed before it is hashed: None, {}, all defaults, NumPy's integers: one address."""
    made, check = FACTS[task].generate_example, FACTS[task].task.check
    one = made(None, seed=0)
    assert one == made({}, seed=0) == made(check({}), seed=0)
    assert one == made(FACTS[task].as_default, seed=np.int64(0), index=np.uint8(0))


@pytest.mark.parametrize("seed", [-1, 2**63, pytest.param(10**5000, id="huge"), 1.0, "0", None, True, [0]])
@pytest.mark.parametrize("task", TASKS)
def test_bad_seeds_are_refused_in_one_line(task: str, seed: Any) -> None:
    with pytest.raises(ConfigError, match=SEED):
        FACTS[task].generate_example({}, seed)
    with pytest.raises(ConfigError, match=SEED):
        FACTS[task].make_hf_dataset(1, {}, seed)


@pytest.mark.parametrize("index", [-1, 2**62, 1.0, "0", None, True])
@pytest.mark.parametrize("task", TASKS)
def test_bad_indices_are_refused_in_one_line(task: str, index: Any) -> None:
    with pytest.raises(ConfigError, match=INDEX):
        FACTS[task].generate_example({}, 0, index)


@pytest.mark.parametrize("count", [-1, 1.0, "3", None, True])
@pytest.mark.parametrize("task", TASKS)
def test_bad_numbers_of_examples_are_refused_in_one_line(task: str, count: Any) -> None:
    with pytest.raises(ConfigError, match=COUNT):
        FACTS[task].make_hf_dataset(count, {}, 0)


@pytest.mark.parametrize("task", TASKS)
def test_bad_configs_are_refused_everywhere(task: str) -> None:
    facts = FACTS[task]
    config, says = facts.bad
    for call in (
        lambda: facts.generate_example(config, 0),
        lambda: facts.make_hf_dataset(3, config, 0),
        lambda: facts.validate_example({}, config),
    ):
        with pytest.raises(ConfigError, match=says):
            call()


# ---- datasets


@pytest.fixture
def without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import datasets` fails as where it is not installed."""
    monkeypatch.setitem(sys.modules, "datasets", None)


@pytest.mark.parametrize("task", TASKS)
def test_the_dataset_holds_the_examples(task: str) -> None:
    """Columns, types and rows are those of the batches and of the one-example API."""
    datasets = pytest.importorskip("datasets")

    facts = FACTS[task]
    given = facts.varied[facts.rich]
    made = facts.make_hf_dataset(40, given, seed=3, split="test")
    assert isinstance(made, datasets.Dataset)
    assert made.column_names == list(facts.columns)
    types = {field.name: field.type for field in made.features.arrow_schema}
    names = {
        name: f"{it.value_type}s" if hasattr(it, "value_type") else str(it) for name, it in types.items()
    }
    assert names == facts.columns
    _, batch = facts.make(given, 40, seed=3, split="test")
    assert made.to_list() == rows_of(with_labels(batch))
    assert made[7] == facts.generate_example(given, 3, 7, "test")


@pytest.mark.parametrize("task", TASKS)
def test_without_datasets_the_same_rows_come_as_a_list(task: str, without_datasets: None) -> None:
    facts = FACTS[task]
    given = facts.varied[facts.plain]
    made = facts.make_hf_dataset(12, given, seed=4)
    assert made == [facts.generate_example(given, 4, index) for index in range(12)]


@pytest.mark.parametrize("task", TASKS)
def test_no_examples_are_an_empty_dataset(task: str) -> None:
    pytest.importorskip("datasets")
    made = FACTS[task].make_hf_dataset(0, {}, seed=0)
    assert len(made) == 0
    assert made.column_names == list(FACTS[task].columns)


@pytest.mark.parametrize("task", TASKS)
def test_no_examples_are_an_empty_list(task: str, without_datasets: None) -> None:
    assert FACTS[task].make_hf_dataset(0, {}, seed=0) == []


@pytest.mark.parametrize("task", TASKS)
def test_the_dataset_is_the_batches_without_a_copy_or_a_loop(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Depo 50,000 examples: a few calls of the kernel, and their very buffers as the dataset's chunks."""
    pytest.importorskip("datasets")
    facts = FACTS[task]
    given, rows = ({"N": 20}, 50_000) if task == "depo" else (facts.varied[facts.plain], 2000)
    if task != "depo":
        monkeypatch.setattr(examples, "BATCH_TOKENS", 1 << 12)
    batches: list[pa.RecordBatch] = []

    def recording(*arguments: Any) -> pa.RecordBatch:
        batches.append(facts.task.generate(*arguments))
        return batches[-1]

    def no_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
        raise AssertionError("rows became dictionaries")

    monkeypatch.setattr(examples, "rows_of", no_rows)
    made = examples.make_hf_dataset(replace(facts.task, generate=recording), rows, given, 0, "train")
    config = facts.complete(given)
    assert len(made) == rows
    assert 1 < len(batches) <= 1.1 * rows * facts.task.mean_tokens(config) / examples.BATCH_TOKENS + 1
    table = made.data.table  # type: ignore[union-attr]
    assert table.column("input_ids").num_chunks == len(batches)
    for name in facts.task.schema(config).names:
        for chunk, batch in zip(table.column(name).chunks, batches, strict=True):
            mine, theirs = chunk.buffers(), batch.column(name).buffers()
            assert [b and b.address for b in mine] == [b and b.address for b in theirs], name


# ---- the record of a task


@pytest.mark.parametrize("task", TASKS)
def test_the_batch_has_the_schema_of_the_task(task: str) -> None:
    """int32 tokens, uint8 mask, int64 index; nothing is nullable."""
    config, batch = FACTS[task].make({}, 3)
    assert batch.schema.equals(FACTS[task].task.schema(config))
    assert not any(field.nullable for field in batch.schema)
    batch.validate(full=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_tasks_are_found_by_name_and_as_modules(task: str) -> None:
    record = tasks.get_task(task)
    assert isinstance(record, Task)
    assert record is getattr(tasks, task).TASK is FACTS[task].task
    assert record.name == task
    assert getattr(tasks, task).__name__ == TASKS[task]


def test_what_is_no_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(OstracaError, match=r"unknown task 'deppo' \(did you mean 'depo'\?\); known: depo"):
        tasks.get_task("deppo")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tasks.nothing
