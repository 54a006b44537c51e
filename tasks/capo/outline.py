"""Capo's outlines, checked: which template stands where in a biography, and that it says what is true.

A build asks this of every row instead of `validate`, which finds the person and the templates in the text
itself. Put together by these templates from the facts of the person that the row names, the strings of
`reading` must be the row, element by element. It is the validator's own reading, which shares nothing with
the pieces that the generator writes; so whatever an outline says, a row that is accepted is a biography.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.kernels import kernel
from .config import encoder_of, fields_of, templates_of, tokenizer_of
from .parse import SPAN_OF_SENTENCE
from .people import population
from .reading import (
    CHAR_END,
    CHAR_START,
    CHARS,
    END,
    LENGTH,
    OFFSET,
    START,
    SUBJECT_BEGINS,
    SUBJECT_ENDS,
    VALUE_BEGINS,
    VALUE_ENDS,
    Reading,
    reading,
)
from .told import untrue
from .validate import (
    ATTRIBUTES,
    MESSAGES,
    NOBODY,
    SPANS,
    VALID,
    Rows,
    by_population,
    check_beside,
    taken,
    validate,
)

OUTLINED_MESSAGES = (*MESSAGES, "the outline that came with it is not its own")
_REFUSED = len(MESSAGES)
_WHOLE = 63  # all six sentences
_WIDTH = 8  # elements that are written at a time
_MOST_ITEMS = 16  # a line has 11 at most: a name of 3, a date of 4, 3 of fixed words, and its end
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(number) for number in range(9))


def check_outlined(batch: pa.RecordBatch, proof: NDArray[np.int32], config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch against its outline, int32 [rows, 6], and all that `validate` looks at.

    Whatever `proof` holds, no row is found valid that is not. Where ids are not those of a text's words, one
    after another, or a row does not say whom it is about, outlines are of no use, and `validate` is asked.
    """
    whole = config["bio"] == "tokens" and encoder_of(config).why_whole
    if whole or "person" not in batch.schema.names:
        return validate(batch, config)
    rows = taken(batch, config)
    if proof.dtype == np.int32 and proof.shape == (batch.num_rows, 6):
        _check_people(rows, batch, np.ascontiguousarray(proof), config)
    else:
        rows.fail(np.arange(batch.num_rows), _REFUSED)
    check_beside(rows, batch, config)
    return Verdicts(codes=rows.codes, positions=rows.positions, messages=OUTLINED_MESSAGES)


def _check_people(
    rows: Rows, batch: pa.RecordBatch, proof: NDArray[np.int32], config: Mapping[str, Any]
) -> None:
    """Hold every row that is still valid to the person that it names."""
    assert rows.people is not None
    loaded = None if config["bio"] == "text" else tokenizer_of(config)
    law = _law_of(reading(fields_of(config), templates_of(config), config["reverse_md"], loaded))
    rows.fail(np.flatnonzero(rows.odd_spans), SPANS)
    rows.fail(np.flatnonzero((rows.people < 0) | (rows.people >= config["num_people"])), NOBODY)
    every = np.flatnonzero(rows.codes == VALID)
    for seed, of_seed in by_population(rows, every, batch, config):
        everybody = population(fields_of(config), seed)
        facts = everybody.facts(rows.people[of_seed])
        _check_outlines(
            rows.elements,
            rows.begins,
            rows.ends,
            of_seed,
            facts,
            proof,
            not config["order"],
            *rows.spans,
            *law,
            _REFUSED,
            SPANS,
            rows.codes,
            np.empty(law.most + _WIDTH, dtype=rows.elements.dtype),
            np.empty((3, _MOST_ITEMS), dtype=np.int64),
        )
        if rows.told:
            wrong = untrue(rows.told, of_seed, facts, everybody.pools, config["reverse_md"])
            rows.fail(of_seed[wrong], ATTRIBUTES)


class _Law(NamedTuple):
    """A reading, with its lines by the numbers of their templates: all are counted, in the order of SENTENCES
    and of their lists."""

    most: int  # no paragraph has more elements
    elements: NDArray[Any]  # and `_WIDTH` more behind them
    strings: NDArray[np.int32]  # as a reading's; likewise `items`
    items: NDArray[np.int32]
    lines: NDArray[np.int64]  # [lines, 6]: first item and one past the last; those at the ends of the spans
    sentence_of: NDArray[np.int64]  # [templates]
    line_of: NDArray[np.int64]  # [2, templates]: the line that opens a text, and the other one
    span_of: NDArray[np.int64]  # [sentences]: where the span of its value stands in the columns


@lru_cache(maxsize=8)
def _law_of(read: Reading) -> _Law:
    counts = np.diff(read.firsts[0])
    before = np.concatenate([[0], np.cumsum(counts)])
    line_of = np.empty((2, before[-1]), dtype=np.int64)
    for role, firsts in enumerate(read.firsts):
        for sentence, (first, past) in enumerate(itertools.pairwise(firsts)):
            line_of[role, before[sentence] + read.templates[first:past]] = np.arange(first, past)
    lines = np.zeros((len(read.lines) - 1, 6), dtype=np.int64)
    for line, (first, past) in enumerate(itertools.pairwise(read.lines[:, 0])):
        lines[line, :2] = first, past
        for column, mark in enumerate((VALUE_BEGINS, VALUE_ENDS, SUBJECT_BEGINS, SUBJECT_ENDS), start=2):
            lines[line, column] = np.flatnonzero(read.items[first:past, 2] & mark)[0]
    return _Law(
        most=read.most,
        elements=np.concatenate([read.elements, np.zeros(_WIDTH, read.elements.dtype)]),
        strings=read.strings,
        items=read.items,
        lines=lines,
        sentence_of=np.repeat(np.arange(len(counts)), counts),
        line_of=line_of,
        span_of=SPAN_OF_SENTENCE,
    )


@kernel
def _check_outlines(
    text,
    begins,
    ends,
    rows,
    facts,
    outlines,
    ordered,
    starts_column,
    ends_column,
    char_starts_column,
    char_ends_column,
    most,
    elements,
    strings,
    items,
    lines,
    sentence_of,
    line_of,
    span_of,
    refused,
    other_spans,
    codes,
    made,
    item_ends,
):
    """Write what the outline and the facts (int32 [len(rows), 12]) of each of `rows` make, and compare.

    Scratch: made [most + _WIDTH]; item_ends int64 [3, items of a line], of each item of a line its string,
    and the elements and characters before it. Places have no sign: what has one might count from an array's
    end, and costs a question each.
    """
    for entry in range(np.uint64(len(rows))):
        row = np.uint64(rows[entry])
        begin, size = np.uint64(begins[row]), ends[row] - begins[row]
        at, chars = _0, 0
        seen, good = 0, size <= most
        moved = 0
        for place in range(6):
            number = outlines[row, np.uint64(place)]
            if not good or number < 0 or number >= len(sentence_of):
                good = False
                break
            template = np.uint64(number)
            sentence = sentence_of[template]
            seen |= 1 << sentence
            if ordered and sentence != place:
                good = False
                break
            line = np.uint64(line_of[_0 if place == 0 else _1, template])
            nth = _0
            for item in range(np.uint64(lines[line, _0]), np.uint64(lines[line, _1])):
                string = np.uint64(items[item, _0] + facts[entry, np.uint64(items[item, _1])])
                item_ends[_0, nth], item_ends[_1, nth], item_ends[_2, nth] = string, at, chars
                nth += _1
                source, target = np.uint64(strings[string, OFFSET]), at
                at += np.uint64(strings[string, LENGTH])
                chars += strings[string, CHARS]
                if at > np.uint64(most):
                    good = False
                    break
                # Eight at a time, as they come in one wide move; what is too much is written over.
                while target < at:
                    a, b = elements[source], elements[source + _1]
                    c, d = elements[source + _2], elements[source + _3]
                    e, f = elements[source + _4], elements[source + _5]
                    g, h = elements[source + _6], elements[source + _7]
                    made[target], made[target + _1] = a, b
                    made[target + _2], made[target + _3] = c, d
                    made[target + _4], made[target + _5] = e, f
                    made[target + _6], made[target + _7] = g, h
                    source += _8
                    target += _8
            if not good:
                break
            # The spans of the value, and of the subject: the name first, then the first pronoun.
            for which in range(_0, _2 if place < 2 else _1):
                span = np.uint64(span_of[sentence])
                if which == _1:
                    span = _0 if place == 0 else _7
                head, tail = np.uint64(lines[line, _2 + _2 * which]), np.uint64(lines[line, _3 + _2 * which])
                first, last = np.uint64(item_ends[_0, head]), np.uint64(item_ends[_0, tail])
                if len(starts_column):
                    moved |= starts_column[row, span] ^ (item_ends[_1, head] + strings[first, START])
                if len(ends_column):
                    moved |= ends_column[row, span] ^ (item_ends[_1, tail] + strings[last, END])
                if len(char_starts_column):
                    moved |= char_starts_column[row, span] ^ (
                        item_ends[_2, head] + strings[first, CHAR_START]
                    )
                if len(char_ends_column):
                    moved |= char_ends_column[row, span] ^ (item_ends[_2, tail] + strings[last, CHAR_END])
        good = good and seen == _WHOLE and at == np.uint64(size)
        if good:
            differ = made[_0] ^ made[_0]
            for step in range(at):
                differ |= text[begin + step] ^ made[step]
            good = differ == 0
        if not good:
            codes[row] = refused
        elif moved != 0:
            codes[row] = other_spans
