"""Capo's lists: what a user may write in files or in a config, and the one line for what will not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from facts.capo import FIELDS, TEMPLATES, made, write_lists
from facts.kinds import lists
from oracles.capo import lines

from ostraca.tasks.capo import check
from ostraca.tasks.capo.text import (
    POOLS,
    SENTENCES,
    Template,
    default_fields,
    default_templates,
    parse_template,
    pools_of,
)
from ostraca.tasks.capo.validate import validate
from ostraca.tasks.errors import ConfigError


def refusal(config: dict[str, Any]) -> str:
    """The one line that refuses this config."""
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("capo: ")
    return text


def test_the_default_lists_are_those_of_the_files() -> None:
    assert {name: list(entries) for name, entries in default_fields()} == {
        name: lines("fields", name) for name in POOLS
    }
    assert {name: list(entries) for name, entries in default_templates()} == {
        name: lines("templates", name) for name in SENTENCES
    }
    assert [len(entries) for _, entries in default_fields()] == [400, 400, 1000, 200, 300, 100, 263]
    assert [len(entries) for _, entries in default_templates()] == [50] * 6
    pools = pools_of(None)
    assert pools.work_cities[pools.employers.index("Adobe")] == "San Jose, CA"


def test_a_folder_is_read_into_the_config(tmp_path: Path) -> None:
    """Entry by entry; the folder is needed no more, and the examples are those of the lists themselves."""
    folders = {
        "fields_dir": write_lists(tmp_path / "fields", FIELDS),
        "templates_dir": write_lists(tmp_path / "templates", TEMPLATES),
    }
    config = check({"num_people": 5, **folders})
    assert config["fields"] == FIELDS
    assert config["templates"] == TEMPLATES
    assert config["fields_dir"] is config["templates_dir"] is None
    for path in tmp_path.rglob("*.txt"):
        path.unlink()
    assert check(config) == config
    one, batch = made(config, 30)
    other, same = made({"num_people": 5, "fields": FIELDS, "templates": TEMPLATES}, 30)
    assert one == other
    assert batch.equals(same)
    assert validate(batch, one).all_valid
    assert len({tuple(row) for row in lists(batch["input_ids"])}) == 30


def test_the_default_lists_given_by_hand_are_the_default(tmp_path: Path) -> None:
    """They are part of the version, so there is one config for one set of examples."""
    fields = {name: list(entries) for name, entries in default_fields()}
    templates = {name: list(entries) for name, entries in default_templates()}
    for given in (
        {"fields": fields, "templates": templates},
        {
            "fields_dir": write_lists(tmp_path / "f", fields),
            "templates_dir": write_lists(tmp_path / "t", templates),
        },
    ):
        assert check(given) == check({})


@pytest.mark.parametrize(
    "text", ["\ufeff# c\nLaw\nArt\n", "Law\r\nArt\r\n", "Law\nArt", "# a\n# b\nLaw\nArt\n"]
)
def test_files_of_any_editor_are_read(tmp_path: Path, text: str) -> None:
    """A byte order mark, CR LF, no newline at the end, comments or none."""
    folder = write_lists(tmp_path, FIELDS)
    (tmp_path / "majors.txt").write_bytes(text.encode())
    assert check({"num_people": 5, "fields_dir": folder})["fields"]["majors"] == ["Law", "Art"]


def test_a_line_with_a_number_sign_below_the_comments_is_an_entry(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, {**FIELDS, "employers": ["Ford\tFord, AA", "#1 Cars\tFord, AA"]})
    assert check({"num_people": 5, "fields_dir": folder})["fields"]["employers"][1] == "#1 Cars\tFord, AA"


# (list, entries, the place of the wrong one counted from 0, part of the message)
WRONG_FIELDS = [
    ("majors", ["Law", ""], 1, "is empty"),
    ("majors", ["Law", " Art"], 1, "has a space at an end"),
    ("majors", ["Law", "Art "], 1, "has a space at an end"),
    ("majors", ["Law  Art"], 0, "two in a row"),
    ("majors", ["Law\tArt"], 0, "has a tab"),
    ("majors", ["Law\u00a0Art"], 0, "cannot be printed"),
    ("majors", ["Law", "Art", "Law"], 2, "is there already"),
    ("majors", ["L" * 1001], 0, "longer than 1000"),
    ("cities", ["Ford, AA", "Ford, AA"], 1, "is there already"),
    ("first_names", ["Ann", "Mary Ann"], 1, "a name is one word"),
    ("middle_names", ["Mary Ann"], 0, "a name is one word"),
    ("last_names", ["de Ford"], 0, "a name is one word"),
    ("employers", ["Ford\tFord, AA", "Law"], 1, "a name, a tab and its city"),
    ("employers", ["Ford\tA\tB"], 0, "a name, a tab and its city"),
    ("employers", ["Ford\t"], 0, "is empty"),
    ("employers", ["\tFord, AA"], 0, "is empty"),
    ("employers", ["Ford\t Ford"], 0, "has a space at an end"),
    ("employers", ["Ford\tA, AA", "Ford\tB, BB"], 1, "is there already"),
]
WRONG_TEMPLATES = [
    (["{Subject} likes law."], 0, "must have the slot {value} once"),
    (["They like {value}."], 0, "must have the slot {value} once"),
    (["{Subject} {value}.", "{Subject} likes {value} and {value}."], 1, "must have the slot {value} once"),
    (["{Subject} likes {value} as {subject} said."], 0, "must have the slot {value} once"),
    (["{Subject} likes {value} in {city}."], 0, "must have the slot {value} once"),
    (["{Subject} likes {value} {."], 0, "must have the slot {value} once"),
    (["{Subject} likes {Value}."], 0, "must have the slot {value} once"),
    (["What {Subject} likes is {value}."], 0, "must have {Subject} where the sentence opens with it"),
    (["{subject} likes {value}."], 0, "must have {Subject} where the sentence opens with it"),
    (["{Subject} likes \u201c{value}."], 0, "must stand behind a space"),
    (["{Subject} likes {value}!"], 0, "must stand behind a space"),
    (["{Subject}'s field is {value}."], 0, "must stand behind a space"),
    (["Of {value}-{subject}."], 0, "must stand behind a space"),
    (["{Subject} likes {value} in his way."], 0, "says 'his'"),
    (["{Subject} likes {value}; She does."], 0, "says 'She'"),
    (["{Subject} likes {value} herself."], 0, "says 'herself'"),
    (["{Subject} likes {value}.", "{Subject} likes {value}."], 1, "is there already"),
    (["{Subject} likes {value}. "], 0, "has a space at an end"),
    (["{Subject}  likes {value}."], 0, "two in a row"),
    (["{Subject} likes\t{value}."], 0, "has a tab"),
    (["{Subject} likes {value}.", ""], 1, "is empty"),
]
WRONG = [("fields", *case) for case in WRONG_FIELDS]
WRONG += [("templates", "major", *case) for case in WRONG_TEMPLATES]


@pytest.mark.parametrize(("key", "name", "entries", "place", "why"), WRONG)
def test_a_wrong_entry_is_refused_with_its_place(
    tmp_path: Path, key: str, name: str, entries: list[str], place: int, why: str
) -> None:
    """In a file by its line (two comments stand above), in a config by its number."""
    given = {**(FIELDS if key == "fields" else TEMPLATES), name: entries}
    folder = write_lists(tmp_path, given)
    text = refusal({"num_people": 1, f"{key}_dir": folder})
    assert f"{tmp_path / name}.txt:{place + 3}: " in text
    assert why in text
    text = refusal({"num_people": 1, key: given})
    assert f"{key}.{name}[{place}]: " in text
    assert why in text


def test_missing_folders_files_and_empty_files_are_refused(tmp_path: Path) -> None:
    assert "fields_dir=" in refusal({"fields_dir": str(tmp_path / "nothing")})
    assert "is not a folder; it must hold first_names.txt" in refusal(
        {"fields_dir": str(tmp_path / "nothing")}
    )
    folder = write_lists(tmp_path, TEMPLATES)
    (tmp_path / "major.txt").unlink()
    assert "major.txt is missing: templates_dir needs it" in refusal({"templates_dir": folder})
    for text in ("", "# only a comment\n"):
        (tmp_path / "major.txt").write_text(text)
        assert "major.txt is empty" in refusal({"templates_dir": folder})
    (tmp_path / "major.txt").write_bytes(b"\xff\xfe\x00")
    assert "major.txt cannot be read as UTF-8 text" in refusal({"templates_dir": folder})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (5, "must map each of first_names"),
        ("Ann", "must map each of first_names"),
        ({}, "lacks the list first_names"),
        ({**FIELDS, "city": ["A"]}, "unknown list 'city' (did you mean 'cities'?)"),
        ({name: entries for name, entries in FIELDS.items() if name != "majors"}, "lacks the list majors"),
        ({**FIELDS, "majors": "Law"}, "fields.majors='Law' must be a list"),
        ({**FIELDS, "majors": None}, "fields.majors=None must be a list"),
        ({**FIELDS, "majors": ["Law", 5]}, "fields.majors[1]=5 must be a string"),
        ({**FIELDS, "majors": []}, "fields.majors is empty"),
        ({**FIELDS, "majors": ["a\ud800"]}, "cannot be printed"),
    ],
)
def test_lists_of_a_wrong_kind_are_refused(given: Any, why: str) -> None:
    assert why in refusal({"num_people": 1, "fields": given})


def test_a_folder_and_its_content_together_are_refused(tmp_path: Path) -> None:
    text = refusal({"fields": FIELDS, "fields_dir": str(tmp_path)})
    assert "fields_dir" in text
    assert "leave one out" in text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{Subject} was {value}.", ("", False, "", " was", ".", "")),
        ("{value} {subject}", ("", True, "", "", "", "")),
        ("In {value}, as {subject}; said.", ("In", True, ",", " as", ";", " said.")),
        ("{Subject}, of {value}: b.c d", ("", False, ",", " of", ":", " b.c d")),
        ("A b {subject}.) {value}", ("A b", False, ".)", "", "", "")),
    ],
)
def test_templates_come_apart_before_their_spaces(text: str, parts: tuple[Any, ...]) -> None:
    names = ("before", "value_first", "first_glue", "between", "second_glue", "after")
    assert parse_template(text) == Template(**dict(zip(names, parts, strict=True)))
