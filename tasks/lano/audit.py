"""What `ostraca audit` holds Lano to: lengths, counts, ends, and a place chosen in each sentence.

Rules themselves cannot be seen (`tasks.lano.laws`). Of a million sentences of cfg3f, a rule that is chosen 1%
too often is found at the start and next to the terminals, 2% on most levels, 6% on the middle one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..auditing import BINS, Audit, Law, Pair, coins, fitting
from ..core.batch import unragged
from ..core.kernels import kernel
from .grammar import Grammar, grammar_of
from .laws import SentenceLaws, can_follow, sentence_laws

_UNIT = "sentence"
_COUNTS = 32  # bins of a count
_BEYOND = 1e-3  # of the sentences are longer than the places that are looked at
# What `_read` finds in a sentence, a column each; then the counts of terminals and of pairs of them.
_FACTS = ("frame", "length", "begin", "end", "token", "next", "token_back")
_DENSE = 1 << 16  # ids told apart by a table
_Columns = dict[str, NDArray[np.int64]]


def audit_of(config: Mapping[str, Any]) -> Audit:
    """The declarations for a config. A grammar whose laws cannot be followed has few."""
    grammar = grammar_of(config)
    reader = _Reader(config, grammar)
    columns = {"frame": 2, "index": BINS, "length": BINS}
    laws = [_law("frame", np.array([1.0, 0.0]))]
    pairs = [_pair("index", "length")]
    watched = ["length"]
    if reader.known is not None:
        own, more, others = _followed(reader, reader.known)
        columns, laws, pairs = columns | own, laws + more, pairs + others
        watched += ["begin", "end", "token", "count_0"]
    return fitting(
        columns={_UNIT: columns},
        tables=lambda batch: {_UNIT: reader.table(batch)},
        laws=laws,
        pairs=pairs,
        neighbours=[(_UNIT, column) for column in watched],
    )


class _Reader:
    """How the columns of a batch are read: where places end, and which values are one bin."""

    def __init__(self, config: Mapping[str, Any], grammar: Grammar) -> None:
        self.terminals = np.array(grammar.terminals, np.int64)
        self.bos = config["bos_token_id"] if config["bos"] else -1
        self.eos = config["eos_token_id"] if config["eos"] else -1
        self.known = sentence_laws(grammar) if can_follow(grammar) else None
        self.places, self.width = 1, 1
        self.bins: dict[str, NDArray[np.int64]] = {}
        if self.known is not None:
            self.width = self.known.width
            self.places = max(1, int((self.known.length[::-1].cumsum()[::-1] > _BEYOND).sum()) - 1)
            self.bins = {"length": _bins(self.known.length, BINS)}
            for name, law in _counts_of(self.known).items():
                self.bins[name] = _bins(law, _COUNTS)

    def table(self, batch: pa.RecordBatch) -> _Columns:
        tokens, offsets = unragged(batch.column("input_ids"))
        index = batch.column("index").to_numpy()
        size, low = len(self.terminals), int(self.terminals[0])
        if self.terminals[-1] - low >= _DENSE:
            # Far ids are brought together; those of no terminal come after all of them.
            place = np.searchsorted(self.terminals, tokens).clip(max=size - 1)
            read = np.where(self.terminals[place] == tokens, place, size).astype(np.int32)
            low, codes = 0, np.arange(size)
        else:
            read, codes = tokens, np.full(int(self.terminals[-1]) - low + 1, size)
            codes[self.terminals - low] = np.arange(size)
        counts = _counts_of(self.known) if self.known is not None else {}
        facts = np.empty((batch.num_rows, len(_FACTS) + len(counts)), np.int64)
        _read(
            tokens,
            read,
            offsets,
            (coins(index, 0) * self.places).astype(np.int64),
            self.bos,
            self.eos,
            low,
            codes,
            size,
            self.width,
            len(counts) > 0,
            len(counts) > size,
            facts,
        )
        columns = {name: facts[:, place] for place, name in enumerate(_FACTS)}
        columns |= {name: facts[:, len(_FACTS) + place] for place, name in enumerate(counts)}
        columns["index"] = index % BINS
        columns["place"] = (coins(index, 0) * self.places).astype(np.int64)
        if self.known is None:
            return columns | {"length": columns["length"] % BINS}
        columns["exact"] = np.minimum(columns["length"], len(self.known.length) - 1)
        for name, bins in self.bins.items():
            columns[name] = bins[np.minimum(columns[name], len(bins) - 1)]
        return columns


def _counts_of(known: SentenceLaws) -> dict[str, NDArray[np.float64]]:
    """The law of each count: of terminals, then of two side by side."""
    counts = {f"count_{place}": law for place, law in enumerate(known.counts)}
    return counts | {
        f"pair_{one}_{other}": law for one, row in enumerate(known.pairs) for other, law in enumerate(row)
    }


def _bins(law: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each value, so that all bins come about equally often: int64 [values]."""
    middle = law.cumsum() - law / 2
    return np.minimum((middle * bins).astype(np.int64), bins - 1)


def _binned(reader: _Reader, name: str, law: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """A law [..., values] over the bins of a column: [..., bins]."""
    flat = law.reshape(-1, law.shape[-1])
    sums = np.zeros((len(flat), bins))
    np.add.at(sums.T, reader.bins[name], flat.T)
    return sums.reshape(*law.shape[:-1], bins)


def _followed(reader: _Reader, known: SentenceLaws) -> tuple[dict[str, int], list[Law], list[Pair]]:
    """Columns, laws and pairs of a grammar whose laws are known."""
    size, places, ends = len(known.counts), reader.places, len(known.ends)
    columns = {
        "exact": len(known.length),
        "begin": ends,
        "end": ends,
        "place": places,
        **dict.fromkeys(("token", "token_back", "next"), size + 1),
        **dict.fromkeys(_counts_of(known), _COUNTS),
    }
    begin, end = known.begin_length.sum(1), known.end_length.sum(1)
    following = np.full((places, size + 1, size + 1), np.nan)
    following[:, :size] = _shares(known.following[:places])
    following[:, size] = np.arange(size + 1) == size
    laws = [
        _law("exact", known.length),
        _law("length", _binned(reader, "length", known.length, BINS)),
        _law("token", known.token[:places], "place"),
        _law("token_back", known.token_back[:places], "place"),
        *(_law(name, _binned(reader, name, law, _COUNTS)) for name, law in _counts_of(known).items()),
    ]
    pairs = [
        _pair("token", "next", "place", law=following),
        *(_pair("index", target) for target in ("begin", "end", "token", "token_back", "count_0")),
    ]
    if begin.sum() > 0:
        laws += [_law("begin", begin / begin.sum()), _law("end", end / end.sum())]
        pairs += [
            _pair("begin", "end", law=_shares(known.ends)),
            _pair("begin", "length", law=_shares(_binned(reader, "length", known.begin_length, BINS))),
            _pair("end", "length", law=_shares(_binned(reader, "length", known.end_length, BINS))),
        ]
    return columns, laws, pairs


def _shares(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Masses divided by their sum over the last axis; NaN where that is 0."""
    total = masses.sum(-1, keepdims=True)
    shares = np.full_like(masses, np.nan)
    np.divide(masses, total, out=shares, where=total > 1e-12)
    return shares


def _law(column: str, law: NDArray[np.float64], *given: str) -> Law:
    return Law(unit=_UNIT, column=column, law=law / law.sum(-1, keepdims=True), given=given)


def _pair(feature: str, target: str, *given: str, law: NDArray[np.float64] | None = None) -> Pair:
    return Pair(unit=_UNIT, feature=feature, target=target, given=given, law=law)


@kernel
def _read(tokens, read, offsets, places, bos, eos, low, codes, size, width, with_counts, with_pairs, facts):
    """Of each example, and the terminals at a place counted from both ends: facts int64 [rows, facts].

    A terminal's code is codes[read - low], `size` of what is none. frame: 1 where <bos> or <eos> is not where
    it must be, or something else than a terminal is between them.
    """
    head = 7
    ends = size**width
    for row in range(len(facts)):
        first, last = np.int64(offsets[row]), np.int64(offsets[row + 1])
        out = facts[row]
        for place in range(head, len(out)):
            out[place] = 0
        wrong = 0
        if bos >= 0:
            if first == last or tokens[first] != bos:
                wrong = 1
            first += 1
        if eos >= 0:
            if first >= last or tokens[last - 1] != eos:
                wrong = 1
            last -= 1
        length = max(np.int64(0), last - first)
        begin, number, before = np.int64(-1), np.int64(0), np.int64(size)
        place = places[row]
        out[4], out[5], out[6] = size, size, size
        for at in range(length):
            entry = np.int64(read[first + at]) - low
            code = codes[entry] if entry >= 0 and entry < len(codes) else size
            if code == size:
                wrong = 1
                continue
            number = (number * size + code) % ends
            if at == width - 1:
                begin = number
            if with_counts:
                out[head + code] += 1
                if with_pairs and before < size:
                    out[head + size + before * size + code] += 1
            if at == place:
                out[4] = code
            elif at == place + 1:
                out[5] = code
            if at == length - 1 - place:
                out[6] = code
            before = code
        out[0], out[1], out[2] = wrong, length, begin
        out[3] = number if length >= width else -1
