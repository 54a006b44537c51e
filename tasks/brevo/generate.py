"""How Brevo's examples are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..core.batch import column, list_type, ragged
from ..core.rng import STATE_WORDS
from ..core.sizes import MIN_SIZE, size_thresholds
from ..core.words import first_word_numbers, mean_lengths, table_bits
from .config import _edge_bound, _token_bound, _word, max_tokens
from .draw import begin, name_by_ids, name_by_words, write

if TYPE_CHECKING:
    pass


_SAMPLED_NODES = 1000


SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("n", pa.int32()),
        column("edges", pa.int32()),
        column("depth", pa.int32()),  # edges on the shortest way from the query to a leaf
        column("answer_length", pa.int32()),  # nodes, the query too
        column("answer_start", pa.int32()),  # first token of the answer, after <ans>
        column("answer_end", pa.int32()),  # one past its last token: where <eos> stands
    ]
)


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, to some percent: what shards and batches are measured out with.

    The mean of a fixed sample whose sizes n are evenly spaced quantiles of their law. A graph of over 1,000
    nodes counts as so many times one of 1,000.
    """
    return _sample_mean(tuple(config.items()))


@lru_cache(maxsize=64)
def _sample_mean(items: tuple[tuple[str, Any], ...]) -> float:
    config = dict(items)
    most = min(config["N"], _SAMPLED_NODES)
    sampled = {**config, "N": most, "multi": False, "qa": False}
    rows = int(np.clip((1 << 21) // max_tokens(sampled), 16, 512))
    sizes = np.full(rows, config["N"])
    if not config["qa"]:
        quantiles = (2 * np.arange(rows) + 1) * ((1 << 52) // rows)
        sizes = MIN_SIZE + np.searchsorted(size_thresholds(config["N"]), quantiles, side="right")
    small = np.minimum(sizes, most).astype(np.int32)
    batch = _make(sampled, np.zeros(2, np.uint64), np.arange(rows, dtype=np.int64), small)
    nodes = (2 * batch["edges"].to_numpy() + 1 + batch["answer_length"].to_numpy()) * (sizes / small)
    if config["multi"]:
        nodes *= mean_lengths(config["N"], config["mini_vocab"], config["min_tlen"], config["max_tlen"])[
            sizes
        ]
    return 4 + float(nodes.mean())


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    return _make(config, key, indices, np.zeros(len(indices), dtype=np.int32))


def _make(
    config: Mapping[str, Any],
    key: NDArray[np.uint64],
    indices: NDArray[np.int64],
    sizes: NDArray[np.int32],
) -> pa.RecordBatch:
    """The examples at `indices`; sizes int32 [rows]: their n, 0 where it is to be drawn."""
    rows, word, max_in = len(indices), _word(config), config["max_in"]
    if config["qa"]:
        sizes[:] = config["N"]
    states = np.empty((rows, STATE_WORDS), dtype=np.uint64)
    leaves, asked = (np.empty(rows, dtype=np.int32) for _ in range(2))
    thresholds = size_thresholds(config["N"])
    begin(key, indices, thresholds, config["query"] == "last_quarter", states, sizes, leaves, asked)
    room = int(_token_bound(config, sizes.astype(np.int64)).sum()) + word
    if room > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    firsts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(sizes, out=firsts[1:])
    words = np.empty((int(firsts[-1]), word), dtype=np.int32)
    lengths = np.ones(len(words), dtype=np.int32)
    if config["multi"]:
        space = (config["mini_vocab"], config["min_tlen"], word)
        slots = 1 << table_bits(config["N"], *space)
        seen, seen_in = np.empty(slots, dtype=np.int64), np.zeros(slots, dtype=np.int32)
        name_by_words(states, firsts, *space[:2], first_word_numbers(*space), words, lengths, seen, seen_in)
    else:
        name_by_ids(states, firsts, np.empty(config["N"], dtype=np.int32), words)
    largest = int(sizes.max(initial=1))
    tokens = np.empty(room, dtype=np.int32)
    mask = np.zeros(room, dtype=np.uint8)
    offsets = np.zeros(rows + 1, dtype=np.int32)
    facts = np.empty((5, rows), dtype=np.int32)
    write(
        states,
        firsts,
        leaves,
        asked,
        words,
        lengths,
        max_in,
        config["bos_token_id"],
        config["query_token_id"],
        config["answer_token_id"],
        config["eos_token_id"],
        tokens,
        mask,
        offsets,
        facts,
        # Without a sign, as places that are counted from an array's end have: each would cost a question.
        np.empty((largest, max_in), dtype=np.uint32),
        np.empty((6, largest + 1), dtype=np.uint32),
        np.empty(int(_edge_bound(config, largest)), dtype=np.int64),
    )
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(mask[:used], offsets),
        pa.array(indices),
        pa.array(sizes),
        *map(pa.array, facts),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
