"""Promise 3 in a build: with a proof comes the batch that `generate` gives, and all of it is looked at.

What a proof of one task may be, and that none is believed, stands in `test_<task>_proofs.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import FACTS
from facts.kinds import Config
from mutants import MUTANTS
from mutants.kinds import Mutants, assert_columns_hold

from ostraca.tasks import TASKS, get_task
from ostraca.tasks.base import Proofs, Verdicts

PROVEN = [task for task in TASKS if get_task(task).proofs is not None]


def doors(task: str) -> Proofs:
    """A task's proofs."""
    known = FACTS[task].task.proofs
    assert known is not None
    return known


def test_the_tasks_that_take_long_to_solve_have_proofs() -> None:
    assert PROVEN == ["lano", "capo"]


@pytest.mark.parametrize(
    ("task", "name", "form"),
    [
        pytest.param(task, name, form, id="-".join([task, name, *map(str, form.values())]))
        for task in PROVEN
        for name in FACTS[task].varied
        for form in MUTANTS[task].forms
    ],
)
def test_the_batch_is_the_same_and_its_proof_holds(task: str, name: str, form: dict[str, Any]) -> None:
    """In any order of indices, of one row, of none."""
    facts = FACTS[task]
    config, batch = facts.make({**facts.varied[name], **form}, 200, seed=101)
    key = facts.key_of(config, 101)
    for indices in (np.arange(200), np.array([7, 199, 7, 0]), np.array([3]), np.zeros(0)):
        indices = indices.astype(np.int64)
        made, proof = doors(task).generate(config, key, indices)
        assert made.equals(batch.take(pa.array(indices)))
        assert made.schema.equals(batch.schema)
        assert doors(task).check(made, proof, config).all_valid


@pytest.mark.parametrize(
    ("task", "name", "extra", "rows"),
    [
        pytest.param(task, *preset, id=f"{preset[0]}-{'-'.join(map(str, preset[1].values()))}")
        for task in PROVEN
        for preset in MUTANTS[task].presets
    ],
)
def test_examples_of_the_presets_are_proven(task: str, name: str, extra: dict[str, Any], rows: int) -> None:
    """A tenth of those that the validator is asked about."""
    facts = FACTS[task]
    config = facts.complete({**facts.presets[name], **extra}, 100)
    key = facts.key_of(config, seed=100)
    for first in range(0, rows // 10, 5000):
        indices = np.arange(first, min(first + 5000, rows // 10), dtype=np.int64)
        batch, proof = doors(task).generate(config, key, indices)
        assert batch.equals(facts.task.generate(config, key, indices))
        assert doors(task).check(batch, proof, config).all_valid


def by_proofs(task: str, config: Config, batch: pa.RecordBatch, seed: int) -> Mutants:
    """The task's mutants, judged by its proofs: of batches that repeat the rows of this one."""
    facts, key, indices = FACTS[task], FACTS[task].key_of(config, seed), batch["index"].to_numpy()

    def check(repeated: pa.RecordBatch, its: Config) -> Verdicts:
        again = np.tile(indices, repeated.num_rows // len(indices))
        return doors(task).check(repeated, doors(task).generate(config, key, again)[1], its)

    return replace(MUTANTS[task], facts=replace(facts, task=replace(facts.task, validate=check)))


@pytest.mark.parametrize(
    ("task", "asked", "column"),
    [
        pytest.param(task, asked, column, id=f"{task}-{place}-{column}")
        for task in PROVEN
        for place, asked in enumerate(MUTANTS[task].columns)
        for column in FACTS[task].task.schema(FACTS[task].task.check(asked)).names[1:]
        if column not in ("index", *MUTANTS[task].free)
    ],
)
def test_damaged_metadata_is_caught_in_its_row(task: str, asked: dict[str, Any], column: str) -> None:
    """Every small change of a column in one row, as the validator catches it."""
    config, batch = FACTS[task].make(asked, MUTANTS[task].column_rows, seed=108)
    assert_columns_hold(by_proofs(task, config, batch, 108), config, batch, column, why=False)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in PROVEN for name in MUTANTS[task].worlds])
def test_damaged_examples_are_refused_with_the_proof_of_the_true_one(task: str, name: str) -> None:
    """And with every proof that is near: none is found valid that the validator refuses."""
    mutants, facts = MUTANTS[task], FACTS[task]
    config, damaged = mutants.mutants_of(name, 300, seed=9)
    batch = mutants.as_batch(damaged)
    person = {"person", "population"} & set(facts.task.schema(config).names)
    key, valid = facts.key_of(config, 104), facts.task.validate(batch, config).codes == 0
    accepted = 0
    for first in range(60):  # `mutants_of` damages these
        indices = (np.arange(len(damaged)) + first) % 60
        made, proof = doors(task).generate(config, key, indices.astype(np.int64))
        seen = batch
        for column in sorted(person):
            seen = seen.append_column(column, made[column])
        codes = doors(task).check(seen, proof, config).codes
        assert not (codes[~valid] == 0).any()
        accepted += int((codes == 0).sum())
        forms = mutants.content(made)
        same = [form == mutant for form, mutant in zip(forms, damaged, strict=True)]
        assert (codes[same] == 0).all(), "a true proof holds"
    assert accepted > 0
