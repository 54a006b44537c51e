"""Capo's examples again, from what is written about them: plain Python, NumPy's generators, the data files.

Shares no code with tasks.capo*: it reads the lists itself, permutes numbers with Python's integers, draws
with `numpy.random`, and writes sentences with `str.replace`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "tasks" / "capo" / "data"
POOLS = ["first_names", "middle_names", "last_names", "cities", "universities", "majors", "employers"]
SENTENCES = ["birth_date", "birth_city", "university", "major", "work_city", "employer"]
SPANS = ["name", "birth_date", "birth_city", "university", "major", "employer", "work_city", "pronoun"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
MONTHS += ["November", "December"]
WORD = 2**64 - 1


@lru_cache(maxsize=32)
def lines(folder: str, name: str) -> list[str]:
    text = (DATA / folder / f"{name}.txt").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def pool(config: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = config["fields"][name] if config["fields"] else lines("fields", name)
    return found


def templates(config: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = config["templates"][name] if config["templates"] else lines("templates", name)
    return found


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def key_of(person: bytes, content: bytes) -> list[int]:
    digest = hashlib.blake2b(content, digest_size=16, person=person).digest()
    return [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]


def draws(key: list[int], index: int) -> np.random.Generator:
    """The stream of one index: an SFC64 whose state is one block of Philox."""
    philox = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([index, 0, 0, 0], np.uint64))
    bits = np.random.SFC64()
    state = {"state": philox.random_raw(4)}
    bits.state = {"bit_generator": "SFC64", "state": state, "has_uint32": 0, "uinteger": 0}
    return np.random.Generator(bits)


# ---- permutations


@lru_cache(maxsize=8)
def table(size: int, name: bytes) -> list[int]:
    stream = draws(key_of(b"ostraca shuffle", canonical(["permutation", name.decode()])), 0)
    order = list(range(size))
    for place in range(size - 1, 0, -1):
        chosen = int(stream.integers(place + 1))
        order[place], order[chosen] = order[chosen], order[place]
    return order


def mixed(word: int, key: int) -> int:
    word = (word + key) & WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def permuted(size: int, name: bytes, number: int) -> int:
    """Fisher and Yates's order up to 2^20 numbers; beyond, twelve rounds of a Feistel network, walked."""
    if size <= 2**20:
        return table(size, name)[number]
    keys = np.random.Philox(key=np.array(key_of(b"ostraca permute", name), np.uint64)).random_raw(12).tolist()
    bits = math.ceil(math.log2(size))
    low_bits = bits // 2
    high_bits = bits - low_bits
    while True:
        low, high = number % 2**low_bits, number >> low_bits
        for turn, key in enumerate(keys):
            if turn % 2 == 0:
                high ^= mixed(low, key) % 2**high_bits
            else:
                low ^= mixed(high, key) % 2**low_bits
        number = (high << low_bits) + low
        if number < size:
            return number


# ---- people


def person(config: Mapping[str, Any], number: int) -> dict[str, str]:
    """Everything about a person, as it is written."""
    first, middle, last = (pool(config, name) for name in POOLS[:3])
    about = {"fields": None}
    if config["fields"]:
        given = [[name, config["fields"][name]] for name in POOLS]
        about = {"fields": hashlib.blake2b(canonical(given), digest_size=16).hexdigest()}
    seed = config["population_seed"]
    size = len(first) * len(middle) * len(last)
    name = permuted(size, canonical(["capo population", 1, about, seed, "names"]), number)
    stream = draws(
        key_of(b"ostraca stream", canonical(["capo population", 1, about, seed, "people"])), number
    )
    month, day, year = (int(stream.integers(bound)) for bound in (12, 28, 200))
    city = pool(config, "cities")[stream.integers(len(pool(config, "cities")))]
    university = pool(config, "universities")[stream.integers(len(pool(config, "universities")))]
    major = pool(config, "majors")[stream.integers(len(pool(config, "majors")))]
    employer = pool(config, "employers")[stream.integers(len(pool(config, "employers")))].split("\t")
    pronoun = ["he", "she"][stream.integers(2)]
    date = f"{MONTHS[month]} {day + 1}, {year + 1900}"
    if config["reverse_md"]:
        date = f"{day + 1} of {MONTHS[month]}, {year + 1900}"
    rest, last_number = divmod(name, len(last))
    return {
        "name": " ".join((first[rest // len(middle)], middle[rest % len(middle)], last[last_number])),
        "birth_date": date,
        "birth_city": city,
        "university": university,
        "major": major,
        "employer": employer[0],
        "work_city": employer[1],
        "pronoun": pronoun,
    }


# ---- examples


def sentence(template: str, value: str, subject: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The sentence, and where its value and its subject stand."""
    subject_slot = "{Subject}" if "{Subject}" in template else "{subject}"
    subject = subject[0].upper() + subject[1:] if subject_slot == "{Subject}" else subject
    text = template.replace("{value}", "\0").replace(subject_slot, "\1")
    places = {}
    for slot, content in sorted((("\0", value), ("\1", subject)), key=lambda pair: text.index(pair[0])):
        at = text.index(slot)
        places["value" if slot == "\0" else "subject"] = (at, at + len(content))
        text = text.replace(slot, content)
    return text, places


def stream_key(config: Mapping[str, Any], seed: int, split: str) -> list[int]:
    form = ("bio", "tokenizer_name_or_path", "tokenizer_sha256", "eos", "attributes")
    address = {key: value for key, value in config.items() if key not in form}
    return key_of(b"ostraca stream", canonical(["capo", 1, address, seed, split]))


def written(facts: Mapping[str, str], chosen: Sequence[tuple[str, str]]) -> tuple[str, dict[str, list[int]]]:
    """The text of sentences, each (name, template), about a person, and the spans of values in it."""
    text, spans = "", {}
    for turn, (name, template) in enumerate(chosen):
        subject = facts["name"] if turn == 0 else facts["pronoun"]
        more, places = sentence(template, facts[name], subject)
        begin = len(text) + 1 if text else 0
        text = f"{text} {more}" if text else more
        spans[name] = [begin + at for at in places["value"]]
        if turn < 2:
            spans["name" if turn == 0 else "pronoun"] = [begin + at for at in places["subject"]]
    return text, spans


def told_by(config: Mapping[str, Any], outline: Sequence[int], number: int) -> str | None:
    """The biography of a person by the numbers of its six templates; None: they make none."""
    known = [(name, template) for name in SENTENCES for template in templates(config, name)]
    if not 0 <= number < config["num_people"] or not all(0 <= one < len(known) for one in outline):
        return None
    chosen = [known[one] for one in outline]
    names = [name for name, _ in chosen]
    if sorted(names) != sorted(SENTENCES) or not (config["order"] or names == list(SENTENCES)):
        return None
    return written(person(config, number), chosen)[0]


def replay(config: Mapping[str, Any], seed: int, split: str, index: int) -> dict[str, Any]:
    """The example with bio=text at an address; `config` is complete."""
    key = stream_key(config, seed, split)
    most = config["num_people"] * config["exposures"]
    place = permuted(most, canonical(["capo order", key, index // most]), index % most)
    number = place % config["num_people"]
    facts = person(config, number)
    stream = draws(key, index)
    order = list(range(6))
    if config["order"]:
        for last in range(5, 0, -1):
            chosen = int(stream.integers(last + 1))
            order[last], order[chosen] = order[chosen], order[last]
    chosen = []
    for which in order:
        choices = templates(config, SENTENCES[which])
        chosen.append((SENTENCES[which], choices[stream.integers(len(choices))]))
    text, spans = written(facts, chosen)
    return {
        "text": text,
        "index": index,
        "person": number,
        "exposure": place // config["num_people"] + config["exposures"] * (index // most),
        "population": config["population_seed"],
        "value_starts": [spans[name][0] for name in SPANS],
        "value_ends": [spans[name][1] for name in SPANS],
    }


# ---- judging


def readings(
    config: Mapping[str, Any], facts: Mapping[str, str], text: str
) -> Iterator[dict[str, tuple[int, int]]]:
    """Every way to read a text as six different sentences about a person: the spans of all values."""

    def read(at: int, left: tuple[str, ...], spans: dict[str, tuple[int, int]]) -> Iterator[Any]:
        if not left:
            if at == len(text):
                yield spans
            return
        turn = 6 - len(left)
        for name in left if config["order"] else left[:1]:
            for template in templates(config, name):
                subject = facts["name"] if turn == 0 else facts["pronoun"]
                written, places = sentence(template, facts[name], subject)
                begin = at + (turn > 0)
                if text.startswith(" " * (turn > 0) + written, at):
                    found = {name: tuple(begin + place for place in places["value"])}
                    if turn < 2:
                        subject_span = tuple(begin + place for place in places["subject"])
                        found["name" if turn == 0 else "pronoun"] = subject_span
                    rest = tuple(other for other in left if other != name)
                    yield from read(begin + len(written), rest, {**spans, **found})

    yield from read(0, tuple(SENTENCES), {})


def judge(config: Mapping[str, Any], example: Mapping[str, Any], people: Mapping[str, int]) -> bool:
    """Whether a text, with whatever columns stand beside it, is a biography of its config.

    people: number of each person by full name. A population seed must be in the config or the example.
    """
    seed = example.get("population", config["population_seed"])
    if seed is None or (config["population_seed"] is not None and seed != config["population_seed"]):
        return False
    config = {**config, "population_seed": seed}
    exposure = example.get("exposure", 0)
    if exposure < 0:
        return False
    if "exposure" in example and "index" in example:
        most = config["num_people"] * config["exposures"]
        if example["index"] < 0 or exposure // config["exposures"] != example["index"] // most:
            return False
    for name, number in people.items():
        if name not in example["text"] or example.get("person", number) != number:
            continue
        for spans in readings(config, person(config, number), example["text"]):
            starts, ends = ([spans[name][side] for name in SPANS] for side in (0, 1))
            if example.get("value_starts", starts) == starts and example.get("value_ends", ends) == ends:
                return True
    return False
