"""Capo's validator: reads who a biography is about, and holds every sentence to that person.

Written apart from the generator on purpose: of it, it shares the pools, the population (the facts that a
biography is held to) and the tokenizer, but none of the code that makes texts or tokens (a test reads the
imports). It finds a full name in the text, turns its number back into a person, and looks for a way to read
the text as six different sentences that are all true of that person; where a text can be read in several
ways (two cities may be the same), all are tried. Ids must be the tokenizer's own for the text they spell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.batch import unragged
from ..core.tokenizer import Loaded, read_back
from .config import encoder_of, fields_of, templates_of, tokenizer_of
from .parse import AMBIGUOUS, GOES_ON, NO_NAME, OTHER_SPANS, TRUE, UNTRUE, Texts, find_names, read_rows
from .people import FIRST, LAST, Population, population
from .reading import Reading, reading
from .tokenizer import encoding_of
from .told import told_columns, untrue

MESSAGES = (
    "valid",
    "does not end with the end-of-text token",
    "longer than any biography of this config",
    "it has no full name",
    "the full name is not that of anyone among num_people",
    "the full name may be several people's in these tokens, and the column person is not there to tell",
    "no true sentence about the person begins here, or it ends too early",
    "continues after the sixth sentence",
    "the ids are not the tokenizer's own for the text that they spell",
    "population is not the config's population_seed, or neither is there",
    "person is not the one the full name belongs to",
    "exposure is not possible at this index",
    "loss_mask is not 1 on all tokens",
    "value_starts, value_ends, char_starts or char_ends differ from the text",
    "a column of the person's attributes says what the text does not",
)
(
    VALID,
    _NO_END,
    _TOO_LONG,
    _NO_NAME,
    NOBODY,
    _SEVERAL,
    _UNTRUE,
    _GOES_ON,
    _OTHER_IDS,
    _POPULATION,
    _PERSON,
    _EXPOSURE,
    _MASK,
    SPANS,
    ATTRIBUTES,
) = range(len(MESSAGES))
# Of what `read_rows` says.
_CODE_OF_RESULT = np.zeros(4, dtype=np.int32)
_CODE_OF_RESULT[[TRUE, UNTRUE, GOES_ON, OTHER_SPANS]] = VALID, _UNTRUE, _GOES_ON, SPANS
_NO_SPANS = np.empty((0, 8), dtype=np.int32)
_NO_SPANS.flags.writeable = False
_SPAN_COLUMNS = ("value_starts", "value_ends", "char_starts", "char_ends")


@dataclass(kw_only=True, eq=False)
class Rows:
    """What is looked at of a batch, and what is said of it so far."""

    elements: NDArray[Any]
    begins: NDArray[np.int64]  # [rows]
    ends: NDArray[np.int64]  # [rows], without the end-of-text token
    people: NDArray[np.int64] | None  # the column person
    spans: tuple[NDArray[np.int32], ...]  # four of [rows, 8], or [0, 8] where the batch has no such column
    odd_spans: NDArray[np.bool_]  # [rows]: a column of spans has not 8 of them
    told: dict[str, pa.StringArray]  # the columns of attributes that the batch has
    codes: NDArray[np.int32]
    positions: NDArray[np.int64]

    @property
    def texts(self) -> Texts:
        """The rows as readers take them."""
        return Texts(elements=self.elements, begins=self.begins, ends=self.ends)

    def fail(self, rows: NDArray[np.int64], code: int, positions: Any = 0) -> None:
        """Rows that are still valid become invalid."""
        valid = self.codes[rows] == VALID
        self.positions[rows[valid]] = np.broadcast_to(positions, rows.shape)[valid]
        self.codes[rows[valid]] = code


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a row is read by."""

    people: Population
    read: Reading
    config: Mapping[str, Any]


def validate(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch with the column `input_ids` (or `text`) and any other column of Capo."""
    rows = taken(batch, config)
    if config["bio"] == "text":
        _check_people(rows, batch, config, None)
    else:
        loaded = tokenizer_of(config)
        if encoder_of(config).why_whole:
            _check_whole(rows, batch, config, loaded)
        else:
            _check_people(rows, batch, config, loaded)
    check_beside(rows, batch, config)
    return Verdicts(codes=rows.codes, positions=rows.positions, messages=MESSAGES)


def taken(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Rows:
    """The rows of a batch, without their ends; those that lack one are refused."""
    text = config["bio"] == "text"
    values, offsets = unragged(batch.column("text" if text else "input_ids"))
    rows = Rows(
        elements=values,
        begins=offsets[:-1].astype(np.int64),
        ends=offsets[1:].astype(np.int64),
        people=batch.column("person").to_numpy() if "person" in batch.schema.names else None,
        spans=(),
        odd_spans=np.zeros(batch.num_rows, dtype=bool),
        told=told_columns(batch),
        codes=np.zeros(batch.num_rows, dtype=np.int32),
        positions=np.zeros(batch.num_rows, dtype=np.int64),
    )
    # A text's values are counted in characters.
    names = (None, None, "value_starts", "value_ends") if text else _SPAN_COLUMNS
    rows.spans = tuple(_spans(batch, name, rows.odd_spans) for name in names)
    if not text and config["eos"]:
        _take_off_end(rows, tokenizer_of(config).end)
    return rows


def check_beside(rows: Rows, batch: pa.RecordBatch, config: Mapping[str, Any]) -> None:
    """Refuse rows for what stands beside the text and does not follow from it."""
    _check_exposures(rows, batch, config)
    if "loss_mask" in batch.schema.names:
        _check_mask(rows, batch)


def _spans(batch: pa.RecordBatch, name: str | None, odd: NDArray[np.bool_]) -> NDArray[np.int32]:
    """A column of spans as int32 [rows, 8], [0, 8] where there is none; rows without 8 become odd."""
    if name is None or name not in batch.schema.names:
        return _NO_SPANS
    values, offsets = unragged(batch.column(name))
    wrong = np.diff(offsets) != 8
    odd |= wrong
    if wrong.any():
        places = np.full((batch.num_rows, 8), -1, dtype=np.int32)
        places[~wrong] = values[offsets[:-1][~wrong][:, None] + np.arange(8)]
    else:
        places = values[offsets[0] : offsets[-1]].reshape(-1, 8)
    places.flags.writeable = False  # all of one kind: Numba would compile the kernel once for each
    return places


def _take_off_end(rows: Rows, end: int | None) -> None:
    filled = rows.ends > rows.begins
    there = np.zeros(len(filled), dtype=bool)
    there[filled] = rows.elements[rows.ends[filled] - 1] == (-1 if end is None else end)
    lacking = np.flatnonzero(~there)
    rows.fail(lacking, _NO_END, np.maximum(rows.ends - rows.begins - 1, 0)[lacking])
    rows.ends = rows.ends - there


def _check_people(
    rows: Rows, batch: pa.RecordBatch, config: Mapping[str, Any], loaded: Loaded | None
) -> None:
    """Read every row that is still valid, population by population (mostly there is one)."""
    fields = fields_of(config)
    read = reading(fields, templates_of(config), config["reverse_md"], loaded)
    every = np.flatnonzero(rows.codes == VALID)
    rows.fail(every[(rows.ends - rows.begins)[every] > read.most], _TOO_LONG, read.most)
    every = every[rows.codes[every] == VALID]
    for seed, of_seed in by_population(rows, every, batch, config):
        known = _Known(people=population(fields, seed), read=read, config=config)
        _check_one_population(rows, of_seed, known)


def by_population(
    rows: Rows, every: NDArray[np.int64], batch: pa.RecordBatch, config: Mapping[str, Any]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Those of the rows `every` that may be of a population, by its seed; the others are refused."""
    given = config["population_seed"]
    if "population" in batch.schema.names:
        seeds = batch.column("population").to_numpy()
        wrong = (seeds < 0) | (seeds != (seeds if given is None else given))
    else:
        seeds = np.full(batch.num_rows, -1 if given is None else given, dtype=np.int64)
        wrong = seeds < 0
    rows.fail(every[wrong[every]], _POPULATION)
    every = every[~wrong[every]]
    for seed in np.unique(seeds[every]):
        yield int(seed), every[seeds[every] == seed]


def _check_one_population(rows: Rows, waiting: NDArray[np.int64], known: _Known) -> None:
    """Try the full names in each row, one after another, until the row is true of one of them."""
    sizes = known.people.bounds[FIRST : LAST + 1]
    skip = 0
    while len(waiting):
        numbers, places = find_names(known.read, rows.texts, waiting, skip, sizes)
        named = numbers != NO_NAME
        if skip == 0:
            rows.fail(waiting[~named], _NO_NAME)
        waiting, numbers, places = waiting[named], numbers[named], places[named]
        codes, places = _read_about(rows, waiting, numbers, places, known)
        # The first full name says what is wrong, unless the text is right with a later one.
        told = np.flatnonzero((codes == VALID) | (codes == ATTRIBUTES) | (skip == 0))
        rows.codes[waiting[told]] = codes[told]
        rows.positions[waiting[told]] = np.where(codes == VALID, 0, places)[told]
        waiting = waiting[codes != VALID]
        skip += 1


def _read_about(
    rows: Rows,
    waiting: NDArray[np.int64],
    numbers: NDArray[np.int64],
    places: NDArray[np.int64],
    known: _Known,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Code and position of each waiting row, read as about the person with the full name of this number."""
    people, config = known.people, known.config
    codes = np.full(len(waiting), VALID, dtype=np.int32)
    several = numbers == AMBIGUOUS
    persons = np.zeros_like(numbers)
    persons[~several] = people.names.backward(numbers[~several])
    if rows.people is None:
        codes[several] = _SEVERAL
    else:
        persons[several] = rows.people[waiting[several]]
    codes[(codes == VALID) & ((persons < 0) | (persons >= config["num_people"]))] = NOBODY
    tried = np.flatnonzero(codes == VALID)
    facts = people.facts(persons[tried])
    results, reached = read_rows(
        known.read, rows.texts, waiting[tried], facts, not config["order"], rows.spans
    )
    codes[tried] = _CODE_OF_RESULT[results]
    places[tried] = reached
    codes[(codes == VALID) & rows.odd_spans[waiting]] = SPANS
    if rows.people is not None:
        true = (codes == VALID) | (codes == SPANS)
        codes[true & (rows.people[waiting] != persons)] = _PERSON
    if rows.told:
        wrong = untrue(rows.told, waiting[tried], facts, people.pools, config["reverse_md"])
        codes[tried[wrong & (codes[tried] == VALID)]] = ATTRIBUTES
    places[np.isin(codes, (_PERSON, SPANS, ATTRIBUTES))] = 0
    return codes, places


def _check_whole(rows: Rows, batch: pa.RecordBatch, config: Mapping[str, Any], loaded: Loaded) -> None:
    """A tokenizer of whole texts: turn ids back into texts, read these, and encode them again.

    The library does it row by row: slow. Spans of tokens are checked where those of characters are there.
    """
    known = loaded.backend.get_vocab(with_added_tokens=True).values()
    vocabulary = np.zeros(max(known) + 1, dtype=bool)
    vocabulary[list(known)] = True
    paragraphs = [""] * batch.num_rows
    ids: list[list[int]] = [[]] * batch.num_rows
    for row in np.flatnonzero(rows.codes == VALID).tolist():
        row_ids = rows.elements[rows.begins[row] : rows.ends[row]]
        foreign = np.flatnonzero(
            (row_ids < 0) | (row_ids >= len(vocabulary)) | ~vocabulary[np.clip(row_ids, 0, max(known))]
        )
        if len(foreign):
            rows.fail(np.array([row]), _OTHER_IDS, foreign[0])
        else:
            ids[row] = row_ids.tolist()
            paragraphs[row] = read_back(loaded, ids[row])
    letters, offsets = unragged(pa.array(paragraphs, pa.string()))
    none = _NO_SPANS
    as_text = replace(
        rows,
        elements=letters,
        begins=offsets[:-1].astype(np.int64),
        ends=offsets[1:].astype(np.int64),
        spans=(none, none, *rows.spans[2:]),
    )
    _check_people(as_text, batch, config, None)
    for row in np.flatnonzero(rows.codes == VALID).tolist():
        encoding = encoding_of(loaded, paragraphs[row])
        if encoding.ids != ids[row]:
            rows.fail(np.array([row]), _OTHER_IDS)
        elif all(map(len, rows.spans)):
            starts, ends, char_starts, char_ends = (column[row] for column in rows.spans)
            first, last = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
            here = (last <= char_starts[:, None]).sum(axis=1)
            past = np.maximum(here, (first < char_ends[:, None]).sum(axis=1))
            if (starts != here).any() or (ends != past).any():
                rows.fail(np.array([row]), SPANS)


def _check_exposures(rows: Rows, batch: pa.RecordBatch, config: Mapping[str, Any]) -> None:
    """Round r of all exposures has the numbers r * exposures to (r + 1) * exposures - 1."""
    if "exposure" not in batch.schema.names:
        return
    exposures = batch.column("exposure").to_numpy()
    wrong = exposures < 0
    if "index" in batch.schema.names:
        indices = batch.column("index").to_numpy()
        rounds = indices // (config["num_people"] * config["exposures"])
        wrong = wrong | (indices < 0) | (exposures // config["exposures"] != rounds)
    rows.fail(np.flatnonzero(wrong), _EXPOSURE)


def _check_mask(rows: Rows, batch: pa.RecordBatch) -> None:
    offsets = unragged(batch.column(0 if "input_ids" not in batch.schema.names else "input_ids"))[1]
    mask, mask_offsets = unragged(batch.column("loss_mask"))
    lengths = np.diff(mask_offsets)
    rows.fail(np.flatnonzero(lengths != np.diff(offsets)), _MASK)
    wrong = mask_offsets[0] + np.flatnonzero(mask[mask_offsets[0] : mask_offsets[-1]] != 1)
    of_row = np.searchsorted(mask_offsets, wrong, side="right") - 1
    of_row, first = np.unique(of_row, return_index=True)
    rows.fail(of_row, _MASK, wrong[first] - mask_offsets[:-1][of_row])
