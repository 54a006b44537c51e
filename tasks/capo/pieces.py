"""Biographies out of pieces: every text is put together from parts that are encoded once.

A sentence is a short program: a list of (first piece of a table, fact), where the fact's number says which
piece of the table. Each piece begins at a space or where the text begins, so a piece holds a value together
with the mark that is glued to it, and the fixed words around a pronoun together with that pronoun. The same
programs write UTF-8 bytes and tokens: only the elements of the pieces differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.kernels import kernel
from .people import (
    BIRTH_CITY,
    DAY,
    EMPLOYER,
    FIRST,
    LAST,
    MAJOR,
    MIDDLE,
    MONTH,
    NOTHING,
    PRONOUN,
    UNIVERSITY,
    YEAR,
)
from .text import DAYS, MONTHS, PRONOUNS, SENTENCES, YEARS, Content, Template, pools_of, templates_of

SPANS = ("name", "birth_date", "birth_city", "university", "major", "employer", "work_city", "pronoun")
SPAN_OF_SENTENCE = np.array([SPANS.index(name) for name in SENTENCES])
WIDTH = 8  # elements that are copied at a time: what must be free behind the last of a batch
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(number) for number in range(9))
_MOST_OPS = 16  # a program has 10 at most: a name of 3, a date of 4, 3 of fixed words
# The columns of `Pieces.table`.
_OFFSET, _LENGTH, _START, _END, _CHARS, _CHAR_START, _CHAR_END = range(7)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """All pieces as texts, and the programs of all sentences."""

    texts: list[str]  # of each piece
    spans: list[tuple[int, int]]  # the value (or pronoun) within it, in characters
    ops: NDArray[np.int32]  # [ops, 2]: first piece of a table, fact
    # [2 * templates, 6]: first op, one past the last; then first and last op of the value and of the
    # subject, counted from the first. Template t has the programs 2t (it opens the text) and 2t + 1.
    programs: NDArray[np.int32]
    firsts: NDArray[np.int64]  # [7]: the first template of each sentence, and their number
    bounds: NDArray[np.int64]  # [12]: the facts' (see tasks.capo.people)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """A plan with the elements of its pieces: bytes (uint8) or tokens (int32)."""

    plan: Plan
    elements: NDArray[Any]
    table: NDArray[np.int32]  # [pieces, 8]: offset, length, span in elements, characters, span in them, 0


class _Builder:
    """Gathers pieces and programs; a table that is asked for again is there already."""

    def __init__(self, fields: Content | None, reverse_md: bool) -> None:
        pools = pools_of(fields)
        self.values = {
            FIRST: pools.first_names,
            MIDDLE: pools.middle_names,
            LAST: pools.last_names,
            BIRTH_CITY: pools.cities,
            UNIVERSITY: pools.universities,
            MAJOR: pools.majors,
            EMPLOYER: pools.employers,
        }
        self.work_cities = pools.work_cities
        self.reverse_md = reverse_md
        self.texts: list[str] = []
        self.spans: list[tuple[int, int]] = []
        self.ops: list[tuple[int, int]] = []
        self.tables: dict[tuple[str, tuple[str, ...], str], int] = {}

    def table(self, before: str, values: tuple[str, ...], after: str = "") -> int:
        """The first piece of a table of before + value + after, of which the value is the span."""
        name = (before, values, after)
        if name not in self.tables:
            texts = [f"{before}{value}{after}" for value in values]
            spans = [(len(before), len(before) + len(value)) for value in values]
            self.tables[name] = self.pieces(texts, spans)
        return self.tables[name]

    def pieces(self, texts: list[str], spans: list[tuple[int, int]]) -> int:
        """Append pieces; returns the first."""
        self.texts += texts
        self.spans += spans
        return len(self.texts) - len(texts)

    def value_ops(self, sentence: str, space: str, glue: str) -> list[tuple[int, int]]:
        """The ops of a sentence's value."""
        if sentence == "birth_date":
            year = (self.table(" ", YEARS, glue), YEAR)
            if self.reverse_md:
                return [(self.table(space, DAYS), DAY), (self.table(" of ", MONTHS, ","), MONTH), year]
            return [(self.table(space, MONTHS), MONTH), (self.table(" ", DAYS, ","), DAY), year]
        if sentence == "work_city":
            return [(self.table(space, self.work_cities, glue), EMPLOYER)]
        fact = {"birth_city": BIRTH_CITY, "university": UNIVERSITY, "major": MAJOR, "employer": EMPLOYER}
        return [(self.table(space, self.values[fact[sentence]], glue), fact[sentence])]

    def program(self, sentence: str, template: Template, opens_text: bool) -> tuple[int, ...]:
        """Append a sentence's ops; returns its row of `Plan.programs`."""
        first = len(self.ops)
        words = ["", ""]  # fixed words and pronouns since the last value, for each pronoun
        subject_in_words: list[tuple[int, int]] = []
        value = subject = (0, 0)

        def put_words() -> None:
            nonlocal words, subject_in_words, subject
            if subject_in_words:
                subject = (len(self.ops) - first,) * 2
                self.ops.append((self.pieces(words, subject_in_words), PRONOUN))
            elif words[0]:
                self.ops.append((self.pieces(words[:1], [(0, 0)]), NOTHING))
            words, subject_in_words = ["", ""], []

        def put_all(ops: list[tuple[int, int]]) -> tuple[int, int]:
            put_words()
            self.ops += ops
            return len(self.ops) - first - len(ops), len(self.ops) - first - 1

        space = "" if opens_text else " "
        if template.before:
            words = [space + template.before] * 2
            space = " "
        for is_value, glue, then in (
            (template.value_first, template.first_glue, template.between),
            (not template.value_first, template.second_glue, template.after),
        ):
            if is_value:
                value = put_all(self.value_ops(sentence, space, glue))
            elif opens_text:
                subject = put_all(
                    [
                        (self.table(space, self.values[FIRST]), FIRST),
                        (self.table(" ", self.values[MIDDLE]), MIDDLE),
                        (self.table(" ", self.values[LAST], glue), LAST),
                    ]
                )
            else:
                opens = not template.before and not template.value_first
                pronouns = [pronoun.capitalize() if opens else pronoun for pronoun in PRONOUNS]
                begins = [len(text) + len(space) for text in words]
                subject_in_words = [(at, at + len(p)) for at, p in zip(begins, pronouns, strict=True)]
                words = [f"{text}{space}{p}{glue}" for text, p in zip(words, pronouns, strict=True)]
            words = [text + then for text in words]
            space = " "
        put_words()
        return (first, len(self.ops), *value, *subject)


@lru_cache(maxsize=8)
def plan_of(fields: Content | None, templates: Content | None, reverse_md: bool) -> Plan:
    """The plan of checked pools and templates (None: the default ones)."""
    builder = _Builder(fields, reverse_md)
    programs, firsts = [], [0]
    for sentence, group in zip(SENTENCES, templates_of(templates), strict=True):
        for template in group:
            programs += [builder.program(sentence, template, opens) for opens in (True, False)]
        firsts.append(firsts[-1] + len(group))
    sizes = {**builder.values, MONTH: MONTHS, DAY: DAYS, YEAR: YEARS, PRONOUN: PRONOUNS, NOTHING: [""]}
    return Plan(
        texts=builder.texts,
        spans=builder.spans,
        ops=np.array(builder.ops, dtype=np.int32),
        programs=np.array(programs, dtype=np.int32),
        firsts=np.array(firsts, dtype=np.int64),
        bounds=np.array([len(sizes[fact]) for fact in range(len(sizes))], dtype=np.int64),
    )


def encode_pieces(
    plan: Plan, dtype: type, encode: Callable[[str, tuple[int, int]], tuple[Sequence[int], int, int]]
) -> Pieces:
    """The elements of every piece. encode(text, span) -> its elements, and the span in them."""
    parts: list[NDArray[Any]] = []
    rows, known = [], {}
    offset = 0
    for text, span in zip(plan.texts, plan.spans, strict=True):
        if (text, span) not in known:
            elements, start, end = encode(text, span)
            parts.append(np.asarray(elements, dtype=dtype))
            known[text, span] = (offset, len(elements), start, end, len(text), *span, 0)
            offset += len(elements)
        rows.append(known[text, span])
    return Pieces(
        plan=plan,
        elements=np.concatenate([*parts, np.zeros(WIDTH, dtype=dtype)]),
        table=np.array(rows, dtype=np.int32),
    )


def bytes_of(text: str, span: tuple[int, int]) -> tuple[list[int], int, int]:
    """A piece's UTF-8 bytes, and the span in them."""
    start, end = (len(text[:place].encode()) for place in span)
    return list(text.encode()), start, end


@lru_cache(maxsize=8)
def text_pieces(fields: Content | None, templates: Content | None, reverse_md: bool) -> Pieces:
    """The pieces as UTF-8 bytes."""
    return encode_pieces(plan_of(fields, templates, reverse_md), np.uint8, bytes_of)


@dataclass(frozen=True, kw_only=True, eq=False)
class Composed:
    """Texts of a batch, one after another, and the spans of their values in the order of SPANS."""

    elements: NDArray[Any]
    offsets: NDArray[np.int32]  # [rows + 1]
    starts: NDArray[np.int32]  # [rows, 8], in elements; likewise `ends`
    ends: NDArray[np.int32]
    char_starts: NDArray[np.int32]  # [rows, 8], in characters
    char_ends: NDArray[np.int32]


def compose(
    pieces: Pieces, facts: NDArray[np.int32], programs: NDArray[np.int32], room: int, last: int = -1
) -> Composed:
    """Write a paragraph for each row: six programs (int32 [rows, 6]) over its facts.

    room: no paragraph has more elements, `last` included, an element that ends each of them (-1: none).
    """
    rows = len(facts)
    elements = np.empty(rows * room + WIDTH, dtype=pieces.elements.dtype)
    offsets = np.zeros(rows + 1, dtype=np.int32)
    spans = [np.empty((rows, len(SPANS)), dtype=np.int32) for _ in range(4)]
    plan = pieces.plan
    sentence_of = np.repeat(SPAN_OF_SENTENCE, 2 * np.diff(plan.firsts))
    _compose(
        pieces.elements,
        pieces.table,
        plan.ops,
        plan.programs,
        sentence_of,
        facts,
        programs,
        last,
        elements,
        offsets,
        *spans,
        *(np.empty(_MOST_OPS, dtype=np.int64) for _ in range(3)),
    )
    starts, ends, char_starts, char_ends = spans
    return Composed(
        elements=elements[: offsets[-1]],
        offsets=offsets,
        starts=starts,
        ends=ends,
        char_starts=char_starts,
        char_ends=char_ends,
    )


@kernel
def _compose(
    elements,
    table,
    ops,
    programs,
    span_of,
    facts,
    chosen,
    last_element,
    out,
    offsets,
    starts,
    ends,
    char_starts,
    char_ends,
    op_pieces,
    op_places,
    op_chars,
):
    """Copy the pieces of all rows one after another. The last three are scratch: of each op of a program.

    Places have no sign: what has one might count from an array's end, and costs a question each.
    """
    at = _0
    for row in range(np.uint64(len(facts))):
        begin, chars = at, 0
        for place in range(6):
            program = np.uint64(chosen[row, np.uint64(place)])
            nth = _0
            for op in range(np.uint64(programs[program, _0]), np.uint64(programs[program, _1])):
                piece = np.uint64(ops[op, _0] + facts[row, np.uint64(ops[op, _1])])
                op_pieces[nth], op_places[nth], op_chars[nth] = piece, at - begin, chars
                nth += _1
                source, target = np.uint64(table[piece, _OFFSET]), at
                at += np.uint64(table[piece, _LENGTH])
                chars += table[piece, _CHARS]
                # Eight at a time, loaded before they are stored, so that they become one wide move each;
                # what is too much is written over.
                while target < at:
                    a, b = elements[source], elements[source + _1]
                    c, d = elements[source + _2], elements[source + _3]
                    e, f = elements[source + _4], elements[source + _5]
                    g, h = elements[source + _6], elements[source + _7]
                    out[target], out[target + _1] = a, b
                    out[target + _2], out[target + _3] = c, d
                    out[target + _4], out[target + _5] = e, f
                    out[target + _6], out[target + _7] = g, h
                    source += _8
                    target += _8
            # The spans of the value, and of the subject: the name first, then the first pronoun.
            for which in range(_0, _2 if place < 2 else _1):
                span = np.uint64(span_of[program])
                if which == _1:
                    span = _0 if place == 0 else _7
                one, other = programs[program, _2 + _2 * which], programs[program, _3 + _2 * which]
                first, last = np.uint64(one), np.uint64(other)
                head, tail = np.uint64(op_pieces[first]), np.uint64(op_pieces[last])
                starts[row, span] = op_places[first] + table[head, _START]
                ends[row, span] = op_places[last] + table[tail, _END]
                char_starts[row, span] = op_chars[first] + table[head, _CHAR_START]
                char_ends[row, span] = op_chars[last] + table[tail, _CHAR_END]
        if last_element >= 0:
            out[at] = last_element
            at += _1
        offsets[row + _1] = at
