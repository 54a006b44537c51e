"""Promise 3: a validator accepts every example and nothing else, and never fails itself.

What it says of thousands of damaged examples (`mutants`) is compared with a judge (`oracles`), written from
the definition alone. What is true of one task only stands in `test_<task>_validator.py`.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import FACTS
from hypothesis import given, settings
from mutants import MUTANTS
from mutants.kinds import assert_columns_hold, single_replacements

from ostraca.tasks import TASKS
from ostraca.tasks.core.batch import rows_of

# ---- what is made is valid


@pytest.mark.parametrize(
    ("task", "name", "extra", "rows"),
    [
        pytest.param(task, *preset, id=f"{preset[0]}-{'-'.join(map(str, preset[1].values()))}")
        for task, mutants in MUTANTS.items()
        for preset in mutants.presets
    ],
)
def test_examples_of_the_presets_are_valid(task: str, name: str, extra: dict[str, Any], rows: int) -> None:
    """About 100,000 of each preset, in train and in test form; 5,000 of all but one grammar of Lano."""
    facts = FACTS[task]
    config = facts.complete({**facts.presets[name], **extra}, 100)
    key = facts.key_of(config, seed=100)
    for first in range(0, rows, 5000):
        indices = np.arange(first, min(first + 5000, rows), dtype=np.int64)
        assert facts.task.validate(facts.task.generate(config, key, indices), config).all_valid


@pytest.mark.parametrize(
    ("task", "name", "form"),
    [
        pytest.param(task, name, form, id="-".join([task, name, *map(str, form.values())]))
        for task, mutants in MUTANTS.items()
        for name in FACTS[task].varied
        for form in mutants.forms
    ],
)
def test_examples_of_varied_configs_are_valid_and_judged_so(
    task: str, name: str, form: dict[str, Any]
) -> None:
    """With and without their columns, and where the config does not say what the seed filled in."""
    facts, mutants = FACTS[task], MUTANTS[task]
    asked = {**facts.varied[name], **form}
    config, batch = facts.make(asked, mutants.rows, seed=101)
    assert facts.task.validate(batch, config).all_valid
    assert facts.task.validate(batch.select([0]), config).all_valid
    assert facts.task.validate(batch, facts.task.check(asked)).all_valid
    rows = rows_of(batch.slice(0, mutants.judged))
    assert all(facts.judge(config, row) for row in rows if mutants.quick(config, row))


@pytest.mark.parametrize("task", TASKS)
def test_slices_and_no_rows_are_valid(task: str) -> None:
    """Every column of a slice starts at its own offset."""
    facts, mutants = FACTS[task], MUTANTS[task]
    for form in mutants.forms:
        config, batch = facts.make({**mutants.small, **form}, 30, seed=106)
        for start in range(30):
            assert facts.task.validate(batch.slice(start, 7), config).all_valid
        assert facts.task.validate(batch.slice(3, 0), config).all_valid
        assert facts.task.validate(batch.slice(0, 0).select([0]), config).all_valid


# ---- damaged forms


@cache
def codes_of(task: str, name: str) -> list[int]:
    """Mutants of a world, judged alike: what the validator says of each."""
    mutants = MUTANTS[task]
    number = list(mutants.worlds).index(name)
    config, damaged = mutants.mutants_of(name, mutants.fewer.get(name, mutants.mutants), seed=number)
    return mutants.assert_judged_alike(config, damaged).codes.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, mutants in MUTANTS.items() for name in mutants.worlds]
)
def test_damaged_examples_are_judged_alike(task: str, name: str) -> None:
    """Hundreds of edits of each small config; some of them are valid, so the agreement is not idle."""
    codes = codes_of(task, name)
    assert 0.07 < codes.count(0) / len(codes) < 0.93


@pytest.mark.parametrize("task", TASKS)
def test_every_reason_occurs(task: str) -> None:
    """All reasons about the form itself come up among these mutants."""
    codes = [code for name in MUTANTS[task].worlds for code in codes_of(task, name)]
    assert set(codes) == set(range(len(MUTANTS[task].messages))) - MUTANTS[task].told


@pytest.mark.parametrize(
    ("task", "name"),
    [(task, name) for task, mutants in MUTANTS.items() if mutants.answers for name in FACTS[task].varied],
)
def test_every_damaged_answer_is_caught(task: str, name: str) -> None:
    """Every token of it, replaced by every id in use, its neighbours, and far-off ids."""
    mutants = MUTANTS[task]
    assert mutants.answers
    config, batch = FACTS[task].make(FACTS[task].varied[name], mutants.answered, seed=102)
    damaged = [
        other
        for row in rows_of(batch)
        for other in mutants.answers(config, row["input_ids"], row["loss_mask"])
    ]
    assert len(damaged) > 50
    assert (mutants.verdicts(config, damaged).codes > 0).all()


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, mutants in MUTANTS.items() for name in mutants.replaced]
)
def test_every_replaced_token_is_judged_alike(task: str, name: str) -> None:
    """Anywhere: the hop of a question or a value that does not matter may change validly, nothing else."""
    mutants = MUTANTS[task]
    assert mutants.pool
    config, batch = FACTS[task].make(FACTS[task].varied[name], mutants.replaced_rows, seed=103)
    for ids in mutants.content(batch):
        damaged = [mutant for _, mutant in single_replacements(ids, mutants.pool(config))]
        mutants.assert_judged_alike(config, damaged)


@pytest.mark.parametrize("task", [task for task, mutants in MUTANTS.items() if mutants.tries])
def test_any_tokens_are_judged_alike(task: str) -> None:
    """Built by Hypothesis from the ids of a tiny config."""
    mutants = MUTANTS[task]
    drawn = mutants.drawn
    assert drawn is not None

    @settings(derandomize=True, deadline=None, max_examples=mutants.tries)
    @given(drawn)
    def judged(made: Any) -> None:
        mutants.assert_judged_alike(*made)

    judged()


@pytest.mark.parametrize("task", TASKS)
def test_a_verdict_does_not_depend_on_the_other_rows(task: str) -> None:
    """A row's verdict is its own: alone, after damaged rows, in a slice of a batch."""
    mutants = MUTANTS[task]
    name, kinds = mutants.apart
    config, rows = mutants.mutants_of(name, 60, seed=0)
    random.Random(0).shuffle(rows)
    together = mutants.verdicts(config, rows)
    alone = [mutants.verdicts(config, [row]) for row in rows]
    assert together.codes.tolist() == [int(one.codes[0]) for one in alone]
    assert together.positions.tolist() == [int(one.positions[0]) for one in alone]
    assert len(set(together.codes.tolist())) >= kinds
    sliced = FACTS[task].task.validate(mutants.as_batch(rows).slice(11, 13), config)
    assert sliced.codes.tolist() == together.codes[11:24].tolist()
    assert sliced.positions.tolist() == together.positions[11:24].tolist()


@pytest.mark.parametrize(
    ("task", "other"),
    [
        pytest.param(task, other, id=f"{task}-{next(iter(other))}-{str(next(iter(other.values())))[:20]}")
        for task, mutants in MUTANTS.items()
        for other in mutants.another[2]
    ],
)
def test_another_config_is_noticed(task: str, other: dict[str, Any]) -> None:
    """Examples are valid for their config only. (Of Lano not one is valid for another.)"""
    asked, columns, _ = MUTANTS[task].another
    config, batch = FACTS[task].make(asked, 300, seed=107)
    seen, validate = batch.select(columns), FACTS[task].task.validate
    assert validate(seen, config).all_valid
    codes = validate(seen, FACTS[task].task.check({**config, **other})).codes
    assert (codes > 0).all() if task == "lano" else (codes > 0).any()


# ---- damaged columns


@pytest.mark.parametrize(
    ("task", "asked", "column"),
    [
        pytest.param(task, asked, column, id=f"{task}-{place}-{column}")
        for task, mutants in MUTANTS.items()
        for place, asked in enumerate(mutants.columns)
        for column in FACTS[task].task.schema(FACTS[task].task.check(asked)).names[1:]
        if column not in ("index", *mutants.free)
    ],
)
def test_damaged_metadata_is_caught_in_its_row(task: str, asked: dict[str, Any], column: str) -> None:
    """Every small change of a column in one row, beside all other columns and alone."""
    config, batch = FACTS[task].make(asked, MUTANTS[task].column_rows, seed=108)
    assert FACTS[task].task.validate(batch, config).all_valid
    assert_columns_hold(MUTANTS[task], config, batch, column)
    assert_columns_hold(MUTANTS[task], config, batch.select([batch.schema.names[0], column, "index"]), column)


@pytest.mark.parametrize("task", TASKS)
def test_metadata_is_judged_alike(task: str) -> None:
    """Changed and dropped columns, through the one-example API: the judge's verdict."""
    facts, mutants = FACTS[task], MUTANTS[task]
    config = facts.complete(mutants.beside, 110)
    draw = random.Random(110)
    agreed = {True: 0, False: 0}
    for index in range(mutants.beside_rows):
        example = facts.generate_example(config, seed=110, index=index)
        content = next(iter(example))
        name = draw.choice([*example, None, None])
        if name is None:
            pass
        elif isinstance(example[name], list):
            example[name][draw.randrange(len(example[name]))] += draw.choice((0, 0, 1, -1))
        elif isinstance(example[name], str):
            (example[name],) = mutants.damage(draw, config, [example[name]], 1)
        else:
            example[name] += draw.choice(mutants.steps)
        for dropped in draw.sample(sorted(set(example) - {content}), draw.choice((0, 0, 1, 3))):
            del example[dropped]
        expected = facts.judge(config, example)
        assert bool(facts.validate_example(example, config)) == expected, (name, example)
        agreed[expected] += 1
    assert min(agreed.values()) > 30


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_checked(task: str) -> None:
    """Each label, with and without the mask beside it."""
    facts = FACTS[task]
    config = facts.complete(facts.varied[facts.rich], 111)
    example = facts.generate_example(config, seed=111)
    bare = {"input_ids": example["input_ids"], "labels": example["labels"]}
    for whole in (example, bare):
        assert facts.validate_example(whole, config)
        for place, label in enumerate(example["labels"]):
            for wrong in {example["input_ids"][place], -100, 0, label + 1} - {label}:
                labels = [*example["labels"][:place], wrong, *example["labels"][place + 1 :]]
                assert not facts.validate_example({**whole, "labels": labels}, config)


# ---- the results


@pytest.mark.parametrize("task", TASKS)
def test_a_verdict_says_where_and_why(task: str) -> None:
    """The second of three is damaged."""
    mutants = MUTANTS[task]
    config, batch = FACTS[task].make(mutants.worlds[mutants.apart[0]], 3)
    first, second, third = mutants.content(batch)
    said = mutants.verdicts(config, [first, second[: len(second) // 2], third])
    assert not said.all_valid
    assert [bool(said[row]) for row in range(3)] == [True, False, True]
    assert (str(said[0]), said[0].reason) == ("valid", "")
    row, result = said.first_invalid()
    assert row == 1
    assert str(result) == f"invalid: {said.messages[said.codes[1]]} (at token {said.positions[1]})"


VALUES: list[Any] = [
    *(None, 5, "abc", b"abc", {}, {1}, [], [[]], [[1], [1, 2]], [[0, 1]]),
    *([0.0], [1.5], [0, 1.5], [True], ["0"], [None], [0, None], [float("nan")]),
    *([2**31], [-(2**31) - 1], [2**63], [-(2**63)], [-1, 2**63], [2**200]),
    *([0], [-1], [9000], [9999], [9999, 10], np.zeros((2, 2), int), np.zeros(3), np.array(0)),
]
MALFORMED: list[Any] = [None, 5, [], "abc", {}, {"tokens": [1]}, *({"input_ids": value} for value in VALUES)]
BAD_COLUMNS: list[Any] = [
    *(None, 5.5, "x", {}, [[1], [1, 2]], [1.5], [None], [2**40], [-(2**70)], [True], ["1"]),
    np.zeros((2, 2)),
]


@pytest.mark.parametrize("example", MALFORMED, ids=lambda example: str(example)[:40])
@pytest.mark.parametrize("task", TASKS)
def test_what_is_no_example_is_invalid_with_a_reason(task: str, example: Any) -> None:
    """Never an exception, whatever comes in."""
    result = FACTS[task].validate_example(example, MUTANTS[task].small)
    assert not result
    assert result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize("value", BAD_COLUMNS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize(
    ("task", "column"),
    [(task, column) for task, facts in FACTS.items() for column in list(facts.columns)[1:]],
)
def test_malformed_columns_are_invalid_with_a_reason(task: str, column: str, value: Any) -> None:
    config = MUTANTS[task].small
    example = FACTS[task].generate_example(config, seed=0)
    result = FACTS[task].validate_example({**example, column: value}, config)
    assert not result
    assert result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize(
    ("task", "dtype"),
    [
        (task, dtype)
        for task in TASKS
        for dtype in (np.int16, np.int64, np.uint64, ">i4")
        if (task, dtype) != ("capo", np.int16)  # whose ids are larger
    ],
)
def test_arrays_are_as_good_as_lists(task: str, dtype: Any) -> None:
    """NumPy arrays of any integer type; another last token is noticed."""
    facts = FACTS[task]
    config = facts.varied[facts.rich]
    example = facts.generate_example(config, seed=0)
    names = [name for name, kind in facts.columns.items() if kind.endswith("s") and name != "labels"]
    arrays = {name: np.array(example[name], dtype) for name in names}
    assert facts.validate_example({**example, **arrays}, config)
    arrays["input_ids"][-1] += 1
    assert not facts.validate_example({**example, **arrays}, config)


@pytest.mark.parametrize("task", TASKS)
def test_one_compiled_kernel_serves_every_batch(task: str) -> None:
    """Any subset of columns, a slice, buffers from IPC: a further signature would take seconds to compile."""
    facts, mutants = FACTS[task], MUTANTS[task]
    for form in mutants.forms:
        config, batch = facts.make({**mutants.small, **form}, 5)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
        some = batch.select([0, batch.num_columns - 1])
        for part in (batch, batch.slice(2), read, batch.select([0]), some):
            assert facts.task.validate(part, config).all_valid
    for name in facts.varied:
        config, batch = facts.make(facts.varied[name], 3)
        assert facts.task.validate(batch, config).all_valid
    for one in mutants.kernels:
        assert 0 < len(one.signatures) <= mutants.kinds
