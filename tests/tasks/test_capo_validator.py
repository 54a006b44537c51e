"""Promise 3, what is true of Capo only: any tokenizer, people, texts that can be read in two ways."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capo_tokenizers import ALL, LOSSY, save
from facts.capo import DEFAULT_SMALL, FACTS, FIELDS, TEMPLATES, made
from facts.kinds import batch_of, lists
from mutants import MUTANTS
from mutants.capo import WORLDS, text_batch
from mutants.kinds import assert_columns_hold

from ostraca.tasks.base import Verdicts
from ostraca.tasks.capo import check, generate_capo_example, validate_capo_example
from ostraca.tasks.capo.config import encoder_of, tokenizer_of
from ostraca.tasks.capo.generate import schema
from ostraca.tasks.capo.validate import MESSAGES, validate
from ostraca.tasks.core.tokenizer import read_back

judge, mutants_of = MUTANTS["capo"].judge, MUTANTS["capo"].mutants_of


def token_batch(rows: list[list[int]], **columns: Any) -> pa.RecordBatch:
    """A batch of tokens and further columns."""
    batch = batch_of(rows)
    for name, values in columns.items():
        batch = batch.append_column(name, pa.array(values))
    return batch


@pytest.mark.parametrize("name", ["own world", "default lists"])
def test_damaged_texts_are_judged_alike_as_tokens(name: str) -> None:
    """Encoded by the library: valid exactly where the text is; and so with an end in the wrong place."""
    as_text, mutants = mutants_of(name, 600, 6)
    config = check({**as_text, "bio": "tokens"})
    loaded = tokenizer_of(config)
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
            assert code > 0 or judge(as_text, text), text


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
    as_text, mutants = mutants_of(which, 200, 7)
    config = check({**as_text, "bio": "tokens", "tokenizer_name_or_path": folders[name]})
    loaded = tokenizer_of(config)
    ids = [loaded.encode(text).ids for text in mutants]
    said = validate(token_batch([[*row, loaded.end] for row in ids]), config)
    expected = [judge(as_text, text) for text in mutants]
    assert 20 < sum(expected) < 180
    for text, row, true, code in zip(mutants, ids, expected, said.codes.tolist(), strict=True):
        if true or code > 0:
            assert true == (code == 0), text
        elif name == "whole texts":
            assert judge(as_text, read_back(loaded, row))
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
    assert validate(batch, config).all_valid
    for column in set(batch.schema.names) - {"input_ids", "index"}:
        assert_columns_hold(MUTANTS["capo"], config, batch, column, why=False)


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


def test_a_text_that_can_be_read_in_two_ways_is_held_to_its_columns() -> None:
    """The city of birth and of work in one template: either sentence may be either, but as the spans say."""
    config, batch = made(WORLDS["own world"], 200, seed=4)
    found = 0
    for row in batch.to_pylist():
        swapped = {**row}
        for name in ("value_starts", "value_ends"):
            spans = list(row[name])
            spans[2], spans[6] = spans[6], spans[2]
            swapped[name] = spans
        assert validate_capo_example(row, config)
        expected = FACTS.judge(config, swapped)
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
    said = validate(mixed, FACTS.complete(config, 5))
    assert (said.codes == 0).tolist() == [seed == 5 for seed in seeds for _ in range(5)]
    assert "population" in str(said[0])
    said = validate(mixed.select(["text"]), config)
    assert not (said.codes == 0).any()


def test_another_number_of_exposures_is_noticed_in_its_column() -> None:
    config, batch = made({"num_people": 50, "exposures": 4, "bio": "text"}, 200, seed=6)
    assert validate(batch, config).all_valid
    assert not validate(batch, check({**config, "exposures": 3})).all_valid


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
    said(config, token_batch([ids[4:]]), "it has no full name")
    said(
        check({**config, "num_people": 1}),
        token_batch([ids], population=[0]),
        "the full name is not that of anyone",
    )
    said(text_config, text_batch([text.replace(" in ", " on ", 1)]), "no true sentence")
    said(text_config, text_batch([text + " And so on."]), "continues after")
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


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\x00", "é" * 300, "Ann " * 400, "Ann Lee Stone", "x" * 10**6]
)
def test_any_text_is_judged(text: str) -> None:
    for name in ("own world", "default lists"):
        config = FACTS.complete(WORLDS[name], 4)
        result = validate_capo_example({"text": text}, config)
        assert not result
        assert "\n" not in result.reason


@pytest.mark.parametrize(
    "example", [None, 5, {}, {"text": 5}, {"text": None}, {"text": b"x"}, {"text": ["x"]}]
)
def test_what_is_no_example_is_invalid_with_a_reason(example: Any) -> None:
    config = FACTS.complete(WORLDS["default lists"], 4)
    result = validate_capo_example(example, config)
    assert not result
    assert result.reason


def test_many_names_in_a_row_take_no_time() -> None:
    """Each full name that stands in a text is tried: as many as fit in the longest one."""
    config = FACTS.complete(WORLDS["own world"], 4)
    valid = generate_capo_example(config, seed=4)
    assert validate_capo_example(valid, config)
    name = valid["text"][valid["value_starts"][0] : valid["value_ends"][0]]
    assert not validate_capo_example({"text": " ".join([name] * 9)}, config)
