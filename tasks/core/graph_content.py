"""What a problem on a graph asks, as Depo and Brevo write it: edges, then questions about nodes.

The fingerprint is the sum over the set of edges (ordered pairs of nodes) and the set of questions (a number
and a node); neither the order in which they stand nor the answers are in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .batch import unragged
from .kernels import kernel
from .mixing import content_key, hash_pair


@dataclass(frozen=True, kw_only=True)
class GraphForm:
    """How a problem on a graph is written: `<bos> (separator? node node)* (query node ...)*`."""

    mini_vocab: (
        int  # a node's tokens are up to this but for its last one, which is above (0: it is one token)
    )
    separator: int  # its id, -1 where there is none
    query_base: int  # query k is the id query_base + k, k = 1..queries
    queries: int
    # After a question come one token, one node and the next question; else it is the only one, and nothing
    # after it is read.
    answers_follow: bool


def graph_content(batch: pa.RecordBatch, meaning: list[Any], form: GraphForm) -> NDArray[np.uint64]:
    """Fingerprints of valid rows: uint64 [rows, 2]. meaning: what keys the hashes, from its task's name."""
    tokens, offsets = unragged(batch.column("input_ids"))
    fingerprints = np.empty((batch.num_rows, 2), dtype=np.uint64)
    longest = int(np.diff(offsets).max(initial=0))
    _graph_content(
        tokens,
        offsets,
        form.mini_vocab,
        form.separator,
        form.query_base,
        form.queries,
        form.answers_follow,
        content_key(*meaning, "edge"),
        content_key(*meaning, "question"),
        np.empty(longest + 1, dtype=np.uint64),
        fingerprints,
    )
    return fingerprints


@kernel
def _graph_content(
    tokens,
    offsets,
    mini_vocab,
    separator,
    query_base,
    queries,
    answers_follow,
    edge_key,
    question_key,
    names,
    fingerprints,
):
    """A node's name is its digits 1..mini_vocab in bijective base mini_vocab: words of any length have
    different ones, and they fit into int64, since a config with more words is refused.

    Scratch: names uint64 [tokens of the longest row + 1].
    """
    for row in range(len(fingerprints)):
        place, end = np.int64(offsets[row]) + 1, np.int64(offsets[row + 1])
        # The edges' nodes. Where a word ends cannot be predicted, so no branch depends on it.
        nodes = np.int64(0)
        name = np.int64(0)
        while place < end:
            token = np.int64(tokens[place])
            if query_base < token and token <= query_base + queries:
                break
            last = np.int64(token > mini_vocab)
            name = name * mini_vocab + token - (mini_vocab & -last)
            names[nodes] = np.uint64(name)
            nodes += last & np.int64(token != separator)
            name &= last - 1
            place += 1
        lane0, lane1 = np.uint64(0), np.uint64(0)
        key0, key1 = edge_key[0], edge_key[1]
        for edge in range(nodes >> 1):
            first, second = hash_pair(key0, key1, names[2 * edge], names[2 * edge + 1])
            lane0 += first
            lane1 += second
        # The questions, up to the end or the first answer.
        asked = np.int64(0)
        while place < end:
            hop = np.int64(tokens[place]) - query_base
            place += 1
            name = np.int64(0)
            while place < end and tokens[place] <= mini_vocab:
                name = name * mini_vocab + tokens[place]
                place += 1
            if place < end:
                name = name * mini_vocab + tokens[place] - mini_vocab
            names[asked] = np.uint64(hop)
            names[asked + 1] = np.uint64(name)
            asked += 2
            if not answers_follow:
                break
            place += 2
            while place < end and tokens[place] <= mini_vocab:
                place += 1
            place += 1
        key0, key1 = question_key[0], question_key[1]
        for question in range(asked >> 1):
            first, second = hash_pair(key0, key1, names[2 * question], names[2 * question + 1])
            lane0 += first
            lane1 += second
        fingerprints[row, 0], fingerprints[row, 1] = lane0, lane1
