"""Depo examples replayed with plain NumPy, from the documented order of draws.

Shares nothing with `tasks.depo` but the stream (`numpy_generator`, whose own test stands in
`test_streams`) and the thresholds of n. The draws of an example, in their order:

1. unless qa: u of 53 bits; n = 3 + the number of thresholds that are <= u (qa: n = N)
2. words until n distinct ones are found: the length, then max_tlen tokens, of which the first so many count;
   if a word came twice they are shuffled: from the last place on, the place whose word comes here, among
   those up to this one; word i is node i of the cycle
3. the edges: the place of the next edge among those that are left (the last one fills the gap)
4. for each query: the place of its start among the nodes that are left, then the hop
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
    draws = numpy_generator(key, index)
    n = config["N"]
    if not config["qa"]:
        u = int(draws.random() * 2**53)
        n = 3 + sum(1 for threshold in size_thresholds(config["N"]) if threshold <= u)
    words = _draw_words(draws, n, config)

    tokens = [config["bos_token_id"]]
    left = list(range(n))
    while left:
        chosen = int(draws.integers(len(left)))
        edge = left[chosen]
        left[chosen] = left[-1]
        left.pop()
        if config["separator"]:
            tokens.append(config["separator_token_id"])
        tokens += words[edge] + words[(edge + 1) % n]

    mask = [0] * len(tokens)
    hops, starts, ends = [], [], []
    choices = _hops(config)
    nodes = list(range(n))
    for asked in range(min(config["M"], n)):
        chosen = asked + int(draws.integers(n - asked))
        nodes[asked], nodes[chosen] = nodes[chosen], nodes[asked]
        start = nodes[asked]
        hop = choices[int(draws.integers(len(choices)))]
        question = [config["query_token_base"] + hop, *words[start]]
        answer = [config["answer_token_id"], *words[(start + hop) % n]]
        tokens += question + answer
        mask += [0] * len(question) + [1] * len(answer)
        hops.append(hop)
        starts.append(len(tokens) - len(answer) + 1)
        ends.append(len(tokens))
    return {
        "input_ids": tokens,
        "loss_mask": mask,
        "index": index,
        "n": n,
        "query_hops": hops,
        "answer_starts": starts,
        "answer_ends": ends,
    }


def _draw_words(draws: np.random.Generator, count: int, config: Mapping[str, Any]) -> list[list[int]]:
    words: list[list[int]] = []
    known = set()
    drawn = 0
    while len(words) < count:
        length = config["min_tlen"] + int(draws.integers(config["max_tlen"] - config["min_tlen"] + 1))
        word = [1 + int(draws.integers(config["mini_vocab"])) for _ in range(config["max_tlen"])][:length]
        word[-1] += config["mini_vocab"]
        drawn += 1
        if tuple(word) not in known:
            known.add(tuple(word))
            words.append(word)
    for place in range(count - 1, 0, -1) if drawn > count else ():
        other = int(draws.integers(place + 1))
        words[place], words[other] = words[other], words[place]
    return words


def _hops(config: Mapping[str, Any]) -> list[int]:
    if config["fixed_k"] is not None:
        return [config["fixed_k"]]
    if not config["qa"]:
        return list(range(1, config["K"] + 1))
    hops, power = {config["K"]}, 1
    while power <= config["K"]:
        hops.add(power)
        power *= 2
    return sorted(hops | ({24} if config["K"] == 32 else set()))
