"""The two readers of Capo's validator: where a full name stands, and whether a text is true of a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.kernels import inlined, kernel
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
    add_to_hash,
    begin_hash,
)

NO_NAME = -1
AMBIGUOUS = -2
# What `read_rows` says of a row.
TRUE, UNTRUE, GOES_ON, OTHER_SPANS = range(4)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SPACE = 32
_WHOLE = 63  # all six sentences
_MOST_ITEMS = 16  # a line has 11 at most: a name of 3, a date of 4, 3 of fixed words, and its end
# Where the spans of a sentence of tasks.capo.text.SENTENCES stand in the columns.
SPAN_OF_SENTENCE = np.array([1, 2, 3, 4, 6, 5], dtype=np.int64)
SPAN_OF_SENTENCE.flags.writeable = False


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts end to end: row r is elements[begins[r] : ends[r]], bytes (uint8) or ids of tokens (int32)."""

    elements: NDArray[Any]
    begins: NDArray[np.int64]  # [rows]
    ends: NDArray[np.int64]  # [rows]


def find_names(
    read: Reading, texts: Texts, rows: NDArray[np.int64], skip: int, sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of the full name in each of `rows` (NO_NAME, AMBIGUOUS), and where it stands in the row.

    skip: that many full names are passed over. sizes: of the three lists of names, int64 [3].
    """
    numbers, places = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.int64)
    words_only = texts.elements.dtype == np.uint8
    _find_names(
        texts.elements,
        texts.begins,
        texts.ends,
        rows,
        skip,
        words_only,
        read.elements,
        read.strings,
        read.slots,
        read.shift,
        read.named,
        read.longest,
        sizes,
        numbers,
        places,
    )
    return numbers, places


def read_rows(
    read: Reading,
    texts: Texts,
    rows: NDArray[np.int64],
    facts: NDArray[np.int32],
    ordered: bool,
    spans: tuple[NDArray[np.int32], ...],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Whether each of `rows` is true of its facts (int32 [len(rows), 12]), and how far it is.

    ordered: sentences must come in the order of SENTENCES. spans: four columns int32 [all rows, 8] (or
    [0, 8]: not there): where the values start and end, in elements, then in characters.
    """
    results, places = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int64)
    room = read.most + 1
    _read_rows(
        texts.elements,
        texts.begins,
        texts.ends,
        rows,
        facts,
        ordered,
        *spans,
        read.elements,
        read.strings,
        read.items,
        read.lines,
        read.firsts,
        SPAN_OF_SENTENCE,
        results,
        places,
        np.empty(_WHOLE + 1, dtype=np.int64),
        np.empty((_WHOLE + 1, room), dtype=np.int64),
        np.empty((_WHOLE + 1, room), dtype=np.int64),
        np.empty((2, _MOST_ITEMS), dtype=np.int64),
    )
    return results, places


@inlined
def _lookup(code, text, at, length, part, elements, strings, slots, shift, named):
    """The name of a part whose string is text[at : at + length] and hashes to `code`; NO_NAME, AMBIGUOUS."""
    slot = np.int64((code * _MULTIPLIER) >> shift)
    number = NO_NAME
    while number == NO_NAME and slots[slot] >= 0:
        string = slots[slot]
        if strings[string, LENGTH] == length and strings[string, 7] == part:
            offset = strings[string, OFFSET]
            step = 0
            while step < length and elements[offset + step] == text[at + step]:
                step += 1
            if step == length:
                number = named[string]
        slot = (slot + 1) & (len(slots) - 1)
    return number


@kernel
def _find_names(
    text,
    begins,
    ends,
    rows,
    skip,
    words_only,
    elements,
    strings,
    slots,
    shift,
    named,
    longest,
    sizes,
    numbers,
    places,
):
    """See `find_names`. words_only: a name begins where the text does or at a space (of bytes)."""
    for entry in range(len(rows)):
        begin, end = begins[rows[entry]], ends[rows[entry]]
        numbers[entry] = NO_NAME
        places[entry] = 0
        left = skip
        for at in range(begin, end):
            if left < 0:
                break
            if words_only and at > begin and text[at] != _SPACE:
                continue
            # Any first name here, any middle name behind it, any last name behind that.
            code1 = begin_hash(0)
            for length1 in range(1, min(longest[0], end - at) + 1):
                code1 = add_to_hash(code1, text[at + length1 - 1])
                first = _lookup(code1, text, at, length1, 0, elements, strings, slots, shift, named)
                if first == NO_NAME or left < 0:
                    continue
                at2 = at + length1
                code2 = begin_hash(1)
                for length2 in range(1, min(longest[1], end - at2) + 1):
                    code2 = add_to_hash(code2, text[at2 + length2 - 1])
                    middle = _lookup(code2, text, at2, length2, 1, elements, strings, slots, shift, named)
                    if middle == NO_NAME or left < 0:
                        continue
                    at3 = at2 + length2
                    code3 = begin_hash(2)
                    for length3 in range(1, min(longest[2], end - at3) + 1):
                        code3 = add_to_hash(code3, text[at3 + length3 - 1])
                        last = _lookup(code3, text, at3, length3, 2, elements, strings, slots, shift, named)
                        if last == NO_NAME or left < 0:
                            continue
                        left -= 1
                        if left < 0:
                            places[entry] = at - begin
                            if first == AMBIGUOUS or middle == AMBIGUOUS or last == AMBIGUOUS:
                                numbers[entry] = AMBIGUOUS
                            else:
                                numbers[entry] = (first * sizes[1] + middle) * sizes[2] + last


@inlined
def _agrees(column, row, which, place):
    """Whether a column of spans, where there is one, has this place."""
    return len(column) == 0 or column[row, which] == place


@kernel
def _read_rows(
    text,
    begins,
    ends,
    rows,
    facts,
    ordered,
    starts_column,
    ends_column,
    char_starts_column,
    char_ends_column,
    elements,
    strings,
    items,
    lines,
    firsts,
    span_of,
    results,
    places,
    counts,
    reached,
    reached_chars,
    item_ends,
):
    """See `read_rows`. The last four are scratch: what is reached after each set of sentences, and the places
    and characters at which a line's items begin.

    Sets are numbers of six bits. One with a sentence more is a larger number, so all ways to a set are known
    when its turn comes; ways that reach the same place are one.
    """
    for entry in range(len(rows)):
        row = rows[entry]
        begin, end = begins[row], ends[row]
        spans_matter = True
        result = UNTRUE
        furthest = begin
        while True:
            for done in range(_WHOLE + 1):
                counts[done] = 0
            counts[0] = 1
            reached[0, 0] = begin
            reached_chars[0, 0] = 0
            for done in range(_WHOLE):
                depth = 0
                for sentence in range(6):
                    depth += (done >> sentence) & 1
                for way in range(counts[done]):
                    from_at, from_chars = reached[done, way], reached_chars[done, way]
                    for sentence in range(6):
                        if (done >> sentence) & 1 or (ordered and sentence != depth):
                            continue
                        after = done | (1 << sentence)
                        span = span_of[sentence]
                        role = 1 if depth > 0 else 0
                        good = 0  # items of the line before that are in the text
                        item_ends[0, 0], item_ends[1, 0] = from_at, from_chars
                        for line in range(firsts[role, sentence], firsts[role, sentence + 1]):
                            if good < lines[line, 1]:
                                continue  # it shares the item that the one before failed at
                            good = lines[line, 1]
                            at, chars = item_ends[0, good], item_ends[1, good]
                            same = True
                            for item in range(lines[line, 0] + good, lines[line + 1, 0]):
                                string = items[item, 0] + facts[entry, items[item, 1]]
                                length = strings[string, LENGTH]
                                if at + length > end:
                                    same = False
                                    break
                                offset = strings[string, OFFSET]
                                step = 0
                                while step < length and text[at + step] == elements[offset + step]:
                                    step += 1
                                if step < length:
                                    same = False
                                    break
                                marks = items[item, 2]
                                if spans_matter and marks > 0:
                                    which = span
                                    if marks >= SUBJECT_BEGINS:
                                        which = 0 if depth == 0 else 7
                                    if marks < SUBJECT_BEGINS or depth < 2:
                                        if marks & (VALUE_BEGINS | SUBJECT_BEGINS):
                                            same &= _agrees(
                                                starts_column, row, which, at - begin + strings[string, START]
                                            )
                                            same &= _agrees(
                                                char_starts_column,
                                                row,
                                                which,
                                                chars + strings[string, CHAR_START],
                                            )
                                        if marks & (VALUE_ENDS | SUBJECT_ENDS):
                                            same &= _agrees(
                                                ends_column, row, which, at - begin + strings[string, END]
                                            )
                                            same &= _agrees(
                                                char_ends_column,
                                                row,
                                                which,
                                                chars + strings[string, CHAR_END],
                                            )
                                        if not same:
                                            break
                                at += length
                                chars += strings[string, CHARS]
                                good += 1
                                item_ends[0, good], item_ends[1, good] = at, chars
                            if not same:
                                continue
                            furthest = max(furthest, at)
                            known = False
                            for other in range(counts[after]):
                                if reached[after, other] == at and reached_chars[after, other] == chars:
                                    known = True
                            if not known and counts[after] < reached.shape[1]:
                                reached[after, counts[after]] = at
                                reached_chars[after, counts[after]] = chars
                                counts[after] += 1
            matches = False
            for way in range(counts[_WHOLE]):
                if reached[_WHOLE, way] == end:
                    matches = True
            if matches:
                result = TRUE if spans_matter else OTHER_SPANS
                break
            if not spans_matter:
                result = GOES_ON if counts[_WHOLE] > 0 else UNTRUE
                break
            # Once more, whatever the columns of spans say.
            spans_matter = False
        results[entry] = result
        places[entry] = 0 if result == OTHER_SPANS else furthest - begin
