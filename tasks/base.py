"""The Task contract: what a task is to the pipeline, and how its config is checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .auditing import Audit
from .errors import ConfigError, check_bool, check_integer, check_path, nearest, shown

INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Key:
    """One config key: its default, what it means, and what it may be."""

    default: Any
    help: str
    kind: type = int  # int, bool, str, Path (a str too), or object: any plain value, checked by the task
    low: int = 0  # of an int
    high: int = INT32_MAX
    choices: tuple[str, ...] = ()  # of a str (empty: any text)
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
    if key.kind is object:
        return value
    if key.kind is bool:
        return check_bool(f"{task}: {name}", value)
    if key.kind is Path:
        return check_path(f"{task}: {name}", value)
    if key.kind is str:
        return _check_text(f"{task}: {name}", value, key)
    return check_integer(f"{task}: {name}", value, key.low, key.high, " or null" if key.optional else "")


def _check_text(name: str, value: Any, key: Key) -> str:
    also = " or null" if key.optional else ""
    if key.choices and (not isinstance(value, str) or value not in key.choices):
        known = ", ".join(key.choices)
        raise ConfigError(f"{name}={shown(value)}{nearest(value, key.choices)} must be one of {known}{also}")
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name}={shown(value)} must be a text{also}")
    return value


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
class Look:
    """How `ostraca inspect` shows one example beyond its tokens."""

    facts: str = ""  # for the line above the tokens, e.g. "depth 4, answer 12 nodes"
    breaks: Collection[int] = ()  # the tokens that begin a new line
    underlined: Sequence[tuple[int, int]] = ()  # spans [start, end) of tokens
    below: Sequence[str] = ()  # lines below the tokens
    text: str = ""  # the text below the tokens, or instead of them
    text_underlined: Sequence[tuple[int, int]] = ()  # spans [start, end) of its characters


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: pure functions around a complete config (one that `check` returned).

    `generate(config, key, indices)` makes the examples at `indices` (int64 [rows], any order) of the
    stream `key` (uint64 [2], see `tasks.core.rng.stream_key`) as one RecordBatch with the columns
    `input_ids` list<int32>, `loss_mask` list<uint8>, `index` int64 and the task's own metadata.
    `validate(batch, config)` solves them again from their tokens; it also checks whatever of the mask
    and the metadata the batch has. It shares no code with `generate`.
    """

    name: str
    version: int  # rises whenever the example at some address changes
    keys: Mapping[str, Key]
    check: Callable[[Mapping[str, Any] | None], dict[str, Any]]
    schema: Callable[[Mapping[str, Any]], pa.Schema]
    generate: Callable[[Mapping[str, Any], NDArray[np.uint64], NDArray[np.int64]], pa.RecordBatch]
    validate: Callable[[pa.RecordBatch, Mapping[str, Any]], Verdicts]
    mean_tokens: Callable[[Mapping[str, Any]], float]  # expected tokens of an example
    max_tokens: Callable[[Mapping[str, Any]], int]  # no example has more
    tokens: Callable[[Mapping[str, Any]], dict[int, str]]  # every id an example can hold -> its name
    look: Callable[[Mapping[str, Any], Mapping[str, Any], bool], Look]  # (example, config, with its tree)
    test_form: Mapping[str, Any] = field(default_factory=dict)  # what the published test sets differently
    # How many examples there are and of what keys, e.g. (5_000_000, "num_people x exposures"), where the
    # config decides it.
    count: Callable[[Mapping[str, Any]], tuple[int, str]] | None = None
    # The tokenizer whose ids the examples hold, where they are a text's: tokenizer.json, end-of-text token.
    tokenizer: Callable[[Mapping[str, Any]], tuple[str, str | None]] | None = None
    # Fill in what a null in the config takes from the corpus's seed.
    seeded: Callable[[Mapping[str, Any], int], dict[str, Any]] | None = None
    # The part of the config that decides the examples, where some keys only choose their form.
    address: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    # 128-bit fingerprints uint64 [rows, 2] of what is asked, whatever its clothes (the order of edges,
    # aliases), of valid examples with published ids; None: examples are the same where their tokens are.
    content: Callable[[pa.RecordBatch, Mapping[str, Any]], NDArray[np.uint64]] | None = None
    # How many different examples there are by (config, by content), where that is known exactly.
    distinct: Callable[[Mapping[str, Any], bool], int | None] | None = None
    # What the report counts: a label -> the column (of integers, or of lists of them) that holds it.
    strata: Mapping[str, str] = field(default_factory=dict)
    # What `ostraca audit` holds the examples to; see `tasks.auditing`.
    audit: Callable[[Mapping[str, Any]], Audit] | None = None


def vocab_size(task: Task, config: Mapping[str, Any]) -> int:
    """The largest id that an example can hold, plus 1."""
    return max(task.tokens(config)) + 1
