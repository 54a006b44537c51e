"""The Task contract: what a task is to the pipeline, and how its config is checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import ConfigError, check_bool, check_integer, nearest, shown

INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Key:
    """One config key: its default, what it means, and what it may be."""

    default: Any
    help: str
    kind: type = int  # int or bool
    low: int = 0
    high: int = INT32_MAX
    optional: bool = False  # None is allowed too


def check_keys(task: str, config: Mapping[str, Any] | None, keys: Mapping[str, Key]) -> dict[str, Any]:
    """Return the complete config in the order of `keys`; ConfigError on the first thing that is wrong."""
    if config is not None and not isinstance(config, Mapping):
        raise ConfigError(f"{task}: the config must be a mapping of keys to values, not {shown(config)}")
    given = dict(config or {})
    for name in given:
        if name not in keys:
            raise ConfigError(
                f"{task}: unknown key {shown(name)}{nearest(name, keys)}; known: {', '.join(keys)}"
            )
    return {name: _check_value(task, name, given.get(name, key.default), key) for name, key in keys.items()}


def _check_value(task: str, name: str, value: Any, key: Key) -> Any:
    if value is None and key.optional:
        return None
    if key.kind is bool:
        return check_bool(f"{task}: {name}", value)
    return check_integer(f"{task}: {name}", value, key.low, key.high, " or null" if key.optional else "")


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """What a validator says of one example: truthy when valid, and why when not."""

    valid: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.valid

    def __str__(self) -> str:
        return "valid" if self.valid else f"invalid: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What a validator says of a batch."""

    codes: NDArray[np.int32]  # [rows]: 0 is valid, else an index into `messages`
    positions: NDArray[np.int64]  # [rows]: the token, counted within its row, where it was noticed
    messages: tuple[str, ...]

    @property
    def all_valid(self) -> bool:
        return not self.codes.any()

    def __getitem__(self, row: int) -> ValidationResult:
        code = int(self.codes[row])
        if code == 0:
            return ValidationResult(valid=True)
        reason = f"{self.messages[code]} (at token {int(self.positions[row])})"
        return ValidationResult(valid=False, reason=reason)

    def first_invalid(self) -> tuple[int, ValidationResult]:
        """The first row that is not valid, and why; only where not all are."""
        row = int(np.flatnonzero(self.codes)[0])
        return row, self[row]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: pure functions around a complete config (one that `check` returned).

    `generate(config, key, indices)` makes the examples at `indices` (int64 [rows], any order) of the
    stream `key` (uint64 [2], see `tasks.rng.stream_key`) as one RecordBatch with the columns
    `input_ids` list<int32>, `loss_mask` list<uint8>, `index` int64 and the task's own metadata.
    `validate(batch, config)` solves them again from their tokens; it also checks whatever of the mask
    and the metadata the batch has. It shares no code with `generate`.
    """

    name: str
    version: int  # rises whenever the example at some address changes
    keys: Mapping[str, Key]
    check: Callable[[Mapping[str, Any] | None], dict[str, Any]]
    schema: pa.Schema
    generate: Callable[[Mapping[str, Any], NDArray[np.uint64], NDArray[np.int64]], pa.RecordBatch]
    validate: Callable[[pa.RecordBatch, Mapping[str, Any]], Verdicts]
    mean_tokens: Callable[[Mapping[str, Any]], float]  # expected tokens of an example
    max_tokens: Callable[[Mapping[str, Any]], int]  # no example has more
    vocab_size: Callable[[Mapping[str, Any]], int]  # the largest id in use + 1
    token_names: Callable[[Mapping[str, Any]], dict[int, str]]  # id -> name, of the special tokens
