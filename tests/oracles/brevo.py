"""Brevo examples replayed with plain NumPy, from the documented order of draws.

Shares nothing with `tasks.brevo` but the stream (`numpy_generator`) and the thresholds of n. The draws of
an example, in their order:

1. unless qa: u of 53 bits; n = 3 + the number of thresholds that are <= u (qa: n = N)
2. the number of leaves, less 1; for last_quarter: how far the node asked for stands before the last
3. the names: for each node its place among the ids left (the first of these fills the gap); for words
   (multi), words until n distinct ones are found: the length, then max_tlen tokens, of which the first so
   many count; if a word came twice they are shuffled: from the last place on, the place whose word comes
   here, among those up to this one
4. for each node after the leaves: how many parents, less 1; for each of these its place among the nodes
   with room (the last of these fills the gap), then the place of the edge among those so far and itself
   (the one that stood there goes to the end). Afterwards the parents that still have room come back, in
   the order they were drawn, and the node itself.
5. the answer, from its end: the place of the next node among those whose children all stand (the last of
   these fills the gap); then its parents that are ready come in, in the order they were drawn
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ostraca.tasks.core.rng import numpy_generator
from ostraca.tasks.core.sizes import size_thresholds


def replay(config: Mapping[str, Any], key: NDArray[np.uint64], index: int) -> dict[str, Any]:
    """The example at `index` of the stream `key`, as `rows_of(generate(...))` gives it."""
    stream = numpy_generator(key, index)

    def below(bound: int) -> int:
        return int(stream.integers(bound))

    n = config["N"]
    if not config["qa"]:
        u = int(stream.random() * 2**53)
        n = 3 + sum(1 for threshold in size_thresholds(config["N"]) if threshold <= u)
    leaves = 1 + below((n - 1) // 4 + 1)
    query = n - 1 - (below(-(-n // 4)) if config["query"] == "last_quarter" else 0)
    names = _words(config, n, below) if config["multi"] else _ids(config, n, below)

    limit = config["max_in"]
    parents: dict[int, list[int]] = {leaf: [] for leaf in range(leaves)}
    used = dict.fromkeys(range(n), 0)
    free = list(range(leaves))
    edges: list[tuple[int, int]] = []
    for node in range(leaves, n):
        parents[node] = []
        for _ in range(1 + below(min(len(free), limit))):
            parent = _take(free, below(len(free)))
            parents[node].append(parent)
            place = below(len(edges) + 1)
            edges.append((parent, node))
            edges[place], edges[-1] = edges[-1], edges[place]
        for parent in parents[node]:
            used[parent] += 1
            if used[parent] < limit:
                free.append(parent)
        free.append(node)

    ancestors = {query}
    for node in range(query, -1, -1):
        if node in ancestors:
            ancestors |= set(parents[node])
    left = {node: sum(node in parents[child] for child in ancestors) for node in ancestors}
    ready, order = [query], []
    while ready:
        node = _take(ready, below(len(ready)))
        order.append(node)
        for parent in parents[node]:
            left[parent] -= 1
            if left[parent] == 0:
                ready.append(parent)
    order.reverse()

    prompt = [config["bos_token_id"]]
    for parent, child in edges:
        prompt += names[parent] + names[child]
    prompt += [config["query_token_id"], *names[query]]
    answer = [token for node in order for token in names[node]]
    return {
        "input_ids": [*prompt, config["answer_token_id"], *answer, config["eos_token_id"]],
        "loss_mask": [0] * len(prompt) + [1] * (len(answer) + 2),
        "index": index,
        "n": n,
        "edges": len(edges),
        "depth": _depth(parents, query),
        "answer_length": len(order),
        "answer_start": len(prompt) + 1,
        "answer_end": len(prompt) + 1 + len(answer),
    }


def _take(nodes: list[int], place: int) -> int:
    """Take the node at a place out; the last one fills the gap."""
    taken = nodes[place]
    nodes[place] = nodes[-1]
    nodes.pop()
    return taken


def _depth(parents: Mapping[int, list[int]], query: int) -> int:
    level, depth = {query}, 0
    while all(parents[node] for node in level):
        level = {parent for node in level for parent in parents[node]}
        depth += 1
    return depth


def _ids(config: Mapping[str, Any], n: int, below: Any) -> list[list[int]]:
    pool = list(range(1, config["N"] + 1))
    for node in range(n):
        chosen = node + below(config["N"] - node)
        pool[node], pool[chosen] = pool[chosen], pool[node]
    return [[token] for token in pool[:n]]


def _words(config: Mapping[str, Any], n: int, below: Any) -> list[list[int]]:
    words: list[list[int]] = []
    drawn = 0
    while len(words) < n:
        length = config["min_tlen"] + below(config["max_tlen"] - config["min_tlen"] + 1)
        word = [1 + below(config["mini_vocab"]) for _ in range(config["max_tlen"])][:length]
        word[-1] += config["mini_vocab"]
        drawn += 1
        if word not in words:
            words.append(word)
    for place in range(n - 1, 0, -1) if drawn > n else ():
        other = below(place + 1)
        words[place], words[other] = words[other], words[place]
    return words
