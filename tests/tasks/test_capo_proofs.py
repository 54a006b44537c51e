"""Promise 3 in a build of Capo: an outline is believed where this very text is what it makes of the person.

`told_by` of the oracle says what an outline makes; a text of it is a biography by construction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capo_tokenizers import ALL, save
from facts.capo import DEFAULT_SMALL, FACTS, SMALL, VARIED
from facts.kinds import Config, batch_of
from mutants.capo import WORLDS, damage_letters, damage_outline, text_batch
from oracles.capo import SENTENCES, person, templates, told_by, written

from ostraca.tasks.base import Verdicts
from ostraca.tasks.capo.config import encoder_of, tokenizer_of
from ostraca.tasks.capo.generate import outlined, schema
from ostraca.tasks.capo.outline import OUTLINED_MESSAGES, _check_outlines, check_outlined
from ostraca.tasks.capo.validate import MESSAGES, validate

REFUSED = len(MESSAGES)
Ids = list[int]


def made(given: Config, rows: int, seed: int = 0) -> tuple[dict[str, Any], pa.RecordBatch, list[Ids]]:
    """The complete config, examples and their outlines."""
    config = FACTS.complete(given, seed)
    batch, proof = outlined(config, FACTS.key_of(config, seed), np.arange(rows, dtype=np.int64))
    return config, batch, proof.tolist()


def verdicts(config: Config, texts: Sequence[str], people: Ids, outlines: Sequence[Ids]) -> Verdicts:
    """What is said of texts (as tokens, where the config has them) about these people."""
    beside = {"person": people, "population": [config["population_seed"]] * len(texts)}
    if config["bio"] == "text":
        batch = text_batch(texts, **beside)
    else:
        loaded = tokenizer_of(config)
        end = [loaded.end] if config["eos"] else []
        batch = batch_of([[*loaded.encode(text).ids, *end] for text in texts])
        for name, values in beside.items():
            batch = batch.append_column(name, pa.array(values, pa.int64()))
    return check_outlined(batch, np.array(outlines, np.int32).reshape(-1, 6), config)


def test_the_messages_are_the_validators_and_one_more() -> None:
    assert OUTLINED_MESSAGES[:-1] == MESSAGES
    assert "outline" in OUTLINED_MESSAGES[-1]


@pytest.mark.parametrize("name", VARIED)
def test_an_outline_is_what_it_says(name: str) -> None:
    """The oracle writes the text again from the numbers of its templates."""
    config, batch, outlines = made({**VARIED[name], "bio": "text"}, 60)
    for row, outline in zip(batch.to_pylist(), outlines, strict=True):
        assert told_by(config, outline, row["person"]) == row["text"]


@pytest.mark.parametrize("bio", ["text", "tokens"])
@pytest.mark.parametrize("world", WORLDS)
def test_any_text_with_any_outline_is_judged_as_the_law_says(world: str, bio: str) -> None:
    """Thousands of pairs, true, nearly true and wild: accepted just where the outline makes this text."""
    config, batch, outlines = made({**WORLDS[world], "bio": "text"}, 60)
    rows, draw = batch.to_pylist(), random.Random(6)
    most = max(map(max, outlines)) + 1
    texts, people, given = [], [], []

    @cache
    def told(outline: tuple[int, ...], number: int) -> str | None:
        return told_by(config, outline, number)

    for _ in range(2000):
        at, other = draw.randrange(60), draw.randrange(60)
        text, number, outline = rows[at]["text"], rows[at]["person"], outlines[at]
        change = draw.randrange(7)
        if change in (1, 2):  # another outline, and often the text of it
            outline = damage_outline(draw, outlines, at, most)
            new = told(tuple(outline), number)
            text = new if new is not None and draw.random() < 0.8 else text
        if change in (2, 3):
            text = damage_letters(draw, text)
        elif change == 4:
            outline = outlines[other]
        elif change == 5:
            number = draw.choice((rows[other]["person"], -1, config["num_people"], 2**62))
        elif change == 6:
            text = rows[other]["text"]
        texts.append(text)
        people.append(number)
        given.append(outline)
    said = verdicts({**config, "bio": bio}, texts, people, given)
    expected = [
        told(tuple(outline), number) == text
        for text, number, outline in zip(texts, people, given, strict=True)
    ]
    assert (said.codes == 0).tolist() == expected
    assert 200 < sum(expected) < 1800
    assert {REFUSED} <= set(said.codes.tolist())
    true = np.flatnonzero(expected)
    columns = {"person": np.array(people)[true], "population": [config["population_seed"]] * len(true)}
    assert validate(text_batch([texts[row] for row in true], **columns), config).all_valid


@pytest.mark.parametrize("given", [DEFAULT_SMALL, SMALL], ids=["default lists", "own world"])
def test_every_change_of_a_token_is_noticed(given: Config) -> None:
    """Each token in turn made another, left out or doubled; ends that are missing, doubled, or elsewhere."""
    config, batch, outlines = made(given, 3)
    draw = random.Random(4)
    size = tokenizer_of(config).backend.get_vocab_size()
    for row, outline in zip(batch.to_pylist(), outlines, strict=True):
        ids = row["input_ids"]
        rows = [ids, [], ids[:-1], [*ids, ids[-1]], ids[1:], ids * 20]
        for at, token in enumerate(ids):
            rows += [ids[:at] + ids[at + 1 :], ids[: at + 1] + ids[at:]]
            rows += [
                [*ids[:at], other, *ids[at + 1 :]]
                for other in {-1, 0, size, 2**31 - 1, -(2**31), draw.randrange(size)} - {token}
            ]
        rows = [one for one in rows if one != ids or one is ids]
        damaged = batch_of(rows)
        for name in ("person", "population"):
            damaged = damaged.append_column(name, pa.array([row[name]] * len(rows)))
        said = check_outlined(damaged, np.array([outline] * len(rows), np.int32), config)
        assert said.codes[0] == 0
        assert (said.codes[1:] > 0).all()


@pytest.mark.parametrize("world", WORLDS)
def test_texts_of_outlines_that_are_none_are_refused(world: str) -> None:
    """The very text that they make: a sentence told twice in another's place, or out of order."""
    config, batch, outlines = made({**WORLDS[world], "bio": "text"}, 40)
    people = batch["person"].to_pylist()
    known = [(name, template) for name in SENTENCES for template in templates(config, name)]
    others = []
    for row, outline in enumerate(outlines):
        one, other = row % 6, (row // 6 + row + 1) % 6
        twice = list(outline)
        twice[one] = twice[other]
        others.append(twice if one != other else outline[::-1])
    texts = [
        written(person(config, number), [known[template] for template in outline])[0]
        for number, outline in zip(people, others, strict=True)
    ]
    said = verdicts(config, texts, people, others)
    expected = [
        told_by(config, outline, number) is not None for number, outline in zip(people, others, strict=True)
    ]
    assert (said.codes == 0).tolist() == expected
    assert sum(expected) < 20


def test_an_outline_is_of_its_own_row() -> None:
    """In another order, of another kind, of another number of rows."""
    config, batch, outlines = made(DEFAULT_SMALL, 40)
    proof = np.array(outlines, np.int32)
    assert check_outlined(batch, proof, config).all_valid
    assert check_outlined(batch, np.asfortranarray(proof), config).all_valid
    for step in range(1, 40):
        assert (check_outlined(batch, np.roll(proof, step, axis=0), config).codes == REFUSED).all()
    for place in range(6):
        for number in (-1, -(2**31), 2**31 - 1, proof.max() + 300, *proof[0]):
            other = proof.copy()
            other[0, place] = number
            codes = check_outlined(batch, other, config).codes
            assert (codes[0] == 0) == (number == proof[0, place])
            assert not codes[1:].any()
    odd = [proof[:-1], proof[:0], proof[:, :5], proof.astype(np.int64), proof[:, 0], proof[:, :, None]]
    for wrong in odd:
        assert (check_outlined(batch, wrong, config).codes == REFUSED).all()


def test_a_text_that_can_be_read_in_two_ways_is_held_to_its_outline() -> None:
    """The city of birth and of work in one template: the spans must be as the outline has them."""
    config, batch, outlines = made(WORLDS["own world"], 200, seed=4)
    swapped = batch.to_pylist()
    for row in swapped:
        for name in ("value_starts", "value_ends"):
            row[name][2], row[name][6] = row[name][6], row[name][2]
    other = pa.RecordBatch.from_pylist(swapped, schema=schema(config))
    proof = np.array(outlines, np.int32)
    assert check_outlined(batch, proof, config).all_valid
    assert (check_outlined(other, proof, config).codes == MESSAGES.index(MESSAGES[13])).all()
    assert MESSAGES[13].startswith("value_starts")
    assert (validate(other, config).codes == 0).any()


def test_populations_of_one_batch_may_differ() -> None:
    seeds = [0, 5, 2**63 - 1]
    parts = [made({**DEFAULT_SMALL, "bio": "text"}, 5, seed) for seed in seeds]
    rows = [row for _, batch, _ in parts for row in batch.to_pylist()]
    proof = np.array([outline for *_, outlines in parts for outline in outlines], np.int32)
    config = FACTS.task.check({**DEFAULT_SMALL, "bio": "text"})
    mixed = pa.RecordBatch.from_pylist(rows, schema=schema(config))
    assert check_outlined(mixed, proof, config).all_valid
    said = check_outlined(mixed, proof, FACTS.complete(config, 5))
    assert (said.codes == 0).tolist() == [seed == 5 for seed in seeds for _ in range(5)]
    none = mixed.drop_columns(["person"])  # nobody is named: the validator reads the name
    assert check_outlined(none, proof, config).all_valid
    assert (check_outlined(none.drop_columns(["population"]), proof, config).codes > 0).all()


@pytest.mark.parametrize("name", ["llama 3", "WordPiece", "Unigram", "whole texts"])
def test_every_kind_of_tokenizer(tmp_path: Path, name: str) -> None:
    """Of whole texts, outlines prove nothing, and the validator is asked."""
    given = {**DEFAULT_SMALL, "tokenizer_name_or_path": save(ALL[name](), tmp_path)}
    config, batch, outlines = made(given, 8, seed=5)
    whole = bool(encoder_of(config).why_whole)
    assert whole == (name == "whole texts")
    proof = np.array(outlines, np.int32)
    assert check_outlined(batch, proof, config).all_valid
    assert check_outlined(batch, proof[::-1].copy(), config).all_valid == whole
    rows = batch["input_ids"].to_pylist()
    for at in range(0, min(map(len, rows)) - 1, 3):
        damaged = [[*row[:at], row[at] + 1, *row[at + 1 :]] for row in rows]
        other = batch.set_column(0, batch.schema.field(0), pa.array(damaged, batch.schema.field(0).type))
        assert (check_outlined(other, proof, config).codes > 0).all()


class Guarded:
    """An array that can be read and written at its places alone."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.shape = array, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def _looked_at(self, place: Any) -> Any:
        places = place if isinstance(place, tuple) else (place,)
        assert len(places) == len(self.shape)
        assert all(0 <= at < size for at, size in zip(places, self.shape, strict=True))
        return place

    def __getitem__(self, place: Any) -> Any:
        return self.array[self._looked_at(place)]

    def __setitem__(self, place: Any, value: Any) -> None:
        self.array[self._looked_at(place)] = value


def test_nothing_outside_of_the_arrays_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel as plain Python, on arrays that watch it: outlines and texts of all kinds."""
    plain = getattr(_check_outlines, "py_func", _check_outlines)

    def watched(*given: Any) -> None:
        plain(*(Guarded(one) if isinstance(one, np.ndarray) else one for one in given))

    monkeypatch.setattr("ostraca.tasks.capo.outline._check_outlines", watched)
    config, batch, outlines = made(WORLDS["own world"], 30)
    texts, people, draw = batch["text"].to_pylist(), batch["person"].to_pylist(), random.Random(8)
    accepted = 0
    for _ in range(12):
        given = [
            damage_outline(draw, outlines, at, 18) if draw.random() < 0.5 else outlines[at]
            for at in range(30)
        ]
        seen = [damage_letters(draw, text) if draw.random() < 0.3 else text for text in texts]
        seen[draw.randrange(30)] *= draw.choice((0, 2, 5))
        accepted += int((verdicts(config, seen, people, given).codes == 0).sum())
    assert 80 < accepted < 330


def test_one_compiled_kernel_serves_texts_and_one_tokens() -> None:
    for name in VARIED:
        for bio in ("text", "tokens"):
            config, batch, outlines = made({**VARIED[name], "bio": bio}, 3)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
            few = batch.select([batch.schema.names[0], "person", "population"])
            for part in (batch, read, few):
                assert check_outlined(part, np.array(outlines, np.int32), config).all_valid
    assert len(_check_outlines.signatures) == 2
