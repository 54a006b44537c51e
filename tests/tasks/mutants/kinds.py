"""What is known of a task's mutants, and damage that needs to know nothing of a task."""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from facts.kinds import Config, Facts, batch_of
from hypothesis import strategies as st

from ostraca.tasks import TASKS
from ostraca.tasks.base import Verdicts

Ids = list[int]


@dataclass(frozen=True, kw_only=True)
class Mutants:
    """Examples of one task that its validator must accept, and damage that it must judge as the judge does.

    A form of an example is its `input_ids`, or its text. Names of configs are those of `varied`.
    """

    facts: Facts
    kernels: Sequence[Any]  # that the validator runs
    kinds: int = 1  # of batches that they are compiled for

    # Examples as they are made: (preset, what is added, how many), and how many of each small config.
    presets: list[tuple[str, Config, int]]
    forms: tuple[Config, ...] = ({},)  # of the small configs
    rows: int = 200
    judged: int = 200  # of these, by the judge, where it is quick enough:
    quick: Callable[[Config, Config], bool] = lambda config, row: True

    # Damaged ones: (draw, complete config, valid ones, how many) -> mutants.
    damage: Callable[[random.Random, Config, list[Any], int], list[Any]]
    worlds: Mapping[str, Config]  # whose examples are damaged
    longest: int = 10**9  # of the examples that are damaged
    mutants: int  # of each world
    fewer: Mapping[str, int] = field(default_factory=dict)  # of those whose judge is slow
    unsaid: tuple[str, ...]  # beginnings of the reasons that no damage of this kind has
    apart: tuple[str, int]  # a world, and how many verdicts its mutants get at least
    as_batch: Callable[[Sequence[Any]], pa.RecordBatch] = batch_of

    # Every token in turn: the ids that take its place; (complete config, ids, mask) -> wrong answers.
    pool: Callable[[Config], Ids] | None = None
    answers: Callable[[Config, Ids, Ids], Iterable[Ids]] | None = None
    answered: int = 0  # examples of each small config
    replaced: Collection[str] = ()
    replaced_rows: int = 1
    drawn: st.SearchStrategy[tuple[Config, list[Ids]]] | None = None  # (config, examples) from nothing
    tries: int = 0

    # Of another config: a config, the columns that are seen, others under which not all are valid.
    another: tuple[Config, list[str], list[Config]]

    # Columns: configs whose every column is damaged, how many rows of them; one that the judge sees.
    columns: list[Config]
    column_rows: int = 4
    free: Collection[str] = ()  # columns of which another value may be as true
    near: Callable[[Config, str, Any], list[Any] | None] = lambda config, name, value: None
    beside: Config
    beside_rows: int = 200
    steps: tuple[int, ...] = (-1, 0, 1)  # of a changed number

    small: Config = field(default_factory=dict)  # of malformed examples

    @cached_property
    def messages(self) -> tuple[str, ...]:
        """What the validator says, by its codes."""
        module = importlib.import_module(f"{TASKS[self.facts.name]}.validate")
        return module.MESSAGES  # type: ignore[no-any-return]

    @property
    def told(self) -> set[int]:
        """Codes that tokens alone do not bring about."""
        return {code for code, text in enumerate(self.messages) if text.startswith(self.unsaid)}

    def content(self, batch: pa.RecordBatch) -> list[Any]:
        """The form of every example."""
        return batch.column(0).to_pylist()  # type: ignore[no-any-return]

    def verdicts(self, config: Config, forms: Sequence[Any]) -> Verdicts:
        """What the validator says where it sees nothing else."""
        return self.facts.task.validate(self.as_batch(forms), config)

    def judge(self, config: Config, form: Any) -> bool:
        """What the judge says."""
        return self.facts.judge(config, {self.facts.task.schema(config).names[0]: form})

    def assert_judged_alike(self, config: Config, forms: Sequence[Any]) -> Verdicts:
        """Validator and judge agree on every one; returns what the validator said."""
        said = self.verdicts(config, forms)
        for row, form in enumerate(forms):
            expected = self.judge(config, form)
            assert (said.codes[row] == 0) == expected, f"{said[row]}, the judge says {expected}: {form}"
            assert 0 <= said.positions[row] <= len(form.encode() if isinstance(form, str) else form)
        return said

    def mutants_of(self, name: str, rows: int, seed: int) -> tuple[dict[str, Any], list[Any]]:
        """The complete config of a world, and mutants of its first examples."""
        config, batch = self.facts.make(self.worlds[name], 60, seed=104)
        originals = [form for form in self.content(batch) if len(form) <= self.longest]
        return config, self.damage(random.Random(seed), config, originals, rows)


def damage_tokens(draw: random.Random, tokens: Ids, pool: Ids) -> Ids:
    """One to three random edits of single tokens or of a span."""
    mutant = list(tokens)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(mutant)) if mutant else 0
        other = draw.randrange(len(mutant)) if mutant else 0
        low, high = sorted((at, other))
        edit = draw.randrange(8)
        if edit == 0 or not mutant:
            mutant.insert(at, draw.choice(pool))
        elif edit == 1:
            mutant[at] = draw.choice(pool)
        elif edit == 2:
            mutant[at] = draw.choice(tokens)
        elif edit == 3:
            del mutant[at]
        elif edit == 4:
            mutant[at], mutant[other] = mutant[other], mutant[at]
        elif edit == 5:
            del mutant[at:]
        elif edit == 6:
            mutant[high:high] = mutant[low:high]
        else:
            del mutant[low:high]
    return mutant


def with_neighbours(used: Collection[int]) -> Ids:
    """Ids in use, those beside them, and far-off ones."""
    near = {token + step for token in used for step in (-1, 1)}
    return sorted({*used, *near, -1, -100, -(2**31), 2**31 - 1, 2**31 - 2})


def single_replacements(tokens: Ids, pool: Ids) -> Iterator[tuple[int, Ids]]:
    """Every replacement of one token by another id of the pool, with its place."""
    for place, token in enumerate(tokens):
        for other in pool:
            if other != token:
                yield place, [*tokens[:place], other, *tokens[place + 1 :]]


def damaged_word(draw: random.Random, vocab: int, word: Ids) -> Ids:
    """The word with a first or last token just outside of its range."""
    return draw.choice(([*word[:-1], 2 * vocab + 1], [*word[:-1], vocab], [0, *word[1:]], [-1, *word]))


def near_numbers(value: int, kind: pa.DataType) -> list[Any]:
    """Other values of a number: those beside it, none, and the ends of its type."""
    ends = 2 ** (kind.bit_width - 1)
    return [one for one in {-1, 0, value - 1, value + 1, value + 10**6, ends - 1, -ends} if one != value]


def near_lists(values: Ids, kind: pa.DataType) -> list[Any]:
    """Other lists: every value changed, left out or doubled; moved at the ends; longer, shorter, empty.

    Of a mask (bytes) with every bit 0, 1, 2 and 255: 256 is 0 where a sum wraps in 8 bits.
    """
    mask = kind.bit_width == 8
    other = [[], values[1:], values[:-1], [*values, 0], [*values, 1], [*values, values[-1]]]
    for at, value in enumerate(values):
        steps = (0, 1, 2, 255) if mask else (value - 1, value + 1, 2**31 - 1)
        other += [[*values[:at], step, *values[at + 1 :]] for step in steps if step != value]
        other += [values[:at] + values[at + 1 :], [*values[:at], value, *values[at:]]]
    if mask:
        other += [[bit] * len(values) for bit in (0, 2)]
        other += [[2, 0, *values[2:]], [0, 2, *values[2:]], [*values[:-2], 2, 0], [*values[:-2], 0, 2]]
    return [one for one in other if one != values]


def assert_columns_hold(
    mutants: Mutants, config: Config, batch: pa.RecordBatch, column: str, *, why: bool = True
) -> None:
    """Every small change of this column in one row makes that row invalid, and no other; `why`: names it."""
    rows, field_ = batch.num_rows, batch.schema.field(column)
    true = batch[column].to_pylist()
    for row, value in enumerate(true):
        near = mutants.near(config, column, value)
        if near is None:
            near = (
                near_lists(value, field_.type.value_type)
                if isinstance(value, list)
                else near_numbers(value, field_.type)
            )
        others = batch.take(pa.array(list(range(rows)) * len(near)))
        told = [other if at == row else true[at] for other in near for at in range(rows)]
        at = batch.schema.get_field_index(column)
        others = others.set_column(at, field_, pa.array(told, field_.type))
        said = mutants.facts.task.validate(others, config)
        codes = said.codes.reshape(len(near), rows)
        assert not np.delete(codes, row, axis=1).any(), (column, row)
        for other, code in zip(near, codes[:, row].tolist(), strict=True):
            assert code > 0, (column, row, other)
            reason = said.messages[code]
            assert not why or code in mutants.told, (column, row, other, reason)
            assert not why or re.search(rf"\b{column}\b", reason), (column, row, other, reason)
