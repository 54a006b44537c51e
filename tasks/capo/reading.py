"""What Capo's validator reads by: every sentence as the words it may consist of, in bytes or tokens.

Written apart from `tasks.capo.pieces`, which makes the texts: templates are read again here, word by word
from their own lines, and a text's tokens are those of its words, each encoded by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.kernels import inlined, kernel
from ..core.tokenizer import Loaded
from . import people as facts
from .text import DAYS, MONTHS, PRONOUNS, SENTENCES, YEARS, Content, default_templates, pools_of
from .tokenizer import encoding_of

VALUE_BEGINS, VALUE_ENDS, SUBJECT_BEGINS, SUBJECT_ENDS = 1, 2, 4, 8
# The columns of `Reading.strings`.
OFFSET, LENGTH, CHARS, START, END, CHAR_START, CHAR_END = range(7)
_NAME_PARTS = (facts.FIRST, facts.MIDDLE, facts.LAST)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_S29 = np.uint64(29)
AMBIGUOUS = -2

# A string, and the characters of it that are the value: [start, end).
String = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """All strings of a config as elements (uint8 or int32), and which of them make which sentence."""

    elements: NDArray[Any]
    strings: NDArray[np.int32]  # [strings, 8]: offset, length, characters, value in elements, in characters
    # [items, 3]: the string of value 0, the fact that counts on from it, and marks of spans. A line of items
    # is a template. Lines of one kind are sorted, and know how many items they share with the one before.
    items: NDArray[np.int32]
    lines: NDArray[np.int64]  # [lines + 1, 2]: the first item, items shared
    templates: NDArray[np.int64]  # [lines]: which template of its sentence a line is
    # [2, 7]: the first line of each sentence of SENTENCES; those that open a text, then the others.
    firsts: NDArray[np.int64]
    most: int  # no paragraph has more elements
    # Open addressing: the strings of names by their elements; -1 is free.
    slots: NDArray[np.int32]
    shift: np.uint64
    named: NDArray[np.int32]  # [strings]: which name of its list, AMBIGUOUS where several have its elements
    longest: NDArray[np.int64]  # [3]: elements of a first, middle and last name


class _Writer:
    """Numbers strings and takes their elements word by word."""

    def __init__(self, loaded: Loaded | None) -> None:
        self.loaded = loaded
        self.numbers: dict[tuple[tuple[str, ...], str, str], int] = {}
        self.all: list[String] = []
        self.words: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}

    def number(self, values: tuple[str, ...], lead: str, glue: str) -> int:
        """The number of the first of lead + value + glue, which follow one another."""
        name = (values, lead, glue)
        if name not in self.numbers:
            self.numbers[name] = len(self.all)
            self.all += [(f"{lead}{value}{glue}", len(lead), len(lead) + len(value)) for value in values]
        return self.numbers[name]

    def word(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The elements of one word, and the characters of each."""
        if text not in self.words:
            if self.loaded is None:
                owners = [at for at, letter in enumerate(text) for _ in letter.encode()]
                self.words[text] = list(text.encode()), [(at, at + 1) for at in owners]
            else:
                encoding = encoding_of(self.loaded, text)
                self.words[text] = encoding.ids, encoding.offsets
        return self.words[text]

    def elements(self, string: String) -> tuple[list[int], int, int]:
        """A string's elements, and the first and past-the-last of them that overlap its value."""
        text, start, end = string
        cuts = [0, *(at for at, letter in enumerate(text) if letter == " " and at > 0), len(text)]
        items: list[int] = []
        before, after = 0, 0
        for cut, stop in itertools.pairwise(cuts):
            ids, places = self.word(text[cut:stop])
            items += ids
            before += sum(cut + last <= start for _, last in places)
            after += sum(cut + first >= end for first, _ in places)
        return items, before, max(before, len(items) - after)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many entries two sequences begin with in common."""
    same = (a == b for a, b in zip(one, other, strict=False))
    return sum(itertools.takewhile(bool, same))


@lru_cache(maxsize=8)
def reading(
    fields: Content | None, templates: Content | None, reverse_md: bool, loaded: Loaded | None
) -> Reading:
    """The reading of checked pools and templates in a tokenizer's ids (None: in bytes)."""
    pools, writer = pools_of(fields), _Writer(loaded)
    lists = {
        "birth_city": (facts.BIRTH_CITY, pools.cities),
        "university": (facts.UNIVERSITY, pools.universities),
        "major": (facts.MAJOR, pools.majors),
        "work_city": (facts.EMPLOYER, pools.work_cities),
        "employer": (facts.EMPLOYER, pools.employers),
    }
    names = (pools.first_names, pools.middle_names, pools.last_names)
    named: list[tuple[int, int]] = []  # (part, first string of a list of such names)

    def item(values: Sequence[str], lead: str, glue: str, fact: int, marks: int) -> tuple[int, int, int]:
        return writer.number(tuple(values), lead, glue), fact, marks

    def value(sentence: str, lead: str, glue: str) -> list[tuple[int, int, int]]:
        if sentence != "birth_date":
            fact, values = lists[sentence]
            return [item(values, lead, glue, fact, VALUE_BEGINS | VALUE_ENDS)]
        year = item(YEARS, " ", glue, facts.YEAR, VALUE_ENDS)
        if reverse_md:
            of = item(["of"], " ", "", facts.NOTHING, 0)
            month = item(MONTHS, " ", ",", facts.MONTH, 0)
            return [item(DAYS, lead, "", facts.DAY, VALUE_BEGINS), of, month, year]
        day = item(DAYS, " ", ",", facts.DAY, 0)
        return [item(MONTHS, lead, "", facts.MONTH, VALUE_BEGINS), day, year]

    def name(lead: str, glue: str) -> list[tuple[int, int, int]]:
        lines = []
        for part, (values, own_lead, own_glue, marks) in enumerate(
            zip(names, (lead, " ", " "), ("", "", glue), (SUBJECT_BEGINS, 0, SUBJECT_ENDS), strict=True)
        ):
            lines.append(item(values, own_lead, own_glue, _NAME_PARTS[part], marks))
            named.append((part, lines[-1][0]))
        return lines

    def sentence_items(sentence: str, line: str, opens: bool) -> list[tuple[int, int, int]]:
        strings: list[tuple[int, int, int]] = []
        fixed = ""

        def put_fixed() -> None:
            nonlocal fixed
            if fixed:
                strings.append((writer.number((fixed,), "", ""), facts.NOTHING, 0))
            fixed = ""

        for place, word in enumerate(line.split(" ")):
            lead = "" if opens and place == 0 else " "
            slot, _, glue = word.partition("}")
            if not word.startswith("{"):
                fixed += lead + word
                continue
            put_fixed()
            if slot == "{value":
                strings += value(sentence, lead, glue)
            elif opens:
                strings += name(lead, glue)
            else:
                pronouns = [text.title() if slot == "{Subject" else text for text in PRONOUNS]
                strings.append(item(pronouns, lead, glue, facts.PRONOUN, SUBJECT_BEGINS | SUBJECT_ENDS))
        put_fixed()
        return strings

    items: list[tuple[int, int, int]] = []
    lines: list[tuple[int, int]] = []
    line_templates: list[int] = []
    firsts: list[int] = []
    for opens in (True, False):
        for sentence, texts in templates or default_templates():
            firsts.append(len(lines))
            before: list[tuple[int, int, int]] = []
            sentences = ((sentence_items(sentence, text, opens), place) for place, text in enumerate(texts))
            for line, place in sorted(sentences):
                lines.append((len(items), _shared(before, line)))
                line_templates.append(place)
                items += line
                before = line
        firsts.append(len(lines))
    lines.append((len(items), 0))
    parts, strings, offset = [], [], 0
    for string in writer.all:
        ids, start, end = writer.elements(string)
        parts += ids
        strings.append((offset, len(ids), len(string[0]), start, end, string[1], string[2], 0))
        offset += len(ids)
    table = np.array(strings, dtype=np.int32)
    elements = np.array(parts, dtype=np.uint8 if loaded is None else np.int32)
    # A generous bound: every item of every row at its longest.
    of_fact = {**dict(zip(_NAME_PARTS, map(len, names), strict=True)), facts.NOTHING: 1}
    of_fact |= {fact: len(values) for fact, values in lists.values()}
    of_fact |= {facts.MONTH: len(MONTHS), facts.DAY: len(DAYS), facts.YEAR: len(YEARS), facts.PRONOUN: 2}
    lengths = [int(table[at : at + of_fact[fact], LENGTH].max()) for at, fact, _ in items]
    sums = np.concatenate([[0], np.cumsum(lengths)])
    of_line = np.diff(sums[[first for first, _ in lines]])
    of_sentence = [of_line[a:b].max() for a, b in itertools.pairwise(firsts) if a < b]
    most = int(np.array(of_sentence).reshape(2, len(SENTENCES)).max(axis=0).sum())
    slots, shift, names_of, longest = _name_slots(elements, table, set(named), [len(pool) for pool in names])
    return Reading(
        elements=elements,
        strings=table,
        items=np.array(items, dtype=np.int32),
        lines=np.array(lines, dtype=np.int64),
        templates=np.array(line_templates, dtype=np.int64),
        firsts=np.array(firsts, dtype=np.int64).reshape(2, -1),
        most=most,
        slots=slots,
        shift=shift,
        named=names_of,
        longest=longest,
    )


def _name_slots(
    elements: NDArray[Any], strings: NDArray[np.int32], named: set[tuple[int, int]], sizes: list[int]
) -> tuple[NDArray[np.int32], np.uint64, NDArray[np.int32], NDArray[np.int64]]:
    """The hash table of the names' strings: slots, shift, the name of each string, longest of each part."""
    entries = np.array(
        [(part, at + place, place) for part, at in sorted(named) for place in range(sizes[part])], np.int64
    )
    bits = int(4 * len(entries)).bit_length()
    slots = np.full(1 << bits, -1, dtype=np.int32)
    names_of = np.full(len(strings), -1, dtype=np.int32)
    longest = np.zeros(3, dtype=np.int64)
    shift = np.uint64(64 - bits)
    _insert(elements, strings, entries, slots, shift, names_of, longest)
    for array in (slots, names_of, longest):
        array.flags.writeable = False
    return slots, shift, names_of, longest


@kernel
def _insert(elements, strings, entries, slots, shift, names_of, longest):
    """Put (part, string, name) entries int64 [n, 3] into the table."""
    for entry in range(len(entries)):
        part, string, name = entries[entry, 0], entries[entry, 1], entries[entry, 2]
        offset, length = strings[string, 0], strings[string, 1]
        longest[part] = max(longest[part], length)
        code = begin_hash(part)
        for place in range(offset, offset + length):
            code = add_to_hash(code, elements[place])
        slot = np.int64((code * _MULTIPLIER) >> shift)
        while slots[slot] >= 0:
            other = slots[slot]
            same = strings[other, 1] == length and part == strings[other, 7]
            for step in range(length):
                if same and elements[strings[other, 0] + step] != elements[offset + step]:
                    same = False
            if same:
                if names_of[other] != name:
                    names_of[other] = AMBIGUOUS
                break
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            slots[slot] = string
            names_of[string] = name
            strings[string, 7] = part


@inlined
def begin_hash(part):
    """The hash of no elements, of a part of a name."""
    return np.uint64(part + 1)


@inlined
def add_to_hash(code, element):
    """The hash with one element more."""
    code = (code ^ np.uint64(element)) * _MULTIPLIER
    return code ^ (code >> _S29)
