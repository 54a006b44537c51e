"""How Capo's paragraphs are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..core.batch import column, list_type, ragged, texts
from ..core.kernels import kernel
from ..core.permutation import permutation
from ..core.rng import STATE_WORDS, integers, seed_stream
from ..errors import ConfigError
from .attributes import FIELDS, attributes
from .config import encoder_of, fields_of
from .encode import encode_whole, paragraphs_of
from .lengths import letters, max_tokens, sizes
from .people import population
from .pieces import SPANS, Composed, Pieces, Plan, compose

_ABOUT = [column("index", pa.int64()), column("person", pa.int64()), column("exposure", pa.int64())]
_ABOUT += [column("population", pa.int64())]  # the seed of the people
# Of each of tasks.capo.pieces.SPANS, in this order: [start, end), in tokens or a text's characters.
_SPANS = [column(f"value_{end}", list_type(pa.int32())) for end in ("starts", "ends")]
_CHARS = [column(f"char_{end}", list_type(pa.int32())) for end in ("starts", "ends")]
_TOKENS = [column("input_ids", list_type(pa.int32())), column("loss_mask", list_type(pa.uint8()))]
TOKEN_SCHEMA = pa.schema([*_TOKENS, *_ABOUT, *_SPANS, *_CHARS])
TEXT_SCHEMA = pa.schema([column("text", pa.string()), *_ABOUT, *_SPANS])


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: of tokens, or of texts."""
    own = TEXT_SCHEMA if config["bio"] == "text" else TOKEN_SCHEMA
    return pa.schema([*own, *FIELDS]) if config.get("attributes") else own


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    return outlined(config, key, indices)[0]


def outlined(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> tuple[pa.RecordBatch, NDArray[np.int32]]:
    """The same examples, and the outline of each, int32 [rows, 6]: the templates in the order of the text.

    A template's number counts all of them, in the order of SENTENCES and of their lists.
    """
    seed = config["population_seed"]
    if seed is None:
        raise ConfigError(
            "capo: population_seed is null; take the config from tasks.examples.complete_config"
        )
    if len(indices) * max_tokens(config) > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    people, exposures = who(config, key, indices)
    who_they_are = population(fields_of(config), seed)
    facts = who_they_are.facts(people)
    more = attributes(who_they_are.pools, facts, config["reverse_md"]) if config.get("attributes") else []
    about = [pa.array(indices), pa.array(people), pa.array(exposures)]
    about.append(pa.array(np.full(len(indices), seed, dtype=np.int64)))
    programs = draw_programs(letters(config).plan, config["order"], key, indices)
    if config["bio"] == "text":
        composed = _composed(letters(config), config["order"], facts, programs)
        columns = [texts(composed.elements, composed.offsets), *about]
    else:
        composed = _tokenised(config, facts, programs)
        mask = np.ones(len(composed.elements), dtype=np.uint8)
        columns = [ragged(composed.elements, composed.offsets), ragged(mask, composed.offsets), *about]
        columns += map(_rows, (composed.starts, composed.ends))
    columns += map(_rows, (composed.char_starts, composed.char_ends))
    return pa.RecordBatch.from_arrays([*columns, *more], schema=schema(config)), programs >> 1


def who(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whose biography each index is, and which exposure: int64 [rows] each.

    Round r, indices r * P * E to (r + 1) * P * E - 1 (P people, E exposures), is in its own order j of
    0..P * E - 1: person j % P, exposure r * E + j // P. A corpus is round 0.
    """
    people, most = config["num_people"], config["num_people"] * config["exposures"]
    rounds, places = np.divmod(indices, most)
    for number in np.unique(rounds):
        order = permutation(most, "capo order", key.tolist(), int(number))
        chosen = rounds == number
        places[chosen] = order.forward(places[chosen])
    exposures, persons = np.divmod(places, people)
    return persons, exposures + rounds * config["exposures"]


def _rows(spans: NDArray[np.int32]) -> pa.ListArray:
    """Spans int32 [rows, 8] as a column."""
    offsets = np.arange(len(spans) + 1, dtype=np.int32) * np.int32(len(SPANS))
    return ragged(spans.reshape(-1), offsets)


def _composed(
    pieces: Pieces, order: bool, facts: NDArray[np.int32], programs: NDArray[np.int32], end: int = -1
) -> Composed:
    return compose(pieces, facts, programs, sizes(pieces, None, order, int(end >= 0))[1], end)


def _tokenised(config: Mapping[str, Any], facts: NDArray[np.int32], programs: NDArray[np.int32]) -> Composed:
    encoder = encoder_of(config)
    end = -1
    if config["eos"]:
        assert encoder.loaded.end is not None
        end = encoder.loaded.end
    if encoder.tokens is not None:
        return _composed(encoder.tokens, config["order"], facts, programs, end)
    written = _composed(encoder.letters, config["order"], facts, programs)
    ids, starts, ends = encode_whole(
        encoder.loaded, paragraphs_of(written), written.char_starts, written.char_ends
    )
    rows = [[*row, end] if end >= 0 else row for row in ids]
    return Composed(
        elements=np.array([token for row in rows for token in row], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int32),
        starts=starts,
        ends=ends,
        char_starts=written.char_starts,
        char_ends=written.char_ends,
    )


def draw_programs(
    plan: Plan, order: bool, key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The six sentences of each example, in the order of the text, as programs: int32 [rows, 6]."""
    programs = np.empty((len(indices), 6), dtype=np.int32)
    scratch = np.empty(STATE_WORDS, dtype=np.uint64), np.empty(6, dtype=np.int64)
    _draw_programs(key, indices, order, plan.firsts, *scratch, programs)
    return programs


@kernel
def _draw_programs(key, indices, order, firsts, state, sentences, programs):
    """Draws: Fisher and Yates's shuffle of the sentences, from the end, where `order` asks for it; then the
    template of each sentence, in the order of the text."""
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        for place in range(6):
            sentences[place] = place
        if order:
            for place in range(5, 0, -1):
                chosen = integers(state, place + 1)
                sentences[place], sentences[chosen] = sentences[chosen], sentences[place]
        for place in range(6):
            first = firsts[sentences[place]]
            template = first + integers(state, firsts[sentences[place] + 1] - first)
            programs[row, place] = 2 * template + (1 if place > 0 else 0)
