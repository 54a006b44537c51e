"""Depo written by NumPy alone, from the published law, with faults that can be planted."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ostraca.tasks.core.batch import ragged

CONFIG = {"N": 30, "K": 4, "M": 3, "qa": True, "mini_vocab": 5, "min_tlen": 1, "max_tlen": 3}


def depo_rows(
    config: dict[str, Any],
    index: NDArray[np.int64],
    seed: int,
    *,
    draw_order: bool = False,
    graph_order: bool = False,
    biased: float = 0.0,
    hops: tuple[int, ...] = (1, 2, 4),
) -> pa.RecordBatch:
    """Examples of the test form at `index`: `input_ids` and `index`.

    draw_order: node i has the i-th word drawn, as in version 1. graph_order: edges stand as on the cycle,
    from a random node on. biased: the share of questions whose hop is the first of `hops` whatever was drawn.
    """
    rng = np.random.default_rng([seed, int(index[0])])
    rows, n, asked = len(index), config["N"], config["M"]
    words = [
        (*(token + 1 for token in word[:-1]), config["mini_vocab"] + 1 + word[-1])
        for length in range(config["min_tlen"], config["max_tlen"] + 1)
        for word in product(range(config["mini_vocab"]), repeat=length)
    ]
    # Drawing until all are distinct is an order by exponential times, each at the rate of its word.
    rates = np.array([1 / config["mini_vocab"] ** len(word) for word in words])
    names = np.argsort(rng.exponential(size=(rows, len(words))) / rates, axis=1)[:, :n]
    if not draw_order:
        names = rng.permuted(names, axis=1)
    edges = (
        (np.arange(n) + rng.integers(n, size=(rows, 1))) % n
        if graph_order
        else rng.permuted(np.tile(np.arange(n), (rows, 1)), axis=1)
    )
    start = rng.permuted(np.tile(np.arange(n), (rows, 1)), axis=1)[:, :asked]
    hop = rng.choice(hops, size=(rows, asked))
    hop[rng.random(hop.shape) < biased] = hops[0]
    special = len(words)  # then bos, answer, the queries
    table = np.full((special + 2 + config["K"] + 1, config["max_tlen"]), -1, np.int32)
    for place, word in enumerate(words):
        table[place, : len(word)] = word
    table[special, 0], table[special + 1, 0] = config["bos_token_id"], config["answer_token_id"]
    table[special + 2 :, 0] = config["query_token_base"] + np.arange(config["K"] + 1)

    def name(node: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.take_along_axis(names, node % n, axis=1)

    shown = np.stack([name(edges), name(edges + 1)], axis=2).reshape(rows, -1)
    questions = np.stack(
        [special + 2 + hop, name(start), np.full_like(hop, special + 1), name(start + hop)], axis=2
    ).reshape(rows, -1)
    written = table[np.concatenate([np.full((rows, 1), special), shown, questions], axis=1)].reshape(rows, -1)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum((written >= 0).sum(1), out=offsets[1:])
    return pa.RecordBatch.from_arrays(
        [ragged(written[written >= 0], offsets), pa.array(index)], names=["input_ids", "index"]
    )
