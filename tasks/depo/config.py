"""Depo's keys, and what a config means: hops, lengths, names of ids."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base import INT32_MAX, Key, check_keys
from ..core.sizes import MIN_SIZE, size_probabilities
from ..core.words import check_words, mean_lengths, word_tokens
from ..errors import ConfigError

if TYPE_CHECKING:
    pass


KEYS = {
    "N": Key(default=225, low=3, high=10**6, help="largest number of nodes"),
    "K": Key(default=8, low=1, high=10**6, help="largest number of hops"),
    "M": Key(default=10, low=1, high=10**6, help="questions per example (fewer when n < M)"),
    "qa": Key(default=False, kind=bool, help="test form: n = N, hops 1, 2, 4, ... and K"),
    "separator": Key(default=False, kind=bool, help="put a separator before each edge"),
    "mini_vocab": Key(default=50, low=1, high=10**6, help="different tokens at each position of a word"),
    "min_tlen": Key(default=1, low=1, high=64, help="fewest tokens of a word"),
    "max_tlen": Key(default=2, low=1, high=64, help="most tokens of a word"),
    "fixed_k": Key(default=None, low=1, high=10**6, optional=True, help="ask this hop only"),
    "bos_token_id": Key(default=0, help="id of <bos>"),
    "separator_token_id": Key(default=9700, help="id of <sep>"),
    "query_token_base": Key(default=9000, help="id of <query_k> is this + k"),
    "answer_token_id": Key(default=9500, help="id of <ans>"),
}


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("depo: ", config, KEYS)
    check_words("depo", full["N"], full["mini_vocab"], full["min_tlen"], full["max_tlen"])
    if full["fixed_k"] is not None and full["fixed_k"] > full["K"]:
        raise ConfigError(
            f"depo: fixed_k={full['fixed_k']} must not be larger than K={full['K']}; raise K to ask it"
        )
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """Every id must mean one thing: no two ranges of ids may touch."""
    base = full["query_token_base"]
    ranges = [
        (1, 2 * full["mini_vocab"], "the words' tokens (1 to 2 * mini_vocab)"),
        (base + 1, base + full["K"], "the query ids (query_token_base + 1 to + K)"),
        (full["bos_token_id"], full["bos_token_id"], "bos_token_id"),
        (full["answer_token_id"], full["answer_token_id"], "answer_token_id"),
    ]
    if full["separator"]:
        ranges.append((full["separator_token_id"],) * 2 + ("separator_token_id",))
    ranges.sort()
    for (_, last, one), (first, _, other) in pairwise(ranges):
        if first <= last:
            raise ConfigError(
                f"depo: {one} and {other} collide at id {first}; move one of them, e.g. "
                "query_token_base or the special token's id"
            )
    if ranges[-1][1] > INT32_MAX:
        raise ConfigError(f"depo: {ranges[-1][2]} go past 2^31 - 1, the largest id; lower them")


def hop_choices(config: Mapping[str, Any]) -> NDArray[np.int32]:
    """The hops that are asked, each equally likely: int32, ascending."""
    largest = config["K"]
    if config["fixed_k"] is not None:
        hops = {config["fixed_k"]}
    elif config["qa"]:
        hops = {1 << power for power in range(largest.bit_length())} | {largest}
        if largest == 32:
            hops.add(24)
    else:
        hops = set(range(1, largest + 1))
    return np.array(sorted(hops), dtype=np.int32)


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens."""
    return int(_token_bound(config, config["N"]))


def _token_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    word = config["max_tlen"]
    questions = np.minimum(nodes, config["M"])
    return 1 + nodes * (2 * word + config["separator"]) + questions * (2 + 2 * word)


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, to a percent: what shards and batches are measured out with."""
    nodes = np.arange(MIN_SIZE, config["N"] + 1)
    word = mean_lengths(config["N"], config["mini_vocab"], config["min_tlen"], config["max_tlen"])[nodes]
    lengths = 1 + nodes * (2 * word + config["separator"])
    lengths = lengths + np.minimum(nodes, config["M"]) * (2 + 2 * word)
    if config["qa"]:
        return float(lengths[-1])
    return float(lengths @ size_probabilities(config["N"]))


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use; a word's last token has a dot: "7 12." is a word of two."""
    names = word_tokens(config["mini_vocab"], config["max_tlen"])
    for hop in range(1, config["K"] + 1):
        names[config["query_token_base"] + hop] = f"<query_{hop}>"
    names[config["bos_token_id"]] = "<bos>"
    names[config["answer_token_id"]] = "<ans>"
    if config["separator"]:
        names[config["separator_token_id"]] = "<sep>"
    return names
