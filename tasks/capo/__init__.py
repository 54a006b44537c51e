"""Capo: knowledge capacity, measured on synthetic biographies (bioS).

A fixed population (`tasks.capo.people`), and an example a paragraph of six sentences about one person:
birth date, birth city, university, major, city of work and employer, each in one of its templates, drawn
anew at every exposure, as is the order of the sentences. The first has the full name, the later ones the
pronoun. Among the first num_people * exposures examples everybody comes up exactly `exposures` times, in a
random order.

    Anya Briar Forger was born on October 2, 1996. She ... works for Adobe. <|endoftext|>   loss on all tokens

`bio=tokens` gives the tokens of any tokenizer, `bio=text` the same texts. The spans of all values stand
beside them: what bits learned per parameter are counted on.

Source: Physics of Language Models, Part 3.3 (arXiv 2404.05405) and Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import examples
from ..base import INT32_MAX, Look, Task, ValidationResult
from ..batch import column, list_type, ragged, texts
from ..errors import ConfigError
from ..kernels import kernel
from ..permutation import permutation
from ..rng import STATE_WORDS, integers, seed_stream
from .attributes import FIELDS, attributes
from .audit import audit_of
from .config import KEYS, address, check, count, encoder_of, fields_of, seeded, templates_of, tokenizer_of
from .encode import PREFIX, encode_whole, max_elements, mean_elements, paragraphs_of, sample, tokens_per_byte
from .people import population
from .pieces import SPANS, Composed, Pieces, Plan, compose, text_pieces
from .tokenizer import Loaded, read_back
from .validator import validate

if TYPE_CHECKING:
    import datasets

VERSION = 1

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


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, or bytes of a text."""
    return _sizes(*_sizes_of(config))[0]


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens; of a text, more bytes."""
    return _sizes(*_sizes_of(config))[1]


def _sizes_of(config: Mapping[str, Any]) -> tuple[Pieces, Loaded | None, bool, int]:
    """What an example's size depends on: pieces, a tokenizer of whole texts, order, tokens at the end."""
    if config["bio"] == "text":
        return _letters(config), None, config["order"], 0
    made = encoder_of(config)
    ends = int(config["eos"])
    if made.tokens is not None:
        return made.tokens, None, config["order"], ends
    return made.letters, made.loaded, config["order"], ends


@lru_cache(maxsize=16)
def _sizes(pieces: Pieces, whole: Loaded | None, order: bool, ends: int) -> tuple[float, int]:
    """The mean and the largest size of an example.

    Of a tokenizer of whole texts: the mean over a fixed sample, and a bound that no text comes near.
    """
    mean, most = mean_elements(pieces, order), max_elements(pieces)
    if whole is not None:
        written = compose(pieces, *sample(pieces.plan), most)
        ids, _, _ = encode_whole(whole, paragraphs_of(written), written.char_starts, written.char_ends)
        mean *= sum(map(len, ids)) / len(written.elements)
        most = most * tokens_per_byte(whole, pieces) + PREFIX
    return mean + ends, most + ends


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> the tokenizer's own name of every one of its tokens; nothing for bio=text."""
    return {} if config["bio"] == "text" else dict(_names(tokenizer_of(config)))


@lru_cache(maxsize=4)
def _names(loaded: Loaded) -> dict[int, str]:
    known = loaded.backend.get_vocab(with_added_tokens=True)
    return {token: name for name, token in sorted(known.items(), key=lambda item: item[1])}


def own_tokenizer(config: Mapping[str, Any]) -> tuple[str, str | None]:
    """The tokenizer.json of the ids, and the token that ends a text."""
    loaded = tokenizer_of(config)
    return loaded.serialised, None if loaded.end is None else _names(loaded)[loaded.end]


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """The values underlined, in the tokens and in the text below them."""
    spans = list(zip(example["value_starts"], example["value_ends"], strict=True))
    facts = f"person {example['person']}, exposure {example['exposure']}"
    if config["bio"] == "text":
        return Look(facts=facts, text=example["text"], text_underlined=spans)
    loaded = tokenizer_of(config)
    known = _names(loaded)
    text = read_back(loaded, [token for token in example["input_ids"] if token in known])
    in_text: list[tuple[int, int]] = []
    if (loaded.parts.get("decoder") or {}).get("type") == "ByteLevel":  # others do not give the text itself
        in_text = list(zip(example["char_starts"], example["char_ends"], strict=True))
    return Look(facts=facts, underlined=spans, text=text, text_underlined=in_text)


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
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
    if config["bio"] == "text":
        made = _composed(_letters(config), config["order"], key, indices, facts)
        columns = [texts(made.elements, made.offsets), *about, _rows(made.char_starts), _rows(made.char_ends)]
        return pa.RecordBatch.from_arrays([*columns, *more], schema=schema(config))
    made = _tokenised(config, key, indices, facts)
    mask = np.ones(len(made.elements), dtype=np.uint8)
    columns = [ragged(made.elements, made.offsets), ragged(mask, made.offsets), *about]
    columns += map(_rows, (made.starts, made.ends, made.char_starts, made.char_ends))
    return pa.RecordBatch.from_arrays([*columns, *more], schema=schema(config))


def who(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whose biography each index is, and which exposure: int64 [rows] each.

    Round r, indices r * P * E to (r + 1) * P * E - 1 (P people, E exposures), is in its own order j of
    0..P * E - 1: person j % P, exposure r * E + j // P. A corpus is round 0.
    """
    people, most = config["num_people"], config["num_people"] * config["exposures"]
    rounds, places = np.divmod(indices, most)
    for each in np.unique(rounds):
        order = permutation(most, "capo order", key.tolist(), int(each))
        chosen = rounds == each
        places[chosen] = order.forward(places[chosen])
    exposures, persons = np.divmod(places, people)
    return persons, exposures + rounds * config["exposures"]


def _letters(config: Mapping[str, Any]) -> Pieces:
    return text_pieces(fields_of(config), templates_of(config), config["reverse_md"])


def _rows(spans: NDArray[np.int32]) -> pa.ListArray:
    """Spans int32 [rows, 8] as a column."""
    offsets = np.arange(len(spans) + 1, dtype=np.int32) * np.int32(len(SPANS))
    return ragged(spans.reshape(-1), offsets)


def _composed(
    pieces: Pieces,
    order: bool,
    key: NDArray[np.uint64],
    indices: NDArray[np.int64],
    facts: NDArray[np.int32],
    end: int = -1,
) -> Composed:
    room = _sizes(pieces, None, order, int(end >= 0))[1]
    return compose(pieces, facts, draw_programs(pieces.plan, order, key, indices), room, end)


def _tokenised(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64], facts: NDArray[np.int32]
) -> Composed:
    made = encoder_of(config)
    end = -1
    if config["eos"]:
        assert made.loaded.end is not None
        end = made.loaded.end
    if made.tokens is not None:
        return _composed(made.tokens, config["order"], key, indices, facts, end)
    written = _composed(made.letters, config["order"], key, indices, facts)
    ids, starts, ends = encode_whole(
        made.loaded, paragraphs_of(written), written.char_starts, written.char_ends
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


TASK = Task(
    name="capo",
    version=VERSION,
    keys=KEYS,
    check=check,
    schema=schema,
    generate=generate,
    validate=validate,
    mean_tokens=mean_tokens,
    max_tokens=max_tokens,
    tokens=tokens,
    look=look,
    test_form={"exposures": 1},
    count=count,
    tokenizer=own_tokenizer,
    seeded=seeded,
    address=address,
    audit=audit_of,
)


def generate_capo_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: its tokens (with labels) or text, person, exposure and value spans."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_capo_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Read the biography and hold it to the population; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def make_capo_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
