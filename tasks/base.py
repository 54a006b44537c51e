"""The Task contract: what a task is to the pipeline, and how its config is checked at the door."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .auditing import Audit
from .errors import ConfigError, shown
from .keys import INT32_MAX, Key, check_keys

__all__ = [
    "INT32_MAX",
    "Key",
    "check_keys",
]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MEASURED = 1000  # examples


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
class Paper:
    """Where a task was published."""

    title: str
    arxiv: str  # its number there, e.g. "2512.17351"


@dataclass(frozen=True, kw_only=True)
class Hops:
    """Questions that go a number of steps, each number measured by itself: `ostraca curve`.

    config(config, steps, test form) is the complete config whose questions all go so many steps;
    answer(config) the id that stands before each answer, which ends where no token is learned or the next one
    stands; chance(config) the accuracy of naming any of the example's nodes, 0..1.
    """

    key: str  # of the config: the largest number of steps
    config: Callable[[Mapping[str, Any], int, bool], dict[str, Any]]
    answer: Callable[[Mapping[str, Any]], int]
    chance: Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True, kw_only=True)
class Proofs:
    """A task's second door, for where solving its examples again takes longer than making them.

    `generate(config, key, indices)` gives the batch that `Task.generate` gives, and a proof of all its rows:
    whatever spares a checker the search, in any form. `check(batch, proof, config)` looks at all that
    `Task.validate` looks at, holds the tokens of the batch to the proof, and shares no code with what made
    them. It is sound: rows that `validate` would refuse are refused whatever the proof says, and a proof that
    is wrong, cut off or another row's is never more than a reason to refuse. A proof lives as long as its
    batch does; rows without one, as of a corpus that is read back, go to `validate`.
    """

    generate: Callable[[Mapping[str, Any], NDArray[np.uint64], NDArray[np.int64]], tuple[pa.RecordBatch, Any]]
    check: Callable[[pa.RecordBatch, Any, Mapping[str, Any]], Verdicts]


_FILLED_IN: Any = None  # by Task.__post_init__


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: pure functions around a complete config (one that `check` returned).

    `generate(config, key, indices)` makes the examples at `indices` (int64 [rows], any order) of the
    stream `key` (uint64 [2], see `tasks.core.rng.stream_key`) as one RecordBatch with the columns
    `input_ids` list<int32>, `loss_mask` list<uint8>, `index` int64 and the task's own metadata.
    `validate(batch, config)` solves them again from their tokens; it also checks whatever of the mask
    and the metadata the batch has. It shares no code with `generate`. `proofs`, where a task has them, are
    what a build makes and checks its examples with instead (see `Proofs`, and `making`).

    What has a default here may be left out; see `tasks.own` for tasks of plain Python and NumPy. ConfigError
    where the name is none.
    """

    name: str  # lowercase letters, digits and '_'
    version: int  # rises whenever the example at some address changes
    keys: Mapping[str, Key]
    schema: Callable[[Mapping[str, Any]], pa.Schema]
    generate: Callable[[Mapping[str, Any], NDArray[np.uint64], NDArray[np.int64]], pa.RecordBatch]
    validate: Callable[[pa.RecordBatch, Mapping[str, Any]], Verdicts]
    max_tokens: Callable[[Mapping[str, Any]], int]  # no example has more
    tokens: Callable[[Mapping[str, Any]], dict[int, str]]  # every id an example can hold -> its name
    proofs: Proofs | None = None
    # The complete config of what is given, or ConfigError; by default each key is checked by itself.
    check: Callable[[Mapping[str, Any] | None], dict[str, Any]] = _FILLED_IN
    # Expected tokens of an example; by default they are counted over some.
    mean_tokens: Callable[[Mapping[str, Any]], float] = _FILLED_IN
    # (example, config, with its tree) -> how it is shown; by default its tokens and no more.
    look: Callable[[Mapping[str, Any], Mapping[str, Any], bool], Look] = lambda *_: Look()
    about: str = "a synthetic task"  # what it asks of a model, in a line, for whoever meets it first
    columns: Mapping[str, str] = field(default_factory=dict)  # what each column of its own holds
    paper: Paper | None = None
    hops: Hops | None = None
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

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"task {shown(self.name)}: a name is lowercase letters, digits and '_', a letter first"
            )
        if self.check is _FILLED_IN:
            object.__setattr__(self, "check", lambda given: check_keys(self.name, given, self.keys))
        if self.mean_tokens is _FILLED_IN:
            object.__setattr__(self, "mean_tokens", _measured(self))

    @property
    def making(self) -> Proofs:
        """What a build makes and checks examples with: `proofs`, else `generate` and `validate`."""
        if self.proofs is not None:
            return self.proofs
        return Proofs(
            generate=lambda config, key, indices: (self.generate(config, key, indices), None),
            check=lambda batch, _, config: self.validate(batch, config),
        )


def _measured(task: Task) -> Callable[[Mapping[str, Any]], float]:
    """The mean length of the first examples of a stream that is the same everywhere."""
    known: dict[str, float] = {}

    def mean_tokens(config: Mapping[str, Any]) -> float:
        from .core.batch import unragged
        from .core.rng import canonical_json, stream_key

        text = canonical_json(dict(config))
        if text not in known:
            key = stream_key(task.name, task.version, config, 0, "train")
            batch = task.generate(config, key, np.arange(_MEASURED, dtype=np.int64))
            _, offsets = unragged(batch.column(0))
            known[text] = float(offsets[-1] - offsets[0]) / _MEASURED
        return known[text]

    return mean_tokens


def vocab_size(task: Task, config: Mapping[str, Any]) -> int:
    """The largest id that an example can hold, plus 1."""
    return max(task.tokens(config)) + 1
