"""What `ostraca audit` holds Capo to: the people, and how each paragraph tells of one of them.

People come up again and again, so what is true of them is looked at once each (the unit `person`, read from
the population); of paragraphs (the unit `text`, read from the tokens) all that is drawn anew for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..auditing import BINS, Audit, Law, Pair, chosen, fitting, spread, uniform
from ..core.batch import unragged
from ..core.kernels import kernel
from .config import encoder_of, fields_of, templates_of, tokenizer_of
from .parse import AMBIGUOUS, NO_NAME, Texts, find_names
from .people import FIRST, LAST, Population, population
from .reading import LENGTH, OFFSET, Reading, reading
from .text import SENTENCES

_FACTS = (
    *("", "first_name", "middle_name", "last_name", "month", "day", "year"),
    *("birth_city", "university", "major", "employer", "pronoun"),
)
_MOST_NAMES = 8  # full names in a text that are tried, one within another
_ORDERS = 720
_Columns = dict[str, NDArray[np.int64]]


def audit_of(config: Mapping[str, Any]) -> Audit:
    """The declarations for a config."""
    people = population(fields_of(config), config["population_seed"] or 0)
    reader = _reader(config)
    facts = {name: int(people.bounds[which]) for which, name in enumerate(_FACTS) if which}
    person = {**facts, "place": BINS, "number": BINS}
    laws = [Law(unit="person", column=name, law=uniform(size)) for name, size in facts.items()]
    names = list(facts)
    pairs = [
        *(
            Pair(unit="person", feature=feature, target=name)
            for feature in ("place", "number")
            for name in names
        ),
        *(
            Pair(unit="person", feature=one, target=other)
            for place, one in enumerate(names)
            for other in names[place + 1 :]
        ),
    ]
    columns = {"person": person}
    neighbours = [("person", name) for name in ("first_name", "birth_city", "employer", "pronoun")]
    if reader is not None:
        columns["text"] = _text_columns(reader, facts)
        more = _of_texts(reader, config, facts)
        laws, pairs = laws + more[0], pairs + more[1]
        neighbours += [
            ("text", name) for name in ("person", "number", "order", "sentence", "template", "tokens")
        ]

    def tables(batch: pa.RecordBatch) -> dict[str, _Columns]:
        columns = {"person": _people(batch.column("index").to_numpy(), people, config["num_people"])}
        if reader is not None:
            columns["text"] = _texts(batch, config, people, reader)
        return columns

    return fitting(columns=columns, tables=tables, laws=laws, pairs=pairs, neighbours=neighbours)


def _reader(config: Mapping[str, Any]) -> Reading | None:
    """How paragraphs are read; None where a tokenizer works on whole texts only."""
    loaded = None
    if config["bio"] == "tokens":
        if encoder_of(config).why_whole:
            return None
        loaded = tokenizer_of(config)
    return reading(fields_of(config), templates_of(config), config["reverse_md"], loaded)


def _text_columns(reader: Reading, facts: Mapping[str, int]) -> dict[str, int]:
    templates = int(np.diff(reader.firsts, axis=1).max())
    return {
        **facts,
        "readable": 2,
        "person": BINS,
        "number": BINS,
        "exposure": BINS,
        "index": BINS,
        "time": BINS,
        "tokens": BINS,
        "order": _ORDERS,
        "turn": len(SENTENCES),
        "sentence": len(SENTENCES),
        "next_sentence": len(SENTENCES),
        "template": templates,
        "next_template": templates,
        "opening": templates,
    }


def _of_texts(
    reader: Reading, config: Mapping[str, Any], facts: Mapping[str, int]
) -> tuple[list[Law], list[Pair]]:
    kinds = len(SENTENCES)
    counts = np.diff(reader.firsts[0])
    of_sentence = np.zeros((kinds, int(counts.max())))
    for sentence, count in enumerate(counts):
        of_sentence[sentence, :count] = 1.0 / count
    if config["order"]:
        order, turns = uniform(_ORDERS), np.full((kinds, kinds), 1.0 / kinds)
    else:
        order, turns = np.eye(1, _ORDERS)[0], np.eye(kinds)
    laws = [
        Law(unit="text", column="readable", law=np.array([0.0, 1.0])),
        Law(unit="text", column="person", law=uniform(BINS)),
        Law(unit="text", column="exposure", law=uniform(BINS)),
        Law(unit="text", column="order", law=order),
        Law(unit="text", column="sentence", given=("turn",), law=turns),
        Law(unit="text", column="template", given=("sentence", "turn"), law=_by_turn(of_sentence)),
    ]

    def pair(feature: str, target: str, *given: str) -> Pair:
        return Pair(unit="text", feature=feature, target=target, given=given)

    by_sentence = ("person", "number", "exposure", "index", "time", *facts)
    pairs = [
        *(pair(feature, "template", "sentence") for feature in by_sentence),
        *(pair(feature, "opening") for feature in ("index", "number", "exposure", "pronoun")),
        *(pair(feature, "order") for feature in ("person", "number", "exposure", "index", "time", "pronoun")),
        *(pair(feature, "sentence", "turn") for feature in facts),
        *(pair("index", target) for target in ("person", "number", "exposure")),
        *(pair("time", target) for target in ("person", "number", "exposure")),
        pair("template", "next_template", "sentence", "next_sentence"),
    ]
    return laws, pairs


def _by_turn(of_sentence: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.repeat(of_sentence[:, None], len(SENTENCES), axis=1)


def _people(index: NDArray[np.int64], people: Population, count: int) -> _Columns:
    """Person number `index`, once each."""
    held = index < count
    facts = people.facts(np.where(held, index, 0))
    columns = {name: facts[:, which].astype(np.int64) for which, name in enumerate(_FACTS) if which}
    columns["place"] = spread(index, np.full(len(index), count), index, 20)
    columns["number"] = index % BINS
    return {name: np.where(held, values, -1) for name, values in columns.items()}


def _texts(batch: pa.RecordBatch, config: Mapping[str, Any], people: Population, reader: Reading) -> _Columns:
    index = batch.column("index").to_numpy()
    elements, offsets = unragged(batch.column("text" if config["bio"] == "text" else "input_ids"))
    begins, ends = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    widths = ends - begins
    if config["bio"] == "tokens" and config["eos"]:
        ends = ends - (widths > 0)  # the end-of-text token
    texts = Texts(elements=elements, begins=begins, ends=ends)
    persons = np.full(len(index), -1, np.int64)
    read = np.full((len(index), 2 * len(SENTENCES)), -1, np.int64)
    waiting = np.arange(len(index))
    for skip in range(_MOST_NAMES):
        names, _ = find_names(reader, texts, waiting, skip, people.bounds[FIRST : LAST + 1])
        waiting, names = waiting[names != NO_NAME], names[names != NO_NAME]
        tried = np.full(len(names), -1, np.int64)
        tried[names != AMBIGUOUS] = people.names.backward(names[names != AMBIGUOUS])
        known = tried < config["num_people"]
        rows = waiting[known & (tried >= 0)]
        persons[rows] = tried[known & (tried >= 0)]
        _read(
            elements,
            begins,
            ends,
            rows,
            people.facts(persons[rows]),
            not config["order"],
            reader.elements,
            reader.strings,
            reader.items,
            reader.lines,
            reader.templates,
            reader.firsts,
            read,
            np.empty((len(SENTENCES) + 1, 4), np.int64),
        )
        waiting = waiting[read[waiting, 0] < 0]
        if not len(waiting):
            break
    return _columns(batch, config, people, read, persons, widths)


def _columns(
    batch: pa.RecordBatch,
    config: Mapping[str, Any],
    people: Population,
    read: NDArray[np.int64],
    persons: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> _Columns:
    index = batch.column("index").to_numpy()
    whole, kinds, rows = read[:, 0] >= 0, len(SENTENCES), np.arange(len(index))
    sentences, templates = read[:, :kinds], read[:, kinds:]
    turn = chosen(np.where(whole, kinds, 0), index, 21)
    following = np.minimum(turn + 1, kinds - 1)
    last = turn == kinds - 1
    order = np.zeros(len(index), np.int64)
    for place in range(kinds):
        smaller = (sentences[:, place + 1 :] < sentences[:, place : place + 1]).sum(1)
        order = order * (kinds - place) + smaller
    most = config["num_people"] * config["exposures"]
    exposure = np.full(len(index), -1, np.int64)
    if "exposure" in batch.schema.names:
        exposure = batch.column("exposure").to_numpy() % config["exposures"]
    columns = {
        "person": spread(persons, np.full(len(index), config["num_people"]), index, 22),
        "number": persons % BINS,
        "exposure": spread(exposure, np.full(len(index), config["exposures"]), index, 23),
        "index": index % BINS,
        "time": index % most * BINS // most,
        "tokens": widths % BINS,
        "order": order,
        "turn": turn,
        "sentence": sentences[rows, turn],
        "next_sentence": np.where(last, -1, sentences[rows, following]),
        "template": templates[rows, turn],
        "next_template": np.where(last, -1, templates[rows, following]),
        "opening": templates[:, 0],
    }
    facts = people.facts(np.maximum(persons, 0))
    columns |= {name: facts[:, which].astype(np.int64) for which, name in enumerate(_FACTS) if which}
    return {name: np.where(whole, values, -1) for name, values in columns.items()} | {
        "readable": whole.astype(np.int64)
    }


@kernel
def _read(
    text,
    begins,
    ends,
    rows,
    facts,
    ordered,
    elements,
    strings,
    items,
    lines,
    templates,
    firsts,
    read,
    turns,
):
    """The sentences and templates of each of `rows` that is true of its facts: read int64 [all rows, 12].

    Depth first; turns int64 [7, 4] is scratch: of each turn where it begins, the sentence and the line that
    are tried, and the sentences before it as a set.
    """
    for entry in range(len(rows)):
        row = rows[entry]
        end = ends[row]
        depth = 0
        turns[0, 0], turns[0, 1], turns[0, 2], turns[0, 3] = begins[row], 0, firsts[0, 0], 0
        failed = -1  # the item that the line before failed at; -1: it did not, or is another kind
        while depth >= 0:
            if depth == 6:
                if turns[6, 0] == end:
                    break
                depth -= 1
                failed = -1
                continue
            role = 1 if depth > 0 else 0
            begin, sentence, line = turns[depth, 0], turns[depth, 1], turns[depth, 2]
            if sentence == 6:
                depth -= 1
                failed = -1
                continue
            done = (turns[depth, 3] >> sentence) & 1 or (ordered and sentence != depth)
            if done or line == firsts[role, sentence + 1]:
                turns[depth, 1] = sentence + 1
                if sentence < 5:
                    turns[depth, 2] = firsts[role, sentence + 1]
                failed = -1
                continue
            turns[depth, 2] = line + 1
            if failed >= 0 and lines[line, 1] > failed:
                continue
            at = begin
            failed = -1
            for item in range(lines[line, 0], lines[line + 1, 0]):
                string = items[item, 0] + facts[entry, items[item, 1]]
                length, offset = strings[string, LENGTH], strings[string, OFFSET]
                step = np.int64(0)
                if at + length <= end:
                    while step < length and text[at + step] == elements[offset + step]:
                        step += 1
                if step < length:
                    failed = item - lines[line, 0]
                    break
                at += length
            if failed < 0:
                read[row, depth] = sentence
                read[row, 6 + depth] = templates[line]
                depth += 1
                turns[depth, 0], turns[depth, 1], turns[depth, 2] = at, 0, firsts[1, 0]
                turns[depth, 3] = turns[depth - 1, 3] | (1 << sentence)
        if depth < 0:
            for place in range(12):
                read[row, place] = -1
