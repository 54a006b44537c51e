"""The edge of the system: single examples as dictionaries, and Hugging Face datasets."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .base import INT32_MAX, Task, ValidationResult
from .core.batch import LABEL_IGNORED, column, dtype_of, list_type, ragged, rows_of, unragged, with_labels
from .core.rng import stream_key
from .errors import ConfigError, check_integer, shown

if TYPE_CHECKING:
    import datasets

_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,31}")
MAX_INDEX = 2**62 - 1
BATCH_TOKENS = 1 << 20  # aimed at in one batch: what stays in the processor's cache


def check_seed(seed: Any) -> int:
    """The seed; ConfigError where it is not an integer from 0 to 2^63 - 1."""
    return check_integer("seed", seed, 0)


def check_split(split: Any) -> str:
    """The split's name; ConfigError where it is not one."""
    if not isinstance(split, str) or not _SPLIT.fullmatch(split):
        raise ConfigError(f"split={shown(split)} must be lowercase letters, digits and '_', e.g. 'train'")
    return split


def complete_config(task: Task, config: Mapping[str, Any] | None, seed: int) -> dict[str, Any]:
    """The complete config, with what a null in it takes from the seed; ConfigError as `task.check`."""
    full = task.check(config)
    return full if task.seeded is None else task.seeded(full, seed)


def stream_of(
    task: Task,
    config: Mapping[str, Any],
    seed: int,
    split: str,
    version: int | None = None,
    attempt: int = 0,
) -> NDArray[np.uint64]:
    """The key of the stream that a split's examples come from: uint64 [2]. `config` is complete.

    version: of the task that made them (None: the installed one). attempt: see `tasks.core.rng.stream_key`.
    """
    address = config if task.address is None else task.address(config)
    version = task.version if version is None else version
    return stream_key(task.name, version, address, seed, check_split(split), attempt)


def batch_rows(task: Task, config: Mapping[str, Any]) -> int:
    """How many examples make about BATCH_TOKENS tokens; no output depends on it."""
    return max(1, min(1 << 16, int(BATCH_TOKENS / task.mean_tokens(config))))


def generate_batches(
    task: Task, config: Mapping[str, Any], seed: int, split: str, first: int, count: int
) -> Iterator[pa.RecordBatch]:
    """Examples first..first+count-1 of the split, in batches. `config` is complete."""
    key = stream_of(task, config, seed, split)
    step = batch_rows(task, config)
    for start in range(first, first + count, step):
        stop = min(start + step, first + count)
        yield task.generate(config, key, np.arange(start, stop, dtype=np.int64))


def generate_example(
    task: Task, config: Mapping[str, Any] | None, seed: int, index: int, split: str
) -> dict[str, Any]:
    """The example at one address, as a plain dictionary of ints and lists."""
    index = check_integer("index", index, 0, MAX_INDEX)
    seed = check_seed(seed)
    complete = complete_config(task, config, seed)
    (batch,) = generate_batches(task, complete, seed, split, index, 1)
    return rows_of(with_labels(batch))[0]


def validate_example(
    task: Task, example: Mapping[str, Any] | Any, config: Mapping[str, Any] | None
) -> ValidationResult:
    """Check one example: its tokens, and whatever else of an example's columns it has.

    What is not a mapping is taken for the tokens alone (or the text): a list or an array of ids.
    """
    complete = task.check(config)
    schema = task.schema(complete)
    content = schema.names[0]  # input_ids, or a text
    if not isinstance(example, Mapping):
        example = {content: example}
    if content not in example:
        return ValidationResult(valid=False, reason=f"it has no {content}")
    arrays: dict[str, pa.Array] = {}
    fields = []
    for field in schema:
        if field.name not in example:
            continue
        try:
            arrays[field.name] = _one_row(example[field.name], field.type)
        except (TypeError, ValueError, OverflowError):
            return ValidationResult(valid=False, reason=f"{field.name} is not {_wanted(field.type)}")
        fields.append(field)
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields))
    result = task.validate(batch, complete)[0]
    if result and "labels" in example and "input_ids" in example:
        return _check_labels(task, example, complete)
    return result


def _wanted(data_type: pa.DataType) -> str:
    if pa.types.is_list(data_type):
        return "made of integers"
    return "a string" if pa.types.is_string(data_type) else "an integer"


def _one_row(value: Any, data_type: pa.DataType) -> pa.Array:
    if pa.types.is_string(data_type):
        if not isinstance(value, str):
            raise TypeError("not a string")
        return pa.array([value], data_type)
    if not pa.types.is_list(data_type):
        return pa.array([_whole(value)], data_type)
    numbers = np.asarray(value)
    if numbers.ndim != 1 or not (numbers.size == 0 or np.issubdtype(numbers.dtype, np.integer)):
        raise TypeError("not a list of integers")
    dtype = dtype_of(data_type.value_type)
    if numbers.size and not np.iinfo(dtype).min <= numbers.min() <= numbers.max() <= np.iinfo(dtype).max:
        raise OverflowError("out of range")
    if len(numbers) > INT32_MAX:
        raise OverflowError("too long")
    return ragged(numbers.astype(dtype), np.array([0, len(numbers)], np.int32))


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("not an integer")
    return operator.index(value)  # also 0-d arrays and tensors of integers


def _check_labels(task: Task, example: Mapping[str, Any], config: Mapping[str, Any]) -> ValidationResult:
    tokens = np.asarray(example["input_ids"]).astype(np.int64)
    try:
        labels, _ = unragged(_one_row(example["labels"], list_type(pa.int32())))
    except (TypeError, ValueError, OverflowError):
        return ValidationResult(valid=False, reason="labels is not made of integers")
    if labels.shape != tokens.shape:
        return ValidationResult(valid=False, reason="labels and input_ids differ in length")
    if "loss_mask" not in example:  # then the labels say what it is
        implied = (labels != LABEL_IGNORED).astype(np.uint8)
        example = {"input_ids": tokens, "loss_mask": implied, "labels": labels}
        return validate_example(task, example, config)
    wrong = np.flatnonzero(labels != np.where(np.asarray(example["loss_mask"]) != 0, tokens, LABEL_IGNORED))
    if len(wrong):
        reason = f"labels differ from input_ids under the mask (at token {wrong[0]})"
        return ValidationResult(valid=False, reason=reason)
    return ValidationResult(valid=True)


def make_hf_dataset(
    task: Task, num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 with labels as a `datasets.Dataset`, built from Arrow.

    Where `datasets` is not installed: a list of dictionaries.
    """
    num_examples = check_integer("num_examples", num_examples, 0)
    seed = check_seed(seed)
    complete = complete_config(task, config, seed)
    generated = generate_batches(task, complete, seed, split, 0, num_examples)
    schema = task.schema(complete)
    if "loss_mask" in schema.names:
        position = schema.get_field_index("loss_mask") + 1
        schema = schema.insert(position, column("labels", list_type(pa.int32())))
    batches = [with_labels(batch) for batch in generated]
    # `datasets` cannot take a table without a chunk; an empty one has one.
    table = pa.Table.from_batches(batches, schema=schema) if batches else schema.empty_table()
    try:
        import datasets
    except ImportError:
        return table.to_pylist()
    return datasets.Dataset(datasets.table.InMemoryTable(table))
