"""Promise 3, what is true of Lano only: frames, the longest sentence, and parses that would not end."""

from __future__ import annotations

import numpy as np
import pytest
from facts.kinds import lists
from facts.lano import PRESETS, VARIED, make
from mutants import MUTANTS

import ostraca.tasks.lano.parse
from ostraca.tasks.lano.config import check, tokens
from ostraca.tasks.lano.validate import MESSAGES

BOS, EOS, LONG, WORD = range(1, 5)
verdicts = MUTANTS["lano"].verdicts


def test_messages_are_in_the_order_of_their_codes() -> None:
    words = ["valid", "<bos>", "<eos>", "longest", "not a sentence", "loss_mask", "length is", "ambiguous"]
    assert all(word in message for word, message in zip(words, MESSAGES, strict=True))


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
    assert str(said[1]).startswith("invalid: the tokens are not a sentence of the grammar (at token ")


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
