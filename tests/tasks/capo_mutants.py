"""Damaged biographies: of single characters or tokens, of whole words, values and sentences."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from oracles.capo import MONTHS, SENTENCES, person, pool, sentence, templates


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
