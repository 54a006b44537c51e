"""Capo: biographies, damaged in their letters, or told anew with one thing wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from facts.capo import DEFAULT_SMALL, FACTS, SIZES, SMALL, TEMPLATES
from facts.kinds import Config
from oracles.capo import MONTHS, SENTENCES, person, pool, sentence, templates

from ostraca.tasks.capo.parse import _find_names, _read_rows
from ostraca.tasks.core.batch import texts

from .kinds import Mutants

TEXT = {"bio": "text"}
WORLDS: dict[str, dict[str, Any]] = {
    "own world": {**SMALL, **TEXT},
    "own world, fixed order": {**SMALL, **TEXT, "order": False},
    "own world, reverse_md": {**SMALL, **TEXT, "reverse_md": True, "num_people": 33},
    "default lists": {**DEFAULT_SMALL, **TEXT},
}


def text_batch(rows: Sequence[str], **columns: Any) -> pa.RecordBatch:
    """A batch of texts and further columns."""
    encoded = [row.encode() for row in rows]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    arrays = [texts(np.frombuffer(b"".join(encoded), np.uint8), offsets), *map(pa.array, columns.values())]
    return pa.RecordBatch.from_arrays(arrays, names=["text", *columns])


def damage_letters(draw: random.Random, text: str) -> str:
    """One or two edits of characters or of a span."""
    letters = list(text)
    for _ in range(draw.choice((1, 1, 2))):
        if not letters:
            break
        at, other = draw.randrange(len(letters)), draw.randrange(len(letters))
        low, high = sorted((at, other))
        edit = draw.randrange(7)
        if edit == 0:
            letters.insert(at, draw.choice(" .,;:aeÉ1\n\u0301"))
        elif edit == 1:
            letters[at] = draw.choice(text)
        elif edit == 2:
            del letters[at]
        elif edit == 3:
            letters[at], letters[other] = letters[other], letters[at]
        elif edit == 4:
            letters[high:high] = letters[low:high]
        elif edit == 5:
            del letters[low:high]
        else:
            letters[at] = letters[at].swapcase()
    return "".join(letters)


def damage_outline(draw: random.Random, outlines: Sequence[list[int]], at: int, most: int) -> list[int]:
    """One or two edits of its templates, whose numbers are below `most`: some are still outlines."""
    numbers = list(outlines[at])
    for _ in range(draw.choice((1, 1, 2))):
        one, other = draw.sample(range(6), 2)
        edit = draw.randrange(5)
        if edit == 0:
            numbers[one], numbers[other] = numbers[other], numbers[one]
        elif edit == 1:  # often another template of the same sentence
            numbers[one] += draw.choice((-1, 1))
        elif edit == 2:
            numbers[one] = draw.choice((-1, most, 2**31 - 1, -(2**31), draw.randrange(most)))
        elif edit == 3:
            numbers[one] = draw.choice(outlines)[one]
        else:
            numbers[one] = numbers[other]
    return numbers


def retell(draw: random.Random, config: Mapping[str, Any], number: int) -> str:
    """A biography of a person, told anew, perhaps with one thing wrong: valid or very nearly."""
    facts = person(config, number)
    names = list(SENTENCES)
    if config["order"]:
        draw.shuffle(names)
    change = draw.choice(
        (None, None, "value", "swap", "drop", "double", "name", "pronoun", "later", "first", "join")
    )
    if change == "drop":
        names.pop(draw.randrange(6))
    elif change == "double":
        names[draw.randrange(len(names))] = draw.choice(names)
    elif change == "swap":
        one, other = draw.sample(range(6), 2)
        names[one], names[other] = names[other], names[one]
    wrong = draw.randrange(6) if change in ("value", "pronoun", "later", "first") else -1
    parts = []
    for turn, name in enumerate(names):
        value = facts[name]
        subject = facts["name"] if turn == 0 else facts["pronoun"]
        if turn == wrong and change == "value":
            value = other_value(draw, config, name)
        elif turn == wrong and change == "pronoun":
            subject = "she" if facts["pronoun"] == "he" else "he"
        elif turn == wrong and change == "later":
            subject = facts["name"]
        elif turn == wrong and change == "first":
            subject = facts["pronoun"]
        elif turn == 0 and change == "name":
            subject = " ".join(
                draw.choice(pool(config, list_)) for list_ in ("first_names", "middle_names", "last_names")
            )
        parts.append(sentence(draw.choice(templates(config, name)), value, subject)[0])
    return ("  " if change == "join" else " ").join(parts)


def other_value(draw: random.Random, config: Mapping[str, Any], name: str) -> str:
    """Any value that such a sentence could have."""
    if name == "birth_date":
        month, day, year = draw.choice(MONTHS), draw.randint(0, 29), draw.randint(1899, 2100)
        return f"{day} of {month}, {year}" if config["reverse_md"] else f"{month} {day}, {year}"
    if name in ("work_city", "employer"):
        return draw.choice(pool(config, "employers")).split("\t")[name == "work_city"]
    return draw.choice(
        pool(config, {"birth_city": "cities", "university": "universities", "major": "majors"}[name])
    )


def damage(draw: random.Random, config: Config, originals: list[str], rows: int) -> list[str]:
    """Half of letters, half told anew."""
    some = [damage_letters(draw, draw.choice(originals)) for _ in range(rows // 2)]
    people = config["num_people"]
    return some + [retell(draw, config, draw.randrange(people)) for _ in range(rows - rows // 2)]


def near(config: Config, name: str, value: Any) -> list[Any] | None:
    """Of an exposure only what no other index has."""
    if name != "exposure":
        return None
    return [-1, -(2**63), config["exposures"], value + config["exposures"], 2**63 - 1]


MUTANTS = Mutants(
    facts=FACTS,
    kernels=[_read_rows, _find_names],
    kinds=2,  # texts and tokens
    presets=[(f"capo-{size}", {"num_people": SIZES[size]}, 100_000) for size in ("50k", "2m")],
    forms=({"bio": "tokens"}, TEXT),
    rows=4000,
    judged=40,
    quick=lambda config, row: "text" in row and config["num_people"] <= 60,
    damage=damage,
    worlds=WORLDS,
    mutants=1200,
    fewer={"default lists": 500},
    unsaid=(
        "does not end with",
        "the full name may be",
        "the ids are not",
        "population",
        "person",
        "exposure",
        "loss_mask",
        "value_starts",
        "a column",
    ),
    apart=("own world", 3),
    as_batch=text_batch,
    another=(
        {"num_people": 50, "exposures": 4, **TEXT},
        ["text", "population"],
        [{"num_people": 40}, {"reverse_md": True}, {"order": False}, {"templates": TEMPLATES}],
    ),
    columns=[{**given, "bio": bio} for given in (SMALL, DEFAULT_SMALL) for bio in ("tokens", "text")],
    column_rows=2,
    near=near,
    beside=WORLDS["own world"],
    steps=(-1, 0, 1, 180),  # and by all people's exposures
    small=DEFAULT_SMALL,
)
