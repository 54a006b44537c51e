"""How Depo's examples are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..core.batch import column, list_type, ragged
from ..core.kernels import kernel
from ..core.rng import STATE_WORDS, integers, seed_stream
from ..core.sizes import draw_size, size_thresholds
from ..core.words import draw_distinct_words, first_word_numbers, put_word, table_bits
from .config import _token_bound, hop_choices

if TYPE_CHECKING:
    pass


SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("n", pa.int32()),
        column("query_hops", list_type(pa.int32())),
        column("answer_starts", list_type(pa.int32())),  # first token of each answer, after <ans>
        column("answer_ends", list_type(pa.int32())),  # one past its last token
    ]
)


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    word = config["max_tlen"]
    thresholds = size_thresholds(config["N"])
    sizes = np.full(len(indices), config["N"], dtype=np.int32)
    if not config["qa"]:
        _draw_sizes(key, indices, thresholds, np.empty(STATE_WORDS, np.uint64), sizes)
    room = int(_token_bound(config, sizes.astype(np.int64)).sum()) + word
    if room > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    questions = np.minimum(sizes, config["M"])
    query_offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    np.cumsum(questions, out=query_offsets[1:])
    slots = 1 << table_bits(config["N"], config["mini_vocab"], config["min_tlen"], word)
    largest = int(sizes.max(initial=0))
    tokens = np.empty(room, dtype=np.int32)
    mask = np.zeros(room, dtype=np.uint8)
    offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    hops, starts, ends = (np.empty(query_offsets[-1], dtype=np.int32) for _ in range(3))
    _generate(
        key,
        indices,
        sizes,
        thresholds,
        config["qa"],
        hop_choices(config),
        config["mini_vocab"],
        config["min_tlen"],
        first_word_numbers(config["mini_vocab"], config["min_tlen"], word),
        config["bos_token_id"],
        config["separator_token_id"] if config["separator"] else -1,
        config["query_token_base"],
        config["answer_token_id"],
        query_offsets,
        tokens,
        mask,
        offsets,
        hops,
        starts,
        ends,
        np.empty(STATE_WORDS, dtype=np.uint64),
        np.empty((largest, word), dtype=np.int32),
        np.empty(largest, dtype=np.int32),
        np.empty(largest, dtype=np.int32),
        np.empty(slots, dtype=np.int64),
        np.zeros(slots, dtype=np.int32),
    )
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(mask[:used], offsets),
        pa.array(indices),
        pa.array(sizes),
        ragged(hops, query_offsets),
        ragged(starts, query_offsets),
        ragged(ends, query_offsets),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@kernel
def _draw_sizes(key, indices, thresholds, state, sizes):
    """n of each example, the first draw of its stream, to sizes int32 [rows]."""
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        sizes[row] = draw_size(state, thresholds)


@kernel
def _generate(
    key,
    indices,
    sizes,
    thresholds,
    qa,
    hop_choices,
    mini_vocab,
    min_tlen,
    firsts,
    bos,
    separator,
    query_base,
    answer,
    query_offsets,
    tokens,
    mask,
    offsets,
    hops,
    starts,
    ends,
    state,
    words,
    lengths,
    order,
    seen,
    seen_in,
):
    """Write all examples one after another; draws come in the order of the code.

    From `state` on all is scratch: a kernel allocates nothing.
    """
    at = 0
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        if not qa:
            draw_size(state, thresholds)
        n = sizes[row]
        # Words are exchangeable, so the cycle word 0 -> word 1 -> ... is a random one.
        draw_distinct_words(state, n, mini_vocab, min_tlen, firsts, words, lengths, seen, seen_in, row + 1)
        tokens[at] = bos
        at += 1
        for place in range(n):
            order[place] = place
        for place in range(n - 1, -1, -1):
            chosen = np.uint64(integers(state, place + 1))
            edge = order[chosen]
            order[chosen] = order[np.uint64(place)]
            if separator >= 0:
                tokens[at] = separator
                at += 1
            at = put_word(tokens, at, words, lengths, edge)
            at = put_word(tokens, at, words, lengths, edge + 1 if edge + 1 < n else 0)
        for place in range(n):
            order[place] = place
        for query in range(query_offsets[row], query_offsets[row + 1]):
            asked = query - query_offsets[row]
            chosen = asked + integers(state, n - asked)
            start = order[chosen]
            order[chosen] = order[asked]
            hop = hop_choices[integers(state, len(hop_choices))]
            tokens[at] = query_base + hop
            at = put_word(tokens, at + 1, words, lengths, start)
            tokens[at] = answer
            mask[at] = 1
            hops[query] = hop
            starts[query] = at + 1 - offsets[row]
            after = put_word(tokens, at + 1, words, lengths, (start + hop) % n)
            for place in range(at + 1, after):
                mask[place] = 1
            at = after
            ends[query] = at - offsets[row]
        offsets[row + 1] = at
