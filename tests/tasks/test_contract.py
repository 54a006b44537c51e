"""What every task promises: the pipeline, the loaders and the front door rely on nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tasks_of_tests import CONFIGS, STREAMED

from ostraca import tasks
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.base import Task, vocab_size
from ostraca.tasks.core.batch import rows_of, unragged
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import (
    complete_config,
    generate_batches,
    generate_example,
    make_hf_dataset,
    stream_of,
    validate_example,
)


@pytest.fixture(params=CONFIGS)
def made(request: pytest.FixtureRequest) -> tuple[Task, dict[str, Any], pa.RecordBatch]:
    """A task, a complete config of it, and 300 examples."""
    name, config = CONFIGS[request.param]
    task = get_task(name)
    full = complete_config(task, config, 3)
    (batch,) = generate_batches(task, full, 3, "train", 0, 300)
    return task, full, batch


def test_the_configs_cover_all_tasks() -> None:
    assert {name for name, _ in CONFIGS.values()} == set(TASKS)


def test_a_complete_config_is_plain_and_checks_to_itself(made: Any) -> None:
    task, config, _ = made
    assert json.loads(json.dumps(config)) == config
    assert task.check(config) == config
    assert complete_config(task, config, 99) == config  # what the seed filled in stays
    assert list(config) == [name for name in task.keys if name in config]
    assert set(task.keys) - set(config) <= {"attributes"}  # columns that nobody asked for
    assert all(key.help for key in task.keys.values())


def test_the_batch_has_the_schema_and_the_indices(made: Any) -> None:
    task, config, batch = made
    assert batch.schema.equals(task.schema(config))
    assert not any(field.nullable for field in batch.schema)
    assert batch["index"].to_pylist() == list(range(300))


def test_all_examples_are_valid_and_a_slice_too(made: Any) -> None:
    task, config, batch = made
    assert task.validate(batch, config).all_valid
    assert task.validate(batch.slice(7, 20), config).all_valid
    assert task.validate(batch.slice(7, 0), config).all_valid


def test_any_order_of_indices_gives_the_same_examples(made: Any) -> None:
    task, config, batch = made
    indices = np.array([250, 3, 3, 0, 299], dtype=np.int64)
    again = task.generate(config, stream_of(task, config, 3, "train"), indices)
    assert again.equals(batch.take(pa.array(indices)))


def test_large_indices_work(made: Any) -> None:
    task, config, _ = made
    for index in (2**31, 2**53 + 1, 2**62 - 1):
        example = generate_example(task, config, 3, index, "train")
        assert example["index"] == index
        assert validate_example(task, example, config)


def test_other_seeds_and_splits_are_other_examples(made: Any) -> None:
    task, config, batch = made
    column = batch.schema.names[0]
    here = {json.dumps(row) for row in batch[column].to_pylist()}
    for seed, split in ((4, "train"), (3, "test")):
        (other,) = generate_batches(task, config, seed, split, 0, 300)
        there = {json.dumps(row) for row in other[column].to_pylist()}
        assert len(here & there) < len(here) / 2
        if task.name in ("lano", "capo", "depo"):  # spaces so large that no two examples ever meet
            assert not here & there


def test_every_id_has_a_name_of_its_own(made: Any) -> None:
    task, config, batch = made
    names = task.tokens(config)
    if "input_ids" not in batch.schema.names:
        assert names == {}
        return
    used = set(unragged(batch["input_ids"])[0].tolist())
    assert used <= set(names)
    assert len(set(names.values())) == len(names)
    assert not any(re.search(r"\s", name) for name in names.values()) or task.tokenizer is not None
    assert vocab_size(task, config) == max(names) + 1
    assert min(names) >= 0


def test_lengths_are_as_announced(made: Any) -> None:
    task, config, _ = made
    batches = list(generate_batches(task, config, 1, "train", 0, 4000))
    lengths = np.concatenate([np.diff(unragged(batch.column(0))[1]) for batch in batches])
    assert lengths.max() <= task.max_tokens(config)
    error = lengths.std() / np.sqrt(len(lengths))
    assert abs(lengths.mean() - task.mean_tokens(config)) < 0.05 * lengths.mean() + 5 * error


def test_metadata_that_lies_is_noticed(made: Any) -> None:
    """Every column but the address: one value of it changed makes its row invalid."""
    task, config, batch = made
    rows = rows_of(batch.slice(0, 3))
    for name in batch.schema.names:
        # The address, and what the tokens cannot tell: which exposure it is, how many nodes have no edge.
        if name in ("index", "exposure") or (task.name, name) == ("brevo", "n"):
            continue
        changed = [dict(row) for row in rows]
        value = changed[1][name]
        if isinstance(value, list):
            changed[1][name] = [*value[:-1], 1 - value[-1] if name == "loss_mask" else value[-1] + 1]
        else:
            changed[1][name] = value[:-1] if isinstance(value, str) else value + 1
        verdicts = task.validate(pa.RecordBatch.from_pylist(changed, schema=batch.schema), config)
        assert verdicts.codes.astype(bool).tolist() == [False, True, False], name
        assert verdicts[1].reason


def test_garbage_is_invalid_and_never_an_error(made: Any) -> None:
    task, config, batch = made
    if "input_ids" not in batch.schema.names:
        for text in ("", " ", "He", "\x00\U0010ffff", "x" * 10_000):
            assert not validate_example(task, {"text": text}, config)
        return
    random = np.random.default_rng(5)
    names = np.array(list(task.tokens(config)), dtype=np.int32)
    rows = [[], [0], [-1], [-(2**31)], [2**31 - 1], [2**31 - 1] * 50]
    rows += [random.choice(names, size).tolist() for size in random.integers(1, 80, 200)]
    rows += [random.integers(-(2**31), 2**31, size).tolist() for size in random.integers(1, 80, 50)]
    for row in rows:
        verdict = validate_example(task, {"input_ids": row}, config)
        if len(row) > 30:
            assert not verdict


def test_every_prefix_of_an_example_is_handled(made: Any) -> None:
    task, config, batch = made
    column = batch.schema.names[0]
    whole = batch[column][0].as_py()
    for end in range(len(whole)):
        assert not validate_example(task, {column: whole[:end]}, config)


def test_look_speaks_of_the_example(made: Any) -> None:
    task, config, batch = made
    for example in rows_of(batch.slice(0, 20)):
        content = example[batch.schema.names[0]]
        for tree in (False, True):
            look = task.look(example, config, tree)
            assert all(0 <= at < len(content) for at in look.breaks)
            assert all(0 <= start <= end <= len(content) for start, end in look.underlined)
            assert all(isinstance(line, str) for line in look.below)
            assert all(0 <= start <= end <= len(look.text) for start, end in look.text_underlined)


@pytest.mark.parametrize("name", TASKS)
def test_unknown_keys_and_wrong_kinds_get_one_line(name: str) -> None:
    task = get_task(name)
    with pytest.raises(ConfigError, match=rf"{name}: unknown key 'Q_'"):
        task.check({"Q_": 1})
    with pytest.raises(ConfigError, match=f"{name}: must be a mapping"):
        task.check([1])  # type: ignore[arg-type]
    for key, entry in task.keys.items():
        if entry.kind is object:
            continue
        for wrong in ({}, [1], 1.5, b"x"):
            with pytest.raises(ConfigError, match=f"{name}: {key}") as caught:
                task.check({key: wrong})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
def test_the_public_functions_are_there(name: str) -> None:
    """generate_X_example, validate_X_example, make_X_hf_dataset, with defaults for every key."""
    module = getattr(tasks, name)
    config = next(config for task, config in CONFIGS.values() if task == name)
    example = getattr(module, f"generate_{name}_example")(config, seed=5, index=7)
    assert getattr(module, f"validate_{name}_example")(example, config)
    labels = [t if m else -100 for t, m in zip(example["input_ids"], example["loss_mask"], strict=True)]
    assert example["labels"] == labels
    dataset = getattr(module, f"make_{name}_hf_dataset")(10, config, seed=5)
    assert dataset[7] == example
    assert get_task(name).test_form is not None


@pytest.mark.parametrize("preset", STREAMED)
def test_hf_datasets_are_the_same_examples(preset: str) -> None:
    name, config = CONFIGS[preset]
    task = get_task(name)
    dataset = make_hf_dataset(task, 5, config, 2, "test")
    assert list(dataset) == [generate_example(task, config, 2, i, "test") for i in range(5)]
    assert len(make_hf_dataset(task, 0, config, 2, "test")) == 0
