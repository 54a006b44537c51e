"""Promise 3: the validator accepts every example and nothing else.

What it says of thousands of damaged examples is compared with `oracles.depo_judge`, which was written
from the layout alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from depo_mutants import damage_parts, damage_tokens, join, single_replacements, split
from facts.depo import PRESETS, VARIED, key_of, make
from facts.kinds import lists
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.depo_judge import judge

from ostraca.tasks.base import Verdicts
from ostraca.tasks.core.batch import ragged, rows_of
from ostraca.tasks.depo import check, generate_depo_example, validate_depo_example
from ostraca.tasks.depo.generate import generate
from ostraca.tasks.depo.validate import MESSAGES, _validate, validate

METADATA = ("loss_mask", "query_hops", "answer_starts", "answer_ends")
# Codes that only metadata can bring about.
OF_METADATA = {MESSAGES.index(message) for message in MESSAGES if "n is not" in message}
OF_METADATA |= {
    place for place, message in enumerate(MESSAGES) if message.startswith(("loss_mask", "query_hops"))
}
MASK_CODE = next(code for code, text in enumerate(MESSAGES) if text.startswith("loss_mask"))


def batch_of(rows: list[list[int]]) -> pa.RecordBatch:
    """A batch with the column input_ids alone."""
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays([ragged(values, offsets)], names=["input_ids"])


def verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    return validate(batch_of(rows), config)


def assert_same_verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    """Validator and judge agree on every row; returns what the validator said."""
    given = verdicts(config, rows)
    for row, tokens in enumerate(rows):
        expected = judge(config, tokens)
        assert bool(given[row]) == expected, f"{given[row]}, the judge says {expected}: {tokens}"
        assert 0 <= given.positions[row] <= len(tokens)
    return given


# ---- what is made is valid


@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_examples_of_the_presets_are_valid(name: str, qa: bool) -> None:
    """8,500 examples of each of the six presets, in train and in test form: 102,000 in all."""
    config = check({**PRESETS[name], "qa": qa})
    key = key_of(config, seed=100)
    for first in range(0, 8500, 1700):
        batch = generate(config, key, np.arange(first, first + 1700, dtype=np.int64))
        assert validate(batch, config).all_valid


@pytest.mark.parametrize("name", VARIED)
def test_examples_of_varied_configs_are_valid_and_judged_so(name: str) -> None:
    config, batch = make(VARIED[name], 200, seed=101)
    assert validate(batch, config).all_valid
    assert all(judge(config, tokens, **row) for tokens, row in tokens_and_metadata(batch))


def tokens_and_metadata(batch: pa.RecordBatch) -> Iterator[tuple[list[int], dict[str, Any]]]:
    for row in rows_of(batch):
        yield row.pop("input_ids"), row


# ---- damaged tokens


@pytest.mark.parametrize("name", VARIED)
def test_every_damaged_answer_token_is_caught(name: str) -> None:
    """Every answer token of 6 examples, replaced by every id in use, its neighbours, and far-off ids."""
    config, batch = make(VARIED[name], 6, seed=102)
    mutants = []
    for tokens, mask in zip(lists(batch["input_ids"]), lists(batch["loss_mask"]), strict=True):
        every = single_replacements(config, tokens.tolist())
        mutants += [mutant for place, mutant in every if mask[place]]
    assert len(mutants) > 50
    assert (verdicts(config, mutants).codes > 0).all()


@pytest.mark.parametrize("name", ["separator", "qa of 32", "fixed_k", "every word in use", "other ids"])
def test_every_replaced_token_is_judged_alike(name: str) -> None:
    """Anywhere in one example: the hop of a question may change validly, nothing else."""
    config, batch = make(VARIED[name], 1, seed=103)
    (tokens,) = lists(batch["input_ids"])
    assert_same_verdicts(config, [mutant for _, mutant in single_replacements(config, tokens.tolist())])


def test_damaged_examples_are_judged_alike_and_every_reason_occurs() -> None:
    """600 edits of tokens and 600 of whole parts for each config; each verdict equals the judge's.

    All reasons about tokens come up, and hundreds of mutants are valid, so the agreement is not idle.
    """
    reasons: set[int] = set()
    valid = 0
    for number, varied in enumerate(VARIED.values()):
        draw = random.Random(number)
        config, batch = make(varied, 60, seed=104)
        originals = [row.tolist() for row in lists(batch["input_ids"])]
        mutants = [damage_tokens(draw, config, draw.choice(originals)) for _ in range(600)]
        mutants += [damage_parts(draw, config, draw.choice(originals)) for _ in range(600)]
        said = assert_same_verdicts(config, mutants)
        reasons |= set(said.codes.tolist())
        valid += int((said.codes == 0).sum())
    assert reasons == set(range(len(MESSAGES))) - OF_METADATA
    assert valid > 500


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.data())
def test_any_tokens_are_judged_alike(data: st.DataObject) -> None:
    """Hypothesis builds token lists from the words, specials and ids of a tiny config."""
    config = check({"N": 4, "K": 2, "M": 2, "mini_vocab": 2, "separator": data.draw(st.booleans())})
    edge = st.lists(st.sampled_from([[3], [4], [1, 3], [2, 4], [5]]), min_size=2, max_size=2)
    edges = data.draw(st.lists(st.one_of(edge, st.just([[3], [4]])), min_size=1, max_size=5))
    question = st.tuples(st.sampled_from([0, 1, 2, 3]), st.sampled_from([[3], [4], [1, 3]]), st.just([4]))
    questions = data.draw(st.lists(question, max_size=3))
    tokens = join(config, ([(a, b) for a, b in edges], questions))
    assert_same_verdicts(config, [tokens, tokens[1:], tokens[:-1], [*tokens, 9001], []])


def test_every_graph_of_three_nodes_is_judged_alike() -> None:
    """All 3^6 lists of three edges over three names; 12 are cycles (two cycles, 3! orders)."""
    config = check({"N": 3, "K": 1, "M": 1, "mini_vocab": 3, "max_tlen": 1})
    names = ([4], [5], [6])
    rows = []
    for code in range(3**6):
        ends = [names[code // 3**place % 3] for place in range(6)]
        edges = list(zip(ends[::2], ends[1::2], strict=True))
        rows += [join(config, (edges, [(1, start, answer)])) for start in names for answer in names]
    said = assert_same_verdicts(config, rows)
    assert (said.codes == 0).sum() == 2 * 6 * 3


def test_a_verdict_does_not_depend_on_the_other_rows() -> None:
    """A row's verdict is its own: alone, after damaged rows, in a slice of a batch."""
    config, batch = make(VARIED["depo2 words"], 40, seed=105)
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
    config, batch = make(VARIED["default words"], 30, seed=106)
    for start in range(30):
        assert validate(batch.slice(start, 7), config).all_valid


def test_another_config_is_noticed() -> None:
    """Examples are valid for their config only."""
    config, batch = make({"N": 9, "K": 8}, 200, seed=107)
    tokens = batch.select(["input_ids"])
    for other in (
        {"N": 8},
        {"K": 7},
        {"M": 5},
        {"qa": True},
        {"min_tlen": 2},
        {"max_tlen": 1},
        {"fixed_k": 2},
    ):
        assert not validate(tokens, check({"N": 9, "K": 8, **other})).all_valid, other
    for other in ({"separator": True}, {"bos_token_id": 9999}, {"answer_token_id": 9501}, {"mini_vocab": 49}):
        assert not validate(tokens, check({"N": 9, "K": 8, **other})).all_valid, other
    assert validate(tokens, config).all_valid


# ---- damaged metadata


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


def damaged_lists(values: list[int]) -> Iterator[list[int]]:
    """Every value changed by one, left out, or doubled; one more at the end; none at all."""
    for place, value in enumerate(values):
        yield [*values[:place], value + 1, *values[place + 1 :]]
        if value > 0:
            yield [*values[:place], value - 1, *values[place + 1 :]]
        yield values[:place] + values[place + 1 :]
        yield [*values[:place], value, *values[place:]]
    yield [*values, 0]
    yield []


@pytest.mark.parametrize("column", [*METADATA, "n"])
def test_damaged_metadata_is_caught_in_its_row(column: str) -> None:
    """Every small change of the mask, the hops or a span of one row of four; only that row is invalid."""
    config, batch = make(VARIED["separator"], 4, seed=108)
    given = batch[column].to_pylist()
    for row in range(4):
        near = iter((-1, 0, given[row] - 1, given[row] + 1)) if column == "n" else damaged_lists(given[row])
        for value in near:
            said = validate(replaced(batch, column, [*given[:row], value, *given[row + 1 :]]), config)
            assert np.flatnonzero(said.codes).tolist() == [row], (column, row, value)
            assert MESSAGES[said.codes[row]].startswith((column, "n is not")) or column.startswith("answer")


def test_a_mask_with_the_right_sum_in_the_wrong_place_is_caught() -> None:
    """Moved ones, a 2 beside a 0, and 256 ones too many (a sum that would wrap in 8 bits)."""
    config, batch = make({"N": 225, "qa": True}, 2, seed=109)
    good = batch["loss_mask"].to_pylist()
    ones = [place for place, bit in enumerate(good[0]) if bit]
    zeros = [place for place, bit in enumerate(good[0]) if not bit]
    for change in (
        {ones[0]: 0, zeros[0]: 1},
        {ones[0]: 2, ones[1]: 0},
        {ones[-1]: 0, zeros[-1]: 1},
        {zeros[3]: 255, zeros[5]: 1},
        {zeros[0]: 2},
        {zeros[7]: 128, zeros[9]: 128},
        dict.fromkeys(zeros[:256], 1),
    ):
        mask = [change.get(place, bit) for place, bit in enumerate(good[0])]
        said = validate(replaced(batch, "loss_mask", [mask, good[1]]), config)
        assert said.codes.tolist() == [MASK_CODE, 0]


def test_metadata_is_judged_alike() -> None:
    """A random change of one column, or of tokens, through the one-example API: the judge's verdict."""
    config = check(VARIED["more questions than nodes"])
    draw = random.Random(110)
    agreed = {True: 0, False: 0}
    for index in range(150):
        example = generate_depo_example(config, seed=110, index=index)
        column = draw.choice([*METADATA, "n", "labels", "input_ids", None])
        if column == "n":
            example["n"] += draw.choice((-1, 0, 1))
        elif column is not None:
            example[column][draw.randrange(len(example[column]))] += draw.choice((0, 1))
        if draw.random() < 0.3:
            del example[draw.choice([*METADATA, "n", "labels"])]
        metadata = {name: value for name, value in example.items() if name != "input_ids"}
        expected = judge(config, example["input_ids"], **metadata)
        assert bool(validate_depo_example(example, config)) == expected, (column, example)
        agreed[expected] += 1
    assert min(agreed.values()) > 20


def test_labels_are_checked() -> None:
    """Each label, with and without the mask beside it."""
    config = {"N": 5}
    example = generate_depo_example(config, seed=111)
    bare = {"input_ids": example["input_ids"], "labels": example["labels"]}
    for whole in (example, bare):
        assert validate_depo_example(whole, config)
        for place, label in enumerate(example["labels"]):
            for wrong in (example["input_ids"][place] if label == -100 else -100, 0, label + 1):
                labels = [*example["labels"][:place], wrong, *example["labels"][place + 1 :]]
                if labels != example["labels"]:
                    assert not validate_depo_example({**whole, "labels": labels}, config)


# ---- the results


def test_a_verdict_says_where_and_why() -> None:
    config, batch = make({"N": 5}, 3)
    tokens = [row.tolist() for row in lists(batch["input_ids"])]
    edges, questions = split(config, tokens[1])
    hop, start, answer = questions[0]
    questions[0] = (hop, start, start if answer != start else edges[0][0])
    said = verdicts(config, [tokens[0], join(config, (edges, questions)), tokens[2]])
    assert not said.all_valid
    assert [bool(said[row]) for row in range(3)] == [True, False, True]
    row, result = said.first_invalid()
    assert row == 1
    assert "answer" in str(result)
    assert f"at token {said.positions[1]}" in str(result)
    assert str(said[0]) == "valid"
    assert said[0].reason == ""


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
    *({"input_ids": value} for value in ([2**31], [-(2**31) - 1], [2**63], [-1, 2**63], [2**200], [0])),
    *({"input_ids": value} for value in (np.zeros((2, 2), int), np.zeros(3), np.array(0), [-1], [9000])),
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
    np.zeros((2, 2)),
]


@pytest.mark.parametrize("example", MALFORMED, ids=lambda example: str(example)[:40])
def test_what_is_no_example_is_invalid_with_a_reason(example: Any) -> None:
    """Never an exception, whatever comes in."""
    result = validate_depo_example(example, {"N": 5})
    assert not result
    assert result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize("column", [*METADATA, "n", "index", "labels"])
@pytest.mark.parametrize("value", BAD_COLUMNS, ids=lambda value: str(value)[:40])
def test_malformed_columns_are_invalid_with_a_reason(column: str, value: Any) -> None:
    example = generate_depo_example({"N": 5}, seed=0)
    result = validate_depo_example({**example, column: value}, {"N": 5})
    assert not result
    assert result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint64, ">i4"])
def test_arrays_are_as_good_as_lists(dtype: Any) -> None:
    """NumPy arrays of any integer type."""
    example = generate_depo_example({"N": 5}, seed=0)
    arrays = {name: np.array(example[name], dtype) for name in ("input_ids", "loss_mask", "query_hops")}
    assert validate_depo_example({**example, **arrays}, {"N": 5})
    arrays["input_ids"][-1] -= 1
    assert not validate_depo_example({**example, **arrays}, {"N": 5})


def test_one_compiled_kernel_serves_every_batch() -> None:
    """Any subset of columns, a slice, buffers from IPC: a further signature would take seconds to compile."""
    config, batch = make({"N": 5}, 5)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    for part in (batch, batch.slice(2), read, batch.select(["input_ids"]), batch.select(["input_ids", "n"])):
        assert validate(part, config).all_valid
    assert len(_validate.signatures) == 1
