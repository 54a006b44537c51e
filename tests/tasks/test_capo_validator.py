"""Promise 3: the validator accepts every biography and nothing else.

What it says of thousands of damaged ones is compared with `oracles.capo.judge`, which was written from the
description alone.
"""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capo_mutants import damage_letters, retell
from capo_tokenizers import ALL, LOSSY, save
from facts.capo import DEFAULT_SMALL, FIELDS, SMALL, TEMPLATES, VARIED, made
from facts.kinds import lists
from oracles.capo import judge, person

from ostraca.tasks.base import Verdicts
from ostraca.tasks.capo import TASK, check, generate_capo_example, validate_capo_example
from ostraca.tasks.capo.config import encoder_of, tokenizer_of
from ostraca.tasks.capo.generate import schema
from ostraca.tasks.capo.parse import _find_names, _read_rows
from ostraca.tasks.capo.validate import MESSAGES, validate
from ostraca.tasks.core.batch import ragged, texts
from ostraca.tasks.core.tokenizer import read_back
from ostraca.tasks.examples import complete_config

WORLDS: dict[str, dict[str, Any]] = {
    "own world": SMALL,
    "own world, fixed order": {**SMALL, "order": False},
    "own world, reverse_md": {**SMALL, "reverse_md": True, "num_people": 33},
    "default lists": DEFAULT_SMALL,
}


def text_batch(rows: list[str], **columns: Any) -> pa.RecordBatch:
    """A batch of texts and further columns."""
    encoded = [row.encode() for row in rows]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    arrays = [texts(np.frombuffer(b"".join(encoded), np.uint8), offsets), *map(pa.array, columns.values())]
    return pa.RecordBatch.from_arrays(arrays, names=["text", *columns])


def token_batch(rows: list[list[int]], **columns: Any) -> pa.RecordBatch:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays(
        [ragged(values, offsets), *map(pa.array, columns.values())], names=["input_ids", *columns]
    )


@lru_cache(maxsize=8)
def world(name: str, bio: str = "text") -> tuple[dict[str, Any], dict[str, int]]:
    """A complete config, and everybody's number by name."""
    config = complete_config(TASK, {**WORLDS[name], "bio": bio}, 4)
    people = {person(config, number)["name"]: number for number in range(config["num_people"])}
    return config, people


@pytest.mark.parametrize("name", VARIED)
@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_all_examples_are_valid(name: str, bio: str) -> None:
    """With and without their columns, whatever seed the config has."""
    config, batch = made({**VARIED[name], "bio": bio}, 4000, seed=11)
    assert validate(batch, config).all_valid
    bare = batch.select([batch.schema.names[0]])
    assert validate(bare, config).all_valid
    assert validate(batch, check({**VARIED[name], "bio": bio})).all_valid  # the column has the seed


@pytest.mark.parametrize("size", [50_000, 2_000_000])
def test_100_000_examples_of_a_preset_are_valid(size: int) -> None:
    for start in range(0, 100_000, 20_000):
        config, batch = made({"num_people": size}, np.arange(start, start + 20_000))
        assert validate(batch, config).all_valid


def mutants_of(name: str, rows: int, seed: int) -> list[str]:
    config, _ = world(name)
    draw = random.Random(seed)
    _, batch = made(config, 40, seed=4)
    originals = batch["text"].to_pylist()
    found = [damage_letters(draw, draw.choice(originals)) for _ in range(rows // 2)]
    return found + [retell(draw, config, draw.randrange(config["num_people"])) for _ in range(rows // 2)]


@pytest.mark.parametrize("name", WORLDS)
def test_damaged_texts_are_judged_alike(name: str) -> None:
    """Hundreds of edits of letters and of retellings for each world; each verdict equals the judge's."""
    config, people = world(name)
    mutants = mutants_of(name, 500 if name == "default lists" else 1200, 5)
    said = validate(text_batch(mutants), config)
    valid = 0
    for row, text in enumerate(mutants):
        expected = judge(config, {"text": text}, people)
        assert bool(said[row]) == expected, f"{said[row]}, the judge says {expected}: {text}"
        assert 0 <= said.positions[row] <= len(text.encode())
        valid += expected
    assert 0.08 < valid / len(mutants) < 0.92


@pytest.mark.parametrize("name", ["own world", "default lists"])
def test_damaged_texts_are_judged_alike_as_tokens(name: str) -> None:
    """Encoded by the library: valid exactly where the text is; and so with an end in the wrong place."""
    config, _ = world(name, "tokens")
    as_text, _ = world(name)
    loaded = tokenizer_of(config)
    mutants = mutants_of(name, 600, 6)
    rows = [[*loaded.encode(text).ids, loaded.end] for text in mutants]
    said = validate(token_batch(rows), config)
    same = validate(text_batch(mutants), as_text)
    assert (said.codes == 0).tolist() == (same.codes == 0).tolist()
    valid = [row for row, code in zip(rows, said.codes.tolist(), strict=True) if code == 0]
    assert len(valid) > 50
    for change in (
        lambda row: row[:-1],
        lambda row: [*row, row[-1]],
        lambda row: row[1:],
        lambda row: [row[-1], *row],
    ):
        assert not (validate(token_batch([change(row) for row in valid]), config).codes == 0).any()


def test_every_single_token_replaced_dropped_or_doubled_is_noticed() -> None:
    """Unless another word is as true there: then the judge says so too."""
    config, batch = made(DEFAULT_SMALL, 4, seed=2)
    as_text = {**config, "bio": "text"}
    people = {person(config, number)["name"]: number for number in range(config["num_people"])}
    backend = tokenizer_of(config).backend
    vocabulary = backend.get_vocab_size()
    draw = random.Random(1)
    for row in lists(batch["input_ids"]):
        ids = row.tolist()
        mutants = []
        for at in range(len(ids)):
            mutants += [ids[:at] + ids[at + 1 :], ids[: at + 1] + ids[at:]]
            mutants += [[*ids[:at], other, *ids[at + 1 :]] for other in (-1, vocabulary, 2**31 - 1, -(2**31))]
            mutants += [[*ids[:at], draw.randrange(vocabulary), *ids[at + 1 :]] for _ in range(20)]
        mutants = [mutant for mutant in mutants if mutant != ids]
        said = validate(token_batch(mutants), config)
        for mutant, code in zip(mutants, said.codes.tolist(), strict=True):
            text = backend.decode(mutant[:-1], skip_special_tokens=False) if code == 0 else ""
            assert code > 0 or judge(as_text, {"text": text}, people), text


def test_other_ids_for_the_same_text_are_noticed() -> None:
    """Ids that decode to the very text, but are not the tokenizer's own: every token split or joined anew."""
    config, batch = made(DEFAULT_SMALL, 6, seed=3)
    backend = tokenizer_of(config).backend
    known = backend.get_vocab()
    mutants = []
    for row in lists(batch["input_ids"]):
        ids = row.tolist()
        for at, token in enumerate(ids[:-1]):
            name = backend.id_to_token(token)
            for cut in range(1, len(name)):
                if name[:cut] in known and name[cut:] in known:
                    mutants.append([*ids[:at], known[name[:cut]], known[name[cut:]], *ids[at + 1 :]])
                    assert backend.decode(mutants[-1]) == backend.decode(ids)
                    break
    assert len(mutants) > 200
    assert not (validate(token_batch(mutants), config).codes == 0).any()


# ---- every kind of tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("tokenizers")
    return {name: save(make(), root / str(at)) for at, (name, make) in enumerate(ALL.items())}


@pytest.mark.parametrize("name", ["llama 3", "WordPiece", "Unigram", "whole texts"])
def test_damage_is_noticed_with_every_kind_of_tokenizer(folders: dict[str, str], name: str) -> None:
    """Mutants of texts, encoded by the library: valid where the text is.

    Of a tokenizer that drops, lowers or does not know a letter, also where the damage leaves no trace in
    the ids: a true text has the very same.
    """
    which = "default lists" if name == "whole texts" else "own world"
    config = complete_config(TASK, {**WORLDS[which], "tokenizer_name_or_path": folders[name]}, 4)
    as_text, people = world(which)
    loaded = tokenizer_of(config)
    mutants = mutants_of(which, 200, 7)
    ids = [loaded.encode(text).ids for text in mutants]
    said = validate(token_batch([[*row, loaded.end] for row in ids]), config)
    expected = [judge(as_text, {"text": text}, people) for text in mutants]
    assert 20 < sum(expected) < 180
    for text, row, true, code in zip(mutants, ids, expected, said.codes.tolist(), strict=True):
        if true or code > 0:
            assert true == (code == 0), text
        elif name == "whole texts":
            assert judge(as_text, {"text": read_back(loaded, row)}, people)
        else:
            assert name in LOSSY or loaded.backend.token_to_id("<unk>") in row
    for garbage in ([], [0], [-1], [2**31 - 1], [-(2**31)] * 300, [1] * 5000, [*ids[0][:20], 10**6]):
        assert not validate(token_batch([garbage]), config).all_valid


@pytest.mark.parametrize("name", ["llama 3", "WordPiece", "whole texts"])
def test_damaged_columns_are_noticed_with_every_kind_of_tokenizer(folders: dict[str, str], name: str) -> None:
    config, batch = made({**DEFAULT_SMALL, "tokenizer_name_or_path": folders[name]}, 2, seed=5)
    if name == "whole texts":
        batch = batch.drop_columns(["loss_mask"])  # so many changes of single bits
    assert bool(encoder_of(config).why_whole) == (name == "whole texts")
    assert_columns_hold(config, batch)


def test_a_name_that_is_several_peoples_in_the_tokens_needs_the_column(tmp_path: Path) -> None:
    """Lower case, no accents: Élodie and elodie are one. With the column person the row is read as theirs."""
    fields = {**FIELDS, "first_names": ["Élodie", "elodie", "Ann"]}
    given = {"num_people": 45, "exposures": 2, "fields": fields, "templates": TEMPLATES}
    given["tokenizer_name_or_path"] = save(ALL["WordPiece"](), tmp_path)
    config, batch = made(given, 90)
    assert validate(batch, config).all_valid
    alone = validate(batch.select(["input_ids"]), config)
    assert 20 < alone.codes.astype(bool).sum() < 90
    assert {str(alone[row])[:60] for row in np.flatnonzero(alone.codes)} == {
        "invalid: the full name may be several people's in these toke"
    }
    people = batch["person"].to_pylist()
    moved = batch.set_column(
        batch.schema.get_field_index("person"), "person", pa.array([*people[1:], people[0]])
    )
    assert not (validate(moved, config).codes[np.array(people) != [*people[1:], people[0]]] == 0).any()


# ---- columns


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


def assert_columns_hold(config: dict[str, Any], batch: pa.RecordBatch) -> None:
    """Every small change of any column of one row makes that row invalid, and only that."""
    assert validate(batch, config).all_valid
    for name in batch.schema.names:
        if name in ("text", "input_ids", "index"):
            continue
        given = batch[name].to_pylist()
        for row in range(batch.num_rows):
            value = given[row]
            if isinstance(value, int):
                near: list[Any] = [-1, value - 1, value + 1, value + 10**6, 2**63 - 1, -(2**63)]
                if name == "exposure":
                    near = [-1, -(2**63), config["exposures"], value + config["exposures"], 2**63 - 1]
            else:
                near = [[], value[:-1], [*value, value[-1]], value[1:]]
                for at in range(len(value)):
                    step = (
                        (1 - value[at], 2)
                        if name == "loss_mask"
                        else (value[at] + 1, value[at] - 1, 2**31 - 1)
                    )
                    near += [[*value[:at], other, *value[at + 1 :]] for other in step]
                near = [other for other in near if name != "loss_mask" or min(other, default=0) >= 0]
            for other in near:
                said = validate(replaced(batch, name, [*given[:row], other, *given[row + 1 :]]), config)
                assert np.flatnonzero(said.codes).tolist() == [row], (name, row, other)


@pytest.mark.parametrize("name", ["own world", "default lists"])
@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_damaged_columns_are_noticed_in_their_row(name: str, bio: str) -> None:
    config, batch = made({**WORLDS[name], "bio": bio}, 2, seed=5)
    assert_columns_hold(config, batch)
    for column in ("value_starts", "value_ends"):  # one of the columns of spans alone
        assert_columns_hold(config, batch.select([batch.schema.names[0], column]))


def test_columns_are_judged_alike() -> None:
    """Changed and dropped columns beside true texts, through the one-example API: the judge's verdict."""
    config, people = world("own world")
    draw = random.Random(9)
    agreed = {True: 0, False: 0}
    for index in range(200):
        example = generate_capo_example(config, seed=4, index=index)
        name = draw.choice([*example, None, None])
        if name in ("value_starts", "value_ends"):
            example[name][draw.randrange(8)] += draw.choice((0, 1, -1))
        elif name == "text":
            example[name] = damage_letters(draw, example[name])
        elif name is not None:
            example[name] += draw.choice((-1, 0, 1, config["exposures"] * config["num_people"]))
        for dropped in draw.sample(sorted(set(example) - {"text"}), draw.choice((0, 0, 1, 3))):
            del example[dropped]
        expected = judge(config, example, people)
        assert bool(validate_capo_example(example, config)) == expected, example
        agreed[expected] += 1
    assert min(agreed.values()) > 30


def test_a_text_that_can_be_read_in_two_ways_is_held_to_its_columns() -> None:
    """The city of birth and of work in one template: either sentence may be either, but as the spans say."""
    config, _ = world("own world")
    _, batch = made(config, 200, seed=4)
    found = 0
    for row in batch.to_pylist():
        swapped = {**row}
        for name in ("value_starts", "value_ends"):
            spans = list(row[name])
            spans[2], spans[6] = spans[6], spans[2]
            swapped[name] = spans
        text = row["text"]
        values = [text[start:end] for start, end in zip(row["value_starts"], row["value_ends"], strict=True)]
        assert validate_capo_example(row, config)
        expected = judge(config, swapped, {values[0]: row["person"]})
        assert bool(validate_capo_example(swapped, config)) == expected
        found += expected
    assert found > 0


def test_populations_of_one_batch_may_differ() -> None:
    """Rows of several seeds: each is held to its own people, where the config names none."""
    rows, seeds = [], [0, 5, 2**63 - 1]
    for seed in seeds:
        _, batch = made({**DEFAULT_SMALL, "bio": "text"}, 5, seed=seed)
        rows += batch.to_pylist()
    config = check({**DEFAULT_SMALL, "bio": "text"})
    mixed = pa.RecordBatch.from_pylist(rows, schema=schema(config))
    assert validate(mixed, config).all_valid
    said = validate(mixed, complete_config(TASK, config, 5))
    assert (said.codes == 0).tolist() == [seed == 5 for seed in seeds for _ in range(5)]
    assert "population" in str(said[0])
    said = validate(mixed.select(["text"]), config)
    assert not (said.codes == 0).any()


def test_another_config_is_noticed() -> None:
    config, batch = made({"num_people": 50, "exposures": 4, "bio": "text"}, 200, seed=6)
    bare = batch.select(["text", "population"])
    assert validate(bare, config).all_valid
    for other in ({"num_people": 40}, {"reverse_md": True}, {"order": False}, {"templates": TEMPLATES}):
        changed = {**config, **other}
        assert not validate(bare, check(changed)).all_valid, other
    assert not validate(batch, check({**config, "exposures": 3})).all_valid


# ---- the results


def test_every_reason_is_given() -> None:
    """All messages come up, each for what it says."""
    seen: set[str] = set()

    def said(config: dict[str, Any], batch: pa.RecordBatch, start: str) -> None:
        verdicts: Verdicts = validate(batch, config)
        reason = verdicts[0].reason
        assert reason.startswith(start), reason
        seen.add(next(message for message in MESSAGES if reason.startswith(message)))

    config, batch = made(DEFAULT_SMALL, 1)
    row = batch.to_pylist()[0]
    ids = row["input_ids"]
    text_config, text_rows = made({**DEFAULT_SMALL, "bio": "text"}, 1)
    text = text_rows["text"][0].as_py()
    said(config, token_batch([ids[:-1]]), "does not end")
    said(config, token_batch([ids[:-1] * 9 + ids[-1:]]), "longer than")
    said(config, token_batch([ids[4:]]), "there is no full name")
    said(
        check({**config, "num_people": 1}),
        token_batch([ids], population=[0]),
        "the full name is not of anybody",
    )
    said(text_config, text_batch([text.replace(" in ", " on ", 1)]), "no sentence that is true")
    said(text_config, text_batch([text + " And so on."]), "goes on after")
    said(config, token_batch([ids], population=[-1]), "population is not")
    said(config, token_batch([ids], person=[row["person"] + 1]), "person is not")
    said(config, token_batch([ids], exposure=[-1]), "exposure is not")
    mask = pa.array([[0] + [1] * (len(ids) - 1)], schema(config).field("loss_mask").type)
    said(config, token_batch([ids], loss_mask=mask), "loss_mask is not 1")
    spans = pa.array([[1, *row["value_starts"][1:]]], schema(config).field("value_starts").type)
    said(config, token_batch([ids], value_starts=spans), "value_starts, value_ends")
    left = set(MESSAGES) - seen - {"valid"}
    # The others are of special tokenizers, tested above and below, and of columns that are asked for.
    elsewhere = ("tokenizer's own", "several people's", "person's attributes")
    assert all(any(words in message for words in elsewhere) for message in left)


def test_other_ids_of_a_tokenizer_of_whole_texts_are_noticed(tmp_path: Path) -> None:
    config, batch = made(
        {**DEFAULT_SMALL, "tokenizer_name_or_path": save(ALL["whole texts"](), tmp_path)}, 20
    )
    backend = tokenizer_of(config).backend
    known = backend.get_vocab()
    mutants = []
    for row in lists(batch["input_ids"]):
        ids = row.tolist()
        name = backend.id_to_token(ids[5])
        if len(name) > 1:
            mutants.append([*ids[:5], *(known[letter] for letter in name), *ids[6:]])
    said = validate(token_batch(mutants), config)
    assert {said[row].reason.split(" (")[0] for row in range(len(mutants))} == {
        "the ids are not the tokenizer's own for the text that they spell"
    }


def test_a_verdict_does_not_depend_on_the_other_rows() -> None:
    config, _ = world("own world")
    rows = mutants_of("own world", 60, 12)
    together = validate(text_batch(rows), config)
    alone = [validate(text_batch([row]), config) for row in rows]
    assert together.codes.tolist() == [int(one.codes[0]) for one in alone]
    assert together.positions.tolist() == [int(one.positions[0]) for one in alone]
    sliced = validate(text_batch(rows).slice(11, 13), config)
    assert sliced.codes.tolist() == together.codes[11:24].tolist()
    assert sliced.positions.tolist() == together.positions[11:24].tolist()


@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_slices_and_no_rows_are_valid(bio: str) -> None:
    config, batch = made({**DEFAULT_SMALL, "bio": bio}, 30)
    for start in range(0, 30, 7):
        assert validate(batch.slice(start, 9), config).all_valid
    assert validate(batch.slice(3, 0), config).all_valid
    assert validate(batch.slice(0, 0), config).all_valid


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\x00", "é" * 300, "Ann " * 400, "Ann Lee Stone", "x" * 10**6]
)
def test_any_text_is_judged(text: str) -> None:
    for name in ("own world", "default lists"):
        config, _ = world(name)
        result = validate_capo_example({"text": text}, config)
        assert not result
        assert "\n" not in result.reason


@pytest.mark.parametrize(
    "example", [None, 5, {}, {"text": 5}, {"text": None}, {"text": b"x"}, {"text": ["x"]}]
)
def test_what_is_no_example_is_invalid_with_a_reason(example: Any) -> None:
    config, _ = world("default lists")
    result = validate_capo_example(example, config)
    assert not result
    assert result.reason


def test_many_names_in_a_row_take_no_time() -> None:
    """Each full name that stands in a text is tried: as many as fit in the longest one."""
    config, people = world("own world")
    name = next(iter(people))
    assert not validate_capo_example({"text": " ".join([name] * 9)}, config)
    valid = generate_capo_example(config, seed=4)
    assert validate_capo_example(valid, config)


def test_one_compiled_kernel_serves_every_batch() -> None:
    """Of either kind of element: any subset of columns, a slice, buffers from IPC."""
    for bio in ("tokens", "text"):
        config, batch = made({**DEFAULT_SMALL, "bio": bio}, 5)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
        for part in (
            batch,
            batch.slice(2),
            read,
            batch.select([0]),
            batch.select([0, batch.num_columns - 1]),
        ):
            assert validate(part, config).all_valid
    assert len(_read_rows.signatures) <= 2
    assert len(_find_names.signatures) <= 2
