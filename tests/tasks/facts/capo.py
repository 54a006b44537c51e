"""What several tests of Capo need: a small world, configs that reach every branch, batches."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from oracles.capo import judge, person, replay

from ostraca.tasks.capo import TASK

from .kinds import COLUMNS, Config, Facts

# A world in which texts are easily mistaken: names within names, values within values, a template of two
# sentences, one that continues another, letters of two bytes, no glue and long glue.
FIELDS = {
    "first_names": ["Ann", "Anna", "Élodie", "Bo"],
    "middle_names": ["Lee", "Ann", "Kai"],
    "last_names": ["Stone", "Lee", "O'Neil", "Stone-Ray", "Ångström"],
    "cities": ["Ford, AA", "New Ford, AA", "Zürich, ZZ"],
    "universities": ["Ford University", "University of Ford"],
    "majors": ["Law", "Law and Art", "Café Studies"],
    "employers": ["Ford\tFord, AA", "Law Office\tNew Ford, AA", "Ford Law\tZürich, ZZ"],
}
TEMPLATES = {
    "birth_date": [
        "{Subject} was born on {value}.",
        "{value}: then {subject}, so small, came.",
        "Since {value} {subject} lives",
    ],
    "birth_city": [
        "{Subject} is from {value}.",
        "{Subject}, of {value}; is known.",
        "From {value} {subject} came.",
    ],
    "university": [
        "{Subject} went to {value}.",
        "{Subject} went to {value}. It was good.",
        "{value} had {subject}.",
    ],
    "major": [
        "{Subject} studied {value}.",
        "{Subject} studied {value} and more.",
        "What {subject} likes is {value}",
    ],
    "work_city": [
        "{Subject} is from {value}.",
        "{Subject} works in {value}.",
        "In {value}, {subject} works.",
    ],
    "employer": ["{Subject} works for {value}.", "{value} pays {subject}.", "{Subject} {value}."],
}
SMALL = {"num_people": 60, "exposures": 3, "fields": FIELDS, "templates": TEMPLATES}
DEFAULT_SMALL = {"num_people": 20, "exposures": 5}
ONE = {name: entries[:1] for name, entries in FIELDS.items()}

SIZES = {"50k": 50_000, "100k": 100_000, "200k": 200_000, "500k": 500_000, "1m": 1_000_000, "2m": 2_000_000}
PRESETS = {f"capo-{size}": {"num_people": people} for size, people in SIZES.items()}

VARIED: dict[str, dict[str, Any]] = {
    "published": {},
    "two million": {"num_people": 2_000_000},
    "fixed order": {**DEFAULT_SMALL, "order": False},
    "reverse_md": {**DEFAULT_SMALL, "reverse_md": True},
    "no end": {**DEFAULT_SMALL, "eos": False},
    "own seed": {**DEFAULT_SMALL, "population_seed": 12},
    "own sentences": {**DEFAULT_SMALL, "templates": TEMPLATES},
    "own world": SMALL,
    "own world, fixed order, reverse_md": {**SMALL, "order": False, "reverse_md": True},
    "one person": {
        "num_people": 1,
        "exposures": 1,
        "fields": ONE,
        "templates": {k: v[:1] for k, v in TEMPLATES.items()},
    },
}


def write_lists(folder: Path, given: dict[str, list[str]]) -> str:
    """A folder of text files as a user has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in given.items():
        (folder / f"{name}.txt").write_text(
            "# comment\n# another\n" + "\n".join(entries) + "\n", encoding="utf-8"
        )
    return str(folder)


def words(pattern: str) -> st.SearchStrategy[str]:
    """Texts of this form."""
    return st.from_regex(pattern, fullmatch=True)


ENTRY = st.one_of(words(r"[A-Za-zÀ-ÿ]{1,6}( [A-Za-z]{1,5})?"), st.text(max_size=6))
LIST = st.lists(ENTRY, min_size=0, max_size=4)
LINE = st.one_of(
    st.sampled_from([line for group in TEMPLATES.values() for line in group]),
    st.text(alphabet="{}Ssubjectvalue .,;", max_size=30),
)
INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "num_people": st.integers(1, 20),
    "exposures": st.integers(1, 5),
    "order": st.booleans(),
    "reverse_md": st.booleans(),
    "bio": st.sampled_from(["tokens", "text"]),
    "eos": st.booleans(),
    "population_seed": st.one_of(st.none(), st.integers(0, 2**63 - 1)),
    "fields": st.builds(
        lambda lists_, names: {**FIELDS, **dict(zip(names, lists_, strict=False))},
        st.lists(LIST, max_size=2),
        st.permutations(sorted(set(FIELDS) - {"employers"})),
    ),
    "templates": st.builds(
        lambda group, name: {**TEMPLATES, name: group},
        st.lists(LINE, min_size=0, max_size=3),
        st.sampled_from(sorted(TEMPLATES)),
    ),
}


@lru_cache(maxsize=8)
def everybody(config: str) -> dict[str, int]:
    """Everybody's number by name, of a config as JSON."""
    known = json.loads(config)
    return {person(known, number)["name"]: number for number in range(known["num_people"])}


def is_biography(config: Config, row: Config) -> bool:
    """What the judge says of a text; tokens are held to the text elsewhere."""
    return "text" not in row or judge(config, row, everybody(json.dumps(config)))


def whole(config: Config, example: Config) -> None:
    """Loss on all tokens; eight spans of values within them."""
    assert example["loss_mask"] == [1] * len(example["input_ids"])
    for start, end in zip(example["value_starts"], example["value_ends"], strict=True):
        assert 0 <= start < end <= len(example["input_ids"])
    assert len(example["value_starts"]) == len(example["char_starts"]) == 8


FACTS = Facts(
    task=TASK,
    presets=PRESETS,
    varied=VARIED,
    plain="own world",
    rich="own world",
    too_many=({}, 2**25),
    columns=COLUMNS
    | dict.fromkeys(("person", "exposure", "population"), "int64")
    | dict.fromkeys(("value_starts", "value_ends", "char_starts", "char_ends"), "int32s"),
    whole=whole,
    address=({}, {"num_people": 5}, {"exposures": 5}),
    as_default={"num_people": np.int32(50_000)},
    bad=({"num_people": 0}, "num_people=0"),
    defaults={
        "num_people": 50_000,
        "exposures": 100,
        "order": True,
        "reverse_md": False,
        "bio": "tokens",
        "tokenizer_name_or_path": None,
        "tokenizer_sha256": None,
        "eos": True,
        "population_seed": None,
        "fields_dir": None,
        "templates_dir": None,
        "fields": None,
        "templates": None,
    },
    misspelt=[
        ("num_person", "num_people"),
        ("exposure", "exposures"),
        ("Bio", "bio"),
        ("EOS", "eos"),
        ("template", "templates"),
    ],
    inside=INSIDE,
    judge=is_biography,
    tries=(30, 30),
    inside_given={"num_people": 3},
    around={"num_people": 3},
    unguessed={"tokenizer_name_or_path"},  # a name is looked for elsewhere
    replay=replay,
    replay_given={"bio": "text"},
    replay_rows=(30, 8),
    replay_far={},
    plainly={"published": {}, "own world": SMALL, "text": {**SMALL, "order": False, "bio": "text"}},
    plain_rows=4,
    plain_damaged="person",
    plain_reasons=3,
)
made, refusal = FACTS.make, FACTS.refusal
