"""What is known of a task in the tests, and batches made by hand."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from ostraca.tasks import TASKS
from ostraca.tasks.base import Task
from ostraca.tasks.core.batch import ragged, unragged
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import complete_config, stream_of

Config = Mapping[str, Any]

# Of an example in tokens, before the task's own.
COLUMNS = {"input_ids": "int32s", "loss_mask": "uint8s", "labels": "int32s", "index": "int64"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the tests need to know of one task. Names of configs are those of `varied`."""

    task: Task
    presets: Mapping[str, Config]  # the published sizes, by the names of their files
    varied: Mapping[str, Config]  # small configs that reach every branch of generator and validator
    plain: str  # one of them
    rich: str  # another, with all that an example can have
    too_many: tuple[Config, int] | None = None  # examples that no batch can hold; None: costs too much to try

    # Its examples: the columns with their types, and whatever else holds of (complete config, example).
    columns: Mapping[str, str]  # "int32s": a list of them
    whole: Callable[[Config, Config], None]  # raises AssertionError
    address: tuple[Config, Config, Config]  # a config, and what makes other examples of it
    as_default: Config  # the defaults, some of them written otherwise
    bad: tuple[Config, str]  # a config, and what its refusal says

    # Its config: what it is where nothing is said, misspelt keys and those that were meant.
    defaults: Config
    misspelt: list[tuple[str, str]]
    inside: Mapping[str, st.SearchStrategy[Any]]  # values near and in the ranges of the keys
    judge: Callable[[Config, Config], bool]  # (complete config, a row): whether it is an example
    tries: tuple[int, int]  # configs of `inside`, and configs with wild values and keys
    inside_given: Config = field(default_factory=dict)  # what those of `inside` stand beside
    inside_says: str = ""  # in the refusal of any of them
    around: Config  # what the wild ones stand beside
    also: Collection[str] = ()  # and values of these keys
    unguessed: Collection[str] = ()  # keys that get no wild values
    spaces: list[tuple[int, int, int]] = field(default_factory=list)  # of words: vocabulary, lengths
    spaces_given: Config = field(default_factory=dict)

    # Made again by the task's oracle: (complete config, seed, split, index) -> the example.
    replay: Callable[[Config, int, str, int], dict[str, Any]]
    replay_given: Config = field(default_factory=dict)  # the form that the oracle writes
    replay_forms: tuple[Config, ...] = ({},)  # in which the presets are made again
    replay_rows: tuple[int, int]  # of each small config, of each preset
    replay_far: Config  # of examples far on
    replay_large: tuple[tuple[Config, int], ...] = ()  # large examples, and how many

    # With the kernels as plain Python:
    plainly: Mapping[str, Config]
    plain_rows: int
    plain_damaged: str  # a column whose values, in another order, are wrong
    plain_others: tuple[Config, ...] = ()  # other keys under which the same examples are judged
    plain_reasons: int  # so many different ones come up at least
    plain_more: Callable[[int, Config, pa.RecordBatch], Any] | None = None  # (number, config, examples)

    @property
    def name(self) -> str:
        return self.task.name

    def complete(self, given: Config | None, seed: int = 0) -> dict[str, Any]:
        """The complete config of a corpus of this seed."""
        return complete_config(self.task, given, seed)

    def refusal(self, config: Any) -> str:
        """The one line that refuses this config."""
        with pytest.raises(ConfigError) as caught:
            self.task.check(config)
        text = str(caught.value)
        assert "\n" not in text
        assert text.startswith(f"{self.name}: ")
        return text

    def key_of(self, config: Config, seed: int = 0, split: str = "train") -> NDArray[np.uint64]:
        """The stream of a complete config."""
        return stream_of(self.task, config, seed, split)

    def make(
        self, given: Config, rows: int | NDArray[np.int64], seed: int = 0, split: str = "train"
    ) -> tuple[dict[str, Any], pa.RecordBatch]:
        """The complete config, and its examples 0..rows-1 (or at these indices)."""
        config = self.complete(given, seed)
        indices = np.arange(rows, dtype=np.int64) if isinstance(rows, int) else rows
        return config, self.task.generate(config, self.key_of(config, seed, split), indices)

    @cached_property
    def module(self) -> Any:
        return importlib.import_module(TASKS[self.name])

    @cached_property
    def generate_example(self) -> Callable[..., dict[str, Any]]:
        """The public generate_<task>_example."""
        return getattr(self.module, f"generate_{self.name}_example")  # type: ignore[no-any-return]

    @cached_property
    def validate_example(self) -> Callable[..., Any]:
        """The public validate_<task>_example."""
        return getattr(self.module, f"validate_{self.name}_example")  # type: ignore[no-any-return]

    @cached_property
    def make_hf_dataset(self) -> Callable[..., Any]:
        """The public make_<task>_hf_dataset."""
        return getattr(self.module, f"make_{self.name}_hf_dataset")  # type: ignore[no-any-return]


def lists(array: pa.ListArray) -> list[NDArray[Any]]:
    """The rows of a ragged column as NumPy views."""
    values, offsets = unragged(array)
    return [values[begin:end] for begin, end in itertools.pairwise(offsets)]


def batch_of(rows: Sequence[Sequence[int]]) -> pa.RecordBatch:
    """A batch with the column input_ids alone."""
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays([ragged(values, offsets)], names=["input_ids"])


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    """The batch with other values in one column."""
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


def by_key(replay: Callable[[Config, NDArray[np.uint64], int], dict[str, Any]], task: Task) -> Any:
    """An oracle that asks for the stream's key, as one that asks for seed and split."""
    return lambda config, seed, split, index: replay(config, stream_of(task, config, seed, split), index)


def judged(judge: Callable[..., bool]) -> Callable[[Config, Config], bool]:
    """A judge of tokens with metadata beside them, as one of whole rows."""

    def of_row(config: Config, row: Config) -> bool:
        told = {name: value for name, value in row.items() if name != "input_ids"}
        return judge(config, row["input_ids"], **told)

    return of_row
