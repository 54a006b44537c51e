"""Promise 3: the validator accepts every example and nothing else.

What it says of thousands of damaged examples is compared with `oracles.lano_cyk.judge`, a textbook parser.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.kinds import lists
from facts.lano import PRESETS, VARIED, damage, key_of, make
from oracles.lano import of_config
from oracles.lano_cyk import judge

import ostraca.tasks.lano.parse
import ostraca.tasks.lano.validate
from ostraca.tasks.base import Verdicts
from ostraca.tasks.core.batch import ragged
from ostraca.tasks.lano import generate_lano_example, validate_lano_example
from ostraca.tasks.lano.config import check, tokens
from ostraca.tasks.lano.generate import generate
from ostraca.tasks.lano.validate import MESSAGES, validate

BOS, EOS, LONG, WORD, MASK, LENGTH = range(1, 7)


def batch_of(rows: list[list[int]]) -> pa.RecordBatch:
    """A batch with the column input_ids alone."""
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays([ragged(values, offsets)], names=["input_ids"])


def verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    return validate(batch_of(rows), config)


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


def test_messages_are_in_the_order_of_their_codes() -> None:
    words = ["valid", "<bos>", "<eos>", "longest", "no sentence", "loss_mask", "length is", "ambiguous"]
    assert all(word in message for word, message in zip(words, MESSAGES, strict=True))


@pytest.mark.parametrize("name", PRESETS)
def test_a_hundred_thousand_examples_are_valid(name: str) -> None:
    """100,000 examples of cfg3f, the default, and 5,000 of each other grammar."""
    config = check(PRESETS[name])
    key = key_of(config, seed=100)
    rows = 5000
    for first in range(0, 100_000 if name == "lano-cfg3f" else rows, rows):
        batch = generate(config, key, np.arange(first, first + rows, dtype=np.int64))
        assert validate(batch, config).all_valid


@pytest.mark.parametrize("name", VARIED)
def test_examples_of_varied_configs_are_valid_and_judged_so(name: str) -> None:
    config, batch = make(VARIED[name], 300, seed=101)
    assert validate(batch, config).all_valid
    rules = of_config(config)
    for row in batch.slice(0, 60).to_pylist():
        assert len(row["input_ids"]) > 100 or judge(config, rules, row.pop("input_ids"), **row)


def test_damaged_examples_are_judged_alike_and_every_reason_occurs() -> None:
    """250 edits of every varied config's tokens; each verdict equals the judge's, both ways."""
    reasons: set[int] = set()
    valid = 0
    for number, varied in enumerate(VARIED.values()):
        draw = random.Random(number)
        config, batch = make(varied, 60, seed=102)
        rules = of_config(config)
        pool = [*tokens(config), -1, 0, 5, 2**31 - 1, -(2**31)]
        originals = [row.tolist() for row in lists(batch["input_ids"]) if len(row) <= 45]
        mutants = [damage(draw, draw.choice(originals), pool) for _ in range(250)]
        mutants = [mutant for mutant in mutants if len(mutant) <= 60]
        said = verdicts(config, mutants)
        for row, mutant in enumerate(mutants):
            assert bool(said[row]) == judge(config, rules, mutant), f"{said[row]}: {mutant}"
            assert 0 <= said.positions[row] <= len(mutant)
        reasons |= set(said.codes.tolist())
        valid += int((said.codes == 0).sum())
    assert reasons == {0, BOS, EOS, LONG, WORD}
    assert valid > 300


@pytest.mark.parametrize("name", ["lano-cfg3b", "lano-cfg3k"])
def test_every_token_of_a_whole_example_is_looked_at(name: str) -> None:
    """An id that is no terminal, at every place; a terminal more or less at the ends."""
    config, batch = make(PRESETS[name], 1, seed=103)
    (row,) = (row.tolist() for row in lists(batch["input_ids"]))
    for other in (0, 4, -1, 2**31 - 1):
        mutants = [[*row[:at], other, *row[at + 1 :]] for at in range(1, len(row))]
        said = verdicts(config, mutants)
        assert (said.codes == WORD).all()
        assert (said.positions <= np.arange(1, len(row))).all()
    assert verdicts(config, [row[:-1], row[1:], [0, *row], [*row, 4], []]).codes.tolist() == [
        WORD,
        BOS,
        WORD,
        WORD,
        BOS,
    ]


def test_a_verdict_says_where_and_why() -> None:
    config, batch = make({"config_name": "cfg3b"}, 3)
    rows = [row.tolist() for row in lists(batch["input_ids"])]
    said = verdicts(config, [rows[0], [*rows[1][:100], 9, *rows[1][101:]], [1] * 1000, [0] * 1000])
    assert [bool(said[row]) for row in range(4)] == [True, False, False, False]
    assert said.codes.tolist() == [0, WORD, BOS, LONG]
    assert 90 < said.positions[1] <= 100
    assert said.positions[2:].tolist() == [0, 433]
    assert str(said[1]).startswith("invalid: the tokens are no sentence of the grammar (at token ")


def test_frames_are_judged_by_config() -> None:
    """<bos> and <eos> must stand where the config has them, and nowhere else."""
    plain = make({"grammar": "4 -> 1 2\n"}, 1)[1]["input_ids"].to_pylist()[0][1:]
    assert plain == [1, 2]
    for bos in (True, False):
        for eos in (True, False):
            config = check({"grammar": "4 -> 1 2\n", "bos": bos, "eos": eos})
            rows = [[1, 2], [0, 1, 2], [1, 2, 4], [0, 1, 2, 4], [0], [4], [0, 4], [4, 1, 2, 0], []]
            good = [0] * bos + [1, 2] + [4] * eos
            assert [bool(verdicts(config, [row])[0]) for row in rows] == [row == good for row in rows]


def test_a_verdict_does_not_depend_on_the_other_rows() -> None:
    """A row's verdict is its own: alone, after damaged rows, in a slice of a batch."""
    config, batch = make(VARIED["shared beginnings"], 40, seed=105)
    draw = random.Random(0)
    rows = [damage(draw, row.tolist(), [1, 2, 9], 2) for row in lists(batch["input_ids"])]
    together = verdicts(config, rows)
    alone = [verdicts(config, [row]) for row in rows]
    assert together.codes.tolist() == [int(one.codes[0]) for one in alone]
    assert together.positions.tolist() == [int(one.positions[0]) for one in alone]
    assert len(set(together.codes.tolist())) > 2
    sliced = validate(batch_of(rows).slice(11, 13), config)
    assert sliced.codes.tolist() == together.codes[11:24].tolist()
    for start in range(30):
        assert validate(batch.slice(start, 7), config).all_valid


@pytest.mark.parametrize("name", ["eos", "bare", "ambiguous"])
def test_damaged_metadata_is_caught_in_its_row(name: str) -> None:
    config, batch = make(VARIED[name], 4, seed=108)
    masks, lengths = batch["loss_mask"].to_pylist(), batch["length"].to_pylist()
    for row in range(4):
        wrong = [[*masks[row], 1], masks[row][1:], [], *([0] * len(masks[row]), [2] * len(masks[row]))]
        wrong += [
            [bit if at != place else 0 for at, bit in enumerate(masks[row])]
            for place in range(len(masks[row]))
        ]
        for mask in wrong:
            said = validate(replaced(batch, "loss_mask", [*masks[:row], mask, *masks[row + 1 :]]), config)
            assert said.codes.tolist() == [MASK if at == row else 0 for at in range(4)]
        for length in (-1, 0, lengths[row] - 1, lengths[row] + 1, 2**31 - 1):
            said = validate(replaced(batch, "length", [*lengths[:row], length, *lengths[row + 1 :]]), config)
            assert said.codes.tolist() == [LENGTH if at == row else 0 for at in range(4)]


def test_any_rows_get_a_verdict() -> None:
    """Random ids of all sizes, rows far longer than any sentence, no rows at all."""
    generator = np.random.default_rng(0)
    for name in ("eos", "far ids", "no choice"):
        config = check(VARIED[name])
        pool = np.array([*tokens(config), -1, -(2**31), 2**31 - 1, 0, 77])
        rows = [generator.choice(pool, size).tolist() for size in generator.integers(0, 30, 2000)]
        rows += [generator.choice(pool, 200_000).tolist()]
        said = verdicts(config, rows)
        assert ((said.positions >= 0) & (said.positions <= [len(row) for row in rows])).all()
        assert verdicts(config, []).all_valid


def test_another_config_is_noticed() -> None:
    config, batch = make({"config_name": "cfg3f"}, 50)
    bare = batch.select(["input_ids"])
    assert validate(bare, config).all_valid
    for other in ({"config_name": "cfg3b"}, {"eos": True}, {"bos": False}, {"bos_token_id": 9}):
        assert (validate(bare, check({"config_name": "cfg3f", **other})).codes > 0).all()


MALFORMED: list[Any] = [
    None,
    5,
    {},
    *(
        {"input_ids": value}
        for value in (None, 5, "abc", [], [[]], [1.5], [True], [None], [2**31], [-(2**63)])
    ),
]


@pytest.mark.parametrize("example", MALFORMED, ids=lambda example: str(example)[:40])
def test_what_is_no_example_is_invalid_with_a_reason(example: Any) -> None:
    result = validate_lano_example(example, None)
    assert not result
    assert result.reason
    assert "\n" not in result.reason


def test_labels_are_checked() -> None:
    example = generate_lano_example({"config_name": "cfg3b"}, seed=111)
    assert validate_lano_example(example, {"config_name": "cfg3b"})
    for place in (0, 7, len(example["labels"]) - 1):
        labels = [*example["labels"][:place], -100, *example["labels"][place + 1 :]]
        assert not validate_lano_example({**example, "labels": labels}, {"config_name": "cfg3b"})


def test_a_sentence_too_ambiguous_to_parse_gets_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its work or for its room; the rows around it are judged all the same."""
    text = "\n".join(f"{k} -> {k - 1} | {k - 1} {k - 1}" for k in range(12, 0, -1))
    config = check({"grammar": text, "bos": False})
    rows = [[0] * length for length in (3, 3000, 4096, 5000, 7)]
    for name, value in (("_PATIENCE", 1 << 22), ("_PATIENT_ROOM", 1 << 10)):
        with monkeypatch.context() as patch:
            patch.setattr(ostraca.tasks.lano.parse, name, value)
            said = verdicts(config, rows)
        assert said.codes.tolist() == [0, 7, 7, LONG, 0]
        assert said.messages[7].startswith("too ambiguous to parse")
