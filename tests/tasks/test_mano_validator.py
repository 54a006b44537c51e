"""Promise 3: the validator notices every damage, agrees with a judge written apart, never fails itself."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.kinds import lists
from facts.mano import PRESETS, VARIED, key_of, make
from hypothesis import given, settings
from hypothesis import strategies as st
from mano_mutants import damage_parts, damage_tokens, single_replacements
from oracles.mano_judge import judge

from ostraca.tasks.base import Verdicts
from ostraca.tasks.core.batch import ragged, rows_of
from ostraca.tasks.mano import check, generate_mano_example, validate_mano_example
from ostraca.tasks.mano.generate import generate
from ostraca.tasks.mano.validate import MESSAGES, _validate, validate

METADATA = ("loss_mask", "length", "answer")
OF_METADATA = {
    MESSAGES.index(text) for text in MESSAGES if text.startswith(("loss_mask", "length", "answer"))
}


def batch_of(rows: list[list[int]]) -> pa.RecordBatch:
    """A batch with the column input_ids alone."""
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays([ragged(values, offsets)], names=["input_ids"])


def verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    return validate(batch_of(rows), config)


def assert_same_verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    """Validator and judge agree on every row; returns what the validator said."""
    said = verdicts(config, rows)
    for row, tokens in enumerate(rows):
        expected = judge(config, tokens)
        assert bool(said[row]) == expected, f"{said[row]}, the judge says {expected}: {tokens}"
        assert 0 <= said.positions[row] <= len(tokens)
    return said


# ---- what is made is valid


@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_examples_of_the_presets_are_valid(name: str, qa: bool) -> None:
    """100,000 examples of each preset, in train and in test form."""
    config = check({**PRESETS[name], "qa": qa})
    batch = generate(config, key_of(config, seed=100), np.arange(100_000, dtype=np.int64))
    assert validate(batch, config).all_valid


@pytest.mark.parametrize("name", VARIED)
def test_examples_of_varied_configs_are_valid_and_judged_so(name: str) -> None:
    config, batch = make(VARIED[name], 200, seed=101)
    assert validate(batch, config).all_valid
    rows = rows_of(batch) if config["value_mod"] < 100 else []  # the judge tries all quotients
    assert all(judge(config, row.pop("input_ids"), **row) for row in rows)


def test_large_moduli_are_exact() -> None:
    """Products up to 32748 * 32748 against Python's own integers: remainders are made without a division."""
    for modulus, letters in ((32749, "asmd"), (32768, "asm"), (32719, "md")):
        given = {"ttype": letters, "value_mod": modulus, "bos_token_id": 40_000, "fixed_length": 1}
        config, batch = make(given, 5000, seed=99)
        for tokens in lists(batch["input_ids"]):
            operator, a, b = tokens.tolist()[2:5]
            a, b = a - 5000, b - 5000
            letter = "asmd"[(operator - 1) % 4]
            true = {"a": a + b, "s": a - b, "m": a * b, "d": a * pow(b, -1, modulus) if letter == "d" else 0}
            assert tokens[-1] == 5000 + true[letter] % modulus
        top, one = 4999 + modulus, 5001
        rows = []
        for operator, a, b in ((3, top, top), (3, top, one), (1, top, top), (2, 5000, top)):
            value = {1: a + b - 10_000, 2: a - b, 3: (a - 5000) * (b - 5000)}[operator] % modulus
            rows += [[40_000, 10, operator, a, b, 14, 5000 + value + step] for step in (0, -1, 1)]
        allowed = [letters.find("asmd"[row[2] - 1]) >= 0 for row in rows]
        expected = [ok and place % 3 == 0 for place, ok in enumerate(allowed)]
        assert [bool(code == 0) for code in verdicts(config, rows).codes] == expected


# ---- damaged tokens


@pytest.mark.parametrize("name", VARIED)
def test_every_damaged_answer_is_caught(name: str) -> None:
    """The answer of 30 examples, replaced by any other id."""
    config, batch = make(VARIED[name], 30, seed=102)
    mutants = []
    for row in lists(batch["input_ids"]):
        tokens = row.tolist()
        every = single_replacements(config, tokens)
        mutants += [mutant for place, mutant in every if place == len(tokens) - 1]
        mutants += [
            [*tokens[:-1], 5000 + v] for v in range(min(config["value_mod"], 50)) if 5000 + v != tokens[-1]
        ]
    assert len(mutants) > 50
    assert (verdicts(config, mutants).codes > 0).all()


@pytest.mark.parametrize("name", [name for name in VARIED if name != "large modulus"])
def test_every_replaced_token_is_judged_alike(name: str) -> None:
    """Anywhere in four examples: a form may change, or a value that does not matter; nothing else."""
    config, batch = make(VARIED[name], 4, seed=103)
    mutants = [m for row in lists(batch["input_ids"]) for _, m in single_replacements(config, row.tolist())]
    assert_same_verdicts(config, mutants)


def test_damaged_examples_are_judged_alike_and_every_reason_occurs() -> None:
    """1,000 edits of tokens and 1,000 of parts for each config; each verdict equals the judge's.

    All reasons about tokens come up, and hundreds of mutants are valid, so the agreement is not idle.
    """
    reasons: set[int] = set()
    valid = 0
    for number, (name, varied) in enumerate(VARIED.items()):
        if name == "large modulus":  # the judge tries all quotients
            continue
        draw = random.Random(number)
        config, batch = make(varied, 60, seed=104)
        originals = [row.tolist() for row in lists(batch["input_ids"])]
        mutants = [damage_tokens(draw, config, draw.choice(originals)) for _ in range(1000)]
        mutants += [damage_parts(draw, config, draw.choice(originals)) for _ in range(1000)]
        said = assert_same_verdicts(config, mutants)
        reasons |= set(said.codes.tolist())
        valid += int((said.codes == 0).sum())
    assert reasons == set(range(len(MESSAGES))) - OF_METADATA
    assert valid > 1000


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.data())
def test_any_tokens_are_judged_alike(data: st.DataObject) -> None:
    """Hypothesis builds token lists from the ids of a tiny config."""
    augment = data.draw(st.booleans())
    config = check({"L": 3, "ttype": "sd", "value_mod": 3, "knowledge_augment": augment})
    ids = st.sampled_from([9999, 9998, 10, 20, 21, 30, 2, 4, 6, 8, 1, 5000, 5001, 5002, 5003, 14, 24, 25, 34])
    length = data.draw(st.integers(0, 4))
    body = data.draw(st.lists(ids, min_size=2 * length + 1, max_size=2 * length + 1))
    framed = [9999, 10 * length, *body, 10 * length + 4, data.draw(st.sampled_from([5000, 5001, 5002]))]
    free = data.draw(st.lists(ids, max_size=12))
    assert_same_verdicts(config, [framed, framed[1:], framed[:-1], [*framed, 5000], free, []])


def test_every_short_body_is_judged_alike() -> None:
    """All 6^5 bodies of five tokens over + / 0 1 2 and an unused operator, with every answer."""
    config = check({"L": 2, "ttype": "ad", "value_mod": 3, "knowledge_augment": False})
    rows = []
    for body in itertools.product((1, 4, 2, 5000, 5001, 5002), repeat=5):
        rows += [[9999, 20, *body, 24, answer] for answer in (5000, 5001, 5002)]
    said = assert_same_verdicts(config, rows)
    # 2 shapes, 27 triples of leaves: ++ always; +/ and /+ in either shape; // in either.
    assert (said.codes == 0).sum() == sum(judge(config, row) for row in rows) > 100


def test_deep_trees_are_judged_alike() -> None:
    """499 operators that all stand in left children, or all in right ones; with one more and one less."""
    config = check({"L": 499, "qa": True})
    for body in ([1] * 499 + [5001] * 500, [1, 5001] * 499 + [5001], [1] * 500 + [5001] * 499, [5001] * 999):
        rows = [[9999, 4990, *body, 4994, 5000 + value] for value in range(23)]
        said = assert_same_verdicts(config, rows)
        assert (said.codes == 0).sum() == (body.count(1) == 499)


def test_a_verdict_does_not_depend_on_the_other_rows() -> None:
    """A row's verdict is its own: alone, after damaged rows, in a slice of a batch."""
    config, batch = make(VARIED["all operators"], 60, seed=105)
    draw = random.Random(0)
    rows = [damage_parts(draw, config, row.tolist()) for row in lists(batch["input_ids"])]
    together = verdicts(config, rows)
    alone = [verdicts(config, [row]) for row in rows]
    assert together.codes.tolist() == [int(one.codes[0]) for one in alone]
    assert together.positions.tolist() == [int(one.positions[0]) for one in alone]
    assert len(set(together.codes.tolist())) > 3
    sliced = validate(batch_of(rows).slice(11, 13), config)
    assert sliced.codes.tolist() == together.codes[11:24].tolist()
    assert sliced.positions.tolist() == together.positions[11:24].tolist()


def test_slices_with_metadata_are_valid() -> None:
    """Every column of a slice starts at its own offset."""
    config, batch = make({}, 30, seed=106)
    for start in range(30):
        assert validate(batch.slice(start, 7), config).all_valid


def test_another_config_is_noticed() -> None:
    """Examples are valid for their config only."""
    config, batch = make({"ttype": "asmd"}, 300, seed=107)
    tokens = batch.select(["input_ids"])
    for other in (
        {"L": 9},
        {"qa": True},
        {"fixed_length": 2},
        {"ttype": "asm"},
        {"ttype": "smd"},
        {"value_mod": 19},
        {"value_mod": 29},
        {"knowledge_augment": False},
        {"bos_token_id": 9998},
    ):
        assert not validate(tokens, check({"ttype": "asmd", **other})).all_valid, other
    assert validate(tokens, config).all_valid


# ---- damaged metadata


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


def damaged_masks(mask: list[int]) -> Iterator[list[int]]:
    """Every bit 0 or 2, one less, one more, a 0 made up for by a 2, none at all."""
    for place in range(len(mask)):
        for bit in (0, 2, 255):
            yield [*mask[:place], bit, *mask[place + 1 :]]
    yield mask[1:]
    yield [*mask, 1]
    yield [*mask, 0]
    yield [0, 2, *mask[2:]]
    yield []


@pytest.mark.parametrize("column", METADATA)
def test_damaged_metadata_is_caught_in_its_row(column: str) -> None:
    """Every small change of one row of four; only that row is invalid."""
    config, batch = make({}, 4, seed=108)
    told = batch[column].to_pylist()
    for row in range(4):
        true = told[row]
        near = damaged_masks(true) if column == "loss_mask" else (-1, true - 1, true + 1, 2**31 - 1, -(2**31))
        for value in near:
            said = validate(replaced(batch, column, [*told[:row], value, *told[row + 1 :]]), config)
            assert np.flatnonzero(said.codes).tolist() == [row], (column, row, value)
            assert MESSAGES[said.codes[row]].startswith(column)


def test_metadata_is_judged_alike() -> None:
    """A random change of one column, or of tokens, through the one-example API: the judge's verdict."""
    config = check(VARIED["all operators"])
    draw = random.Random(110)
    agreed = {True: 0, False: 0}
    for index in range(300):
        example = generate_mano_example(config, seed=110, index=index)
        column = draw.choice([*METADATA, "labels", "input_ids", None])
        if column in ("length", "answer"):
            example[column] += draw.choice((-1, 0, 1))
        elif column is not None:
            example[column][draw.randrange(len(example[column]))] += draw.choice((0, 1))
        if draw.random() < 0.3:
            del example[draw.choice([*METADATA, "labels"])]
        metadata = {name: value for name, value in example.items() if name != "input_ids"}
        expected = judge(config, example["input_ids"], **metadata)
        assert bool(validate_mano_example(example, config)) == expected, (column, example)
        agreed[expected] += 1
    assert min(agreed.values()) > 40


# ---- the results


def test_a_verdict_says_where_and_why() -> None:
    config = check({})
    good = [9999, 30, 3, 3, 5, 5012, 5002, 5000, 5012, 35, 5000]
    cases = [
        ([9997, *good[1:]], "does not begin with <bos> (at token 0)"),
        ([9999, 110, *good[2:]], "<len_1> to <len_L> was expected (at token 1)"),
        (good[:-1], "not 2 * length + 5 tokens (at token 10)"),
        ([*good[:4], 4, *good[5:]], "neither a value nor an operator of this config"),
        ([*good[:5], 1, *good[6:]], "an operator has fewer than two operands (at token 3)"),
        ([*good[:4], 5001, *good[5:]], "more than one expression (at token 2)"),
        ([*good[:9], 45, 5000], "<ans> of the same length was expected (at token 9)"),
        ([*good[:10], 5023], "the answer is not one value (at token 10)"),
        ([*good[:10], 5001], "the answer is not the value of the expression (at token 10)"),
    ]
    said = verdicts(config, [good, *(row for row, _ in cases)])
    assert str(said[0]) == "valid"
    for row, (_, text) in enumerate(cases, start=1):
        assert text in str(said[row])
    assert said.first_invalid()[0] == 1
    divided = [9999, 10, 4, 5001, 5000, 14, 5000]
    assert "a division by zero (at token 2)" in str(verdicts(check({"ttype": "d"}), [divided])[0])
    assert "a length that this config does not ask" in str(verdicts(check({"qa": True}), [good])[0])


def test_no_rows_are_all_valid() -> None:
    assert validate(batch_of([]), check({})).all_valid


MALFORMED: list[Any] = [
    None,
    5,
    [],
    "abc",
    {},
    {"tokens": [1]},
    *({"input_ids": value} for value in (None, 5, "abc", b"abc", {}, {1}, [], [[]], [[1], [1, 2]], [[0, 1]])),
    *({"input_ids": value} for value in ([0.0], [0, 1.5], [True], ["0"], [None], [0, None], [float("nan")])),
    *({"input_ids": value} for value in ([2**31], [-(2**31) - 1], [2**63], [-1, 2**63], [2**200], [9999])),
    *({"input_ids": value} for value in (np.zeros((2, 2), int), np.zeros(3), np.array(0), [-1], [9999, 10])),
]
BAD_COLUMNS: list[Any] = [
    None,
    5.5,
    "x",
    {},
    [[1], [1, 2]],
    [1.5],
    [None],
    [2**40],
    [-(2**70)],
    [True],
    ["1"],
]


@pytest.mark.parametrize("example", MALFORMED, ids=lambda example: str(example)[:40])
def test_what_is_no_example_is_invalid_with_a_reason(example: Any) -> None:
    """Never an exception, whatever comes in."""
    result = validate_mano_example(example, {})
    assert not result
    assert result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize("column", [*METADATA, "index", "labels"])
@pytest.mark.parametrize("value", BAD_COLUMNS, ids=lambda value: str(value)[:40])
def test_malformed_columns_are_invalid_with_a_reason(column: str, value: Any) -> None:
    example = generate_mano_example({}, seed=0)
    result = validate_mano_example({**example, column: value}, {})
    assert not result
    assert result.reason
    assert "\n" not in result.reason


def test_one_compiled_kernel_serves_every_batch() -> None:
    """Any subset of columns, a slice, buffers from IPC: a further signature would take seconds to compile."""
    config, batch = make({"ttype": "asmd"}, 5)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    some = batch.select(["input_ids", "answer"])
    for part in (batch, batch.slice(2), read, batch.select(["input_ids"]), some):
        assert validate(part, config).all_valid
    for varied in VARIED.values():
        other, made = make(varied, 3)
        assert validate(made, other).all_valid
    assert len(_validate.signatures) == 1
