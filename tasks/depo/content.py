"""What makes two examples of Depo the same problem, and how many different ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, factorial, lgamma, log, perm
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.graph_content import GraphForm, graph_content
from ..core.sizes import MIN_SIZE
from ..core.words import count_words

_MOST_BITS = 14_000  # Python prints integers of up to 4,300 digits


def content(batch: pa.RecordBatch, config: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Fingerprints of the set of edges and the set of questions (hop, start): uint64 [rows, 2].

    The order of either does not count, and the answers follow. Examples of two configs agree where they say
    the same, whatever the special ids, the separator, `qa` and the limits; but for `mini_vocab`, which says
    what a word's last token is.
    """
    form = GraphForm(
        mini_vocab=config["mini_vocab"],
        separator=config["separator_token_id"] if config["separator"] else -1,
        query_base=config["query_token_base"],
        queries=config["K"],
        answers_follow=True,
    )
    return graph_content(batch, ["depo", config["mini_vocab"]], form)


def count_distinct(config: Mapping[str, Any], hops: int, by_content: bool) -> int | None:
    """How many different examples there are, exactly; None where the number has over 4,214 digits.

    hops: how many hops may be asked. Of n nodes: a choice of n words, (n-1)! cycles through them and, by
    tokens, n! orders of the edges; then t = min(M, n) starts, by tokens in their order, each with a hop.
    """
    if lgamma(config["N"]) > _MOST_BITS * log(2):  # (N-1)! is too much already
        return None
    words = count_words(config["mini_vocab"], config["min_tlen"], config["max_tlen"])
    total = 0
    for nodes in range(config["N"] if config["qa"] else MIN_SIZE, config["N"] + 1):
        asked = min(config["M"], nodes)
        cycles = comb(words, nodes) * factorial(nodes - 1) * hops**asked
        total += cycles * (comb(nodes, asked) if by_content else perm(nodes, asked) * factorial(nodes))
        if total.bit_length() > _MOST_BITS:
            return None
    return total
