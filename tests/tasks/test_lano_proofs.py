"""Promise 3 in a build of Lano: a derivation is believed where these very tokens are its leaves.

`told_by` of the oracle says what a derivation tells; the judge parses by CYK.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts.kinds import Config, batch_of, lists
from facts.lano import FACTS, PRESETS, VARIED, key_of
from mutants.lano import damage_derivation, damage_spans
from oracles.lano import numbered, of_config, told_by
from oracles.lano_cyk import cyk

from ostraca.tasks.base import Verdicts
from ostraca.tasks.lano.config import tokens
from ostraca.tasks.lano.derived import DERIVED_MESSAGES, _check_derived, _law_of, check_derived
from ostraca.tasks.lano.generate import derive
from ostraca.tasks.lano.grammar import Derivations, grammar_of
from ostraca.tasks.lano.validate import MESSAGES, validate

REFUSED = len(MESSAGES)


def derivations(rows: list[list[int]]) -> Derivations:
    """Derivations written by hand."""
    offsets = np.cumsum([0, *map(len, rows)])
    numbers = np.array([number for row in rows for number in row], np.uint16)
    return Derivations(rules=numbers, offsets=offsets.astype(np.int64))


def written(proof: Derivations) -> list[list[int]]:
    """And read."""
    return [proof.rules[a:b].tolist() for a, b in zip(proof.offsets[:-1], proof.offsets[1:], strict=True)]


def framed(config: Config, sentence: list[int]) -> list[int]:
    """The sentence as an example."""
    return [config["bos_token_id"]] * config["bos"] + sentence + [config["eos_token_id"]] * config["eos"]


def verdicts(config: Config, rows: list[list[int]], proofs: list[list[int]]) -> Verdicts:
    """What is said of tokens and proofs."""
    return check_derived(batch_of(rows), derivations(proofs), config)


def made(given: Config, rows: int) -> tuple[dict[str, Any], list[list[int]], list[list[int]]]:
    """The complete config, sentences and their derivations."""
    config = FACTS.complete(given)
    batch, proof = derive(config, key_of(config), np.arange(rows, dtype=np.int64))
    bos, eos = int(config["bos"]), int(config["eos"])
    sentences = [row[bos : len(row) - eos].tolist() for row in lists(batch["input_ids"])]
    return config, sentences, written(proof)


def test_the_messages_are_the_validators_and_one_more() -> None:
    assert DERIVED_MESSAGES[:-1] == MESSAGES
    assert "derivation" in DERIVED_MESSAGES[-1]


@pytest.mark.parametrize("name", VARIED)
def test_a_derivation_is_what_it_says(name: str) -> None:
    """The oracle derives the sentence again from the numbers of its rules."""
    config, sentences, proofs = made(VARIED[name], 100)
    rules = of_config(config)
    for sentence, proof in zip(sentences, proofs, strict=True):
        assert told_by(rules, proof) == sentence


@pytest.mark.parametrize("name", VARIED)
def test_any_tokens_with_any_proof_are_judged_as_the_law_says(name: str) -> None:
    """Thousands of pairs, true, nearly true and wild: accepted just where the proof tells these tokens."""
    config, sentences, proofs = made(VARIED[name], 60)
    rules, draw = of_config(config), random.Random(5)
    most = len(numbered(rules))
    pool = [*tokens(config), -1, 0, 5, 2**31 - 1, -(2**31)]
    rows, given = [], []
    for _ in range(2500):
        at = draw.randrange(60)
        sentence, proof = sentences[at], proofs[at]
        change = draw.randrange(6)
        if change in (1, 2):  # another derivation, and often what it tells
            proof = damage_derivation(draw, proofs, at, most)
            told = told_by(rules, proof)
            sentence = told if told is not None and draw.random() < 0.8 else sentence
        if change in (2, 3):
            sentence = damage_spans(draw, sentence, pool, edits=1)
        elif change == 4:
            proof = draw.choice(proofs)
        elif change == 5:
            sentence = draw.choice(sentences)
        rows.append(sentence)
        given.append(proof)
    said = verdicts(config, [framed(config, row) for row in rows], given)
    expected = [told_by(rules, proof) == row for row, proof in zip(rows, given, strict=True)]
    assert (said.codes == 0).tolist() == expected
    assert 300 < sum(expected) < 2200
    assert {REFUSED} <= set(said.codes.tolist())
    for row, true in zip(rows, expected, strict=True):
        assert not true or len(row) > 20 or cyk(rules, row)
    assert (validate(batch_of([framed(config, row) for row in rows]), config).codes[expected] == 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_of_the_published_grammars_every_change_is_noticed(preset: str) -> None:
    """Each token made another terminal, each rule another one, with and without what it then tells."""
    config, (sentence, _), (proof, _) = made(PRESETS[preset], 2)
    rules = of_config(config)
    most = len(numbered(rules))
    rows = [
        [*sentence[:at], other, *sentence[at + 1 :]]
        for at, token in enumerate(sentence)
        for other in {1, 2, 3, 0, -1} - {token}
    ]
    said = verdicts(config, [framed(config, row) for row in rows], [proof] * len(rows))
    assert (said.codes == REFUSED).all()
    draw = random.Random(1)
    others = [
        [*proof[:at], draw.choice([*range(most), most, 65535]), *proof[at + 1 :]]
        for at in range(len(proof))
        for _ in range(4)
    ]
    told = [told_by(rules, other) for other in others]
    assert 0 < sum(one is not None for one in told) < len(others)
    for shown in ([sentence] * len(others), [one or sentence for one in told]):
        said = verdicts(config, [framed(config, row) for row in shown], others)
        expected = [one == row for one, row in zip(told, shown, strict=True)]
        assert (said.codes == 0).tolist() == expected


def test_a_proof_is_of_its_own_row() -> None:
    """In another order, cut off, too long, of another batch: only where two rows have the same sentence."""
    config, sentences, proofs = made({"config_name": "cfg3f"}, 40)
    rows = [framed(config, sentence) for sentence in sentences]
    assert verdicts(config, rows, proofs).all_valid
    for step in range(1, 40):
        assert (verdicts(config, rows, proofs[step:] + proofs[:step]).codes == REFUSED).all()
    for cut in range(len(proofs[0])):
        said = verdicts(config, rows[:2], [proofs[0][:cut], proofs[1]])
        assert said.codes.tolist() == [REFUSED, 0]
        said = verdicts(config, rows[:2], [proofs[0] + proofs[1][: cut + 1], proofs[1]])
        assert said.codes.tolist() == [REFUSED, 0]
    for cut in range(1, 8):  # and tokens that end too early or late, at either end of the array
        short = [rows[0][:-cut], rows[1][:-cut]]
        assert (verdicts(config, short, proofs[:2]).codes == REFUSED).all()
        long = [[*row, *[1] * cut] for row in rows[:2]]
        assert (verdicts(config, long, proofs[:2]).codes == REFUSED).all()


def test_frames_and_lengths_are_looked_at_first() -> None:
    config, sentences, proofs = made({"config_name": "cfg3f", "eos": True}, 1)
    rows = [framed(config, sentences[0]), [0, *sentences[0]], [*sentences[0], 4], [0, *[1] * 1000, 4], []]
    assert verdicts(config, rows, proofs * 5).codes.tolist() == [0, 2, 1, 3, 1]


@pytest.mark.parametrize("name", ["eos", "long rules", "one level", "six levels", "far ids"])
def test_offsets_are_not_believed_either(name: str) -> None:
    """Wherever they point; and proofs of another kind or number."""
    config, sentences, proofs = made(VARIED[name], 12)
    batch = batch_of([framed(config, sentence) for sentence in sentences])
    proof = derivations(proofs)
    draw = random.Random(2)
    end = len(proof.rules)
    for _ in range(400):
        offsets = proof.offsets.copy()
        for _ in range(draw.randint(1, 3)):
            wild = (-1, -(2**62), 0, end, end + 1, end - 1, 2**62, draw.randrange(end))
            offsets[draw.randrange(13)] = draw.choice(wild)
        said = check_derived(batch, Derivations(rules=proof.rules, offsets=offsets), config)
        for row in range(12):
            same = (offsets[row : row + 2] == proof.offsets[row : row + 2]).all()
            told = None
            if 0 <= offsets[row] < offsets[row + 1] <= end:
                there = proof.rules[offsets[row] : offsets[row + 1]].tolist()
                told = told_by(of_config(config), there)
            assert (said.codes[row] == 0) == (told == sentences[row])
            assert not same or said.codes[row] == 0
    for odd in (
        Derivations(rules=proof.rules[:0], offsets=proof.offsets),
        Derivations(rules=proof.rules, offsets=proof.offsets[:-1]),
        Derivations(rules=proof.rules, offsets=proof.offsets[:0]),
        Derivations(rules=proof.rules.astype(np.int64), offsets=proof.offsets),
        Derivations(rules=proof.rules.astype(np.int64) - 2**40, offsets=proof.offsets),
    ):
        assert (check_derived(batch, odd, config).codes == REFUSED).all()


class Guarded:
    """An array that can be read at its places alone."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: Any) -> Any:
        for at, size in zip(place if isinstance(place, tuple) else (place,), self.array.shape, strict=False):
            assert 0 <= at < size
        return self.array[place]


@pytest.mark.parametrize("name", ["eos", "long rules", "one level", "shared beginnings"])
def test_nothing_outside_of_the_arrays_is_read(name: str) -> None:
    """The kernel as plain Python, on arrays that watch it: cut proofs and tokens, wild numbers."""
    config, sentences, proofs = made(VARIED[name], 8)
    rules, draw, plain = (
        of_config(config),
        random.Random(3),
        getattr(_check_derived, "py_func", _check_derived),
    )
    law = [Guarded(one) if isinstance(one, np.ndarray) else one for one in _law_of(grammar_of(config))]
    accepted = 0
    for _ in range(300):
        rows = [damage_spans(draw, row, [1, 2]) if draw.random() < 0.4 else row for row in sentences]
        given = [
            damage_derivation(draw, proofs, at, len(numbered(rules))) if draw.random() < 0.4 else proofs[at]
            for at in range(8)
        ]
        proof, ends = derivations(given), np.cumsum([0, *map(len, rows)])
        if draw.random() < 0.3:
            proof = Derivations(rules=proof.rules, offsets=proof.offsets + draw.choice((-3, -1, 1, 9)))
        codes = np.zeros(8, np.int32)
        plain(
            Guarded(proof.rules),
            Guarded(proof.offsets),
            Guarded(np.array([token for row in rows for token in row], np.int32)),
            Guarded(ends[:-1]),
            Guarded(np.diff(ends)),
            *law,
            REFUSED,
            codes,
        )
        accepted += int((codes == 0).sum())
    assert 200 < accepted < 2000


def test_one_compiled_kernel_serves_every_batch() -> None:
    for name in VARIED:
        config, sentences, proofs = made(VARIED[name], 3)
        assert verdicts(config, [framed(config, row) for row in sentences], proofs).all_valid
        batch, proof = derive(config, key_of(config), np.arange(3, dtype=np.int64))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
        assert check_derived(read, proof, config).all_valid
    assert len(_check_derived.signatures) == 1
