"""Brevo's keys, and what a config means: lengths, names of ids."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import Key, check_keys
from ..core.words import check_words, word_tokens
from ..errors import ConfigError

if TYPE_CHECKING:
    pass


KEYS = {
    "N": Key(default=70, low=3, high=10**5, help="largest number of nodes"),
    "multi": Key(default=False, kind=bool, help="a node is a word of several tokens (Brevo2)"),
    "qa": Key(default=False, kind=bool, help="test form: n = N"),
    "query": Key(
        default="last",
        kind=str,
        choices=("last", "last_quarter"),
        help="the node asked for: the last, or any of the last ceil(n/4)",
    ),
    "max_in": Key(default=4, low=1, high=64, help="most parents, and most children, of a node"),
    "mini_vocab": Key(
        default=4, low=1, high=10**6, help="multi: different tokens at each position of a word"
    ),
    "min_tlen": Key(default=2, low=1, high=64, help="multi: fewest tokens of a word"),
    "max_tlen": Key(default=4, low=1, high=64, help="multi: most tokens of a word"),
    "bos_token_id": Key(default=9999, help="id of <bos>"),
    "eos_token_id": Key(default=9998, help="id of <eos> (may be that of <ans>)"),
    "query_token_id": Key(default=9997, help="id of <query>"),
    "answer_token_id": Key(default=9998, help="id of <ans>"),
}


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("brevo: ", config, KEYS)
    if full["multi"]:
        check_words("brevo", full["N"], full["mini_vocab"], full["min_tlen"], full["max_tlen"])
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """Every id must mean one thing; only <ans> and <eos> may share theirs."""
    nodes, what = full["N"], "the nodes' tokens (1 to N)"
    if full["multi"]:
        nodes, what = 2 * full["mini_vocab"], "the words' tokens (1 to 2 * mini_vocab)"
    specials = ["bos_token_id", "query_token_id", "answer_token_id"]
    if full["eos_token_id"] != full["answer_token_id"]:
        specials.append("eos_token_id")
    ranges = sorted([(1, nodes, what), *((full[name], full[name], name) for name in specials)])
    for (_, last, one), (first, _, other) in pairwise(ranges):
        if first <= last:
            raise ConfigError(
                f"brevo: {one} and {other} collide at id {first}; move the special token's id "
                "(only <ans> and <eos> may share one)"
            )


def _word(config: Mapping[str, Any]) -> int:
    """The most tokens of a node."""
    return int(config["max_tlen"]) if config["multi"] else 1


def _edge_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    """No graph of so many nodes has more edges: node i = 1, 2, ... has at most min(i, max_in) parents."""
    rising = np.minimum(nodes - 1, config["max_in"])
    return rising * (rising + 1) // 2 + (nodes - 1 - rising) * config["max_in"]


def _token_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    return 4 + _word(config) * (2 * _edge_bound(config, nodes) + 1 + nodes)


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens."""
    return int(_token_bound(config, config["N"]))


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use: "v7" is node 7; a word's last token has a dot, "3 1." is a word."""
    if config["multi"]:
        names = word_tokens(config["mini_vocab"], config["max_tlen"])
    else:
        names = {node: f"v{node}" for node in range(1, config["N"] + 1)}
    names[config["bos_token_id"]] = "<bos>"
    names[config["query_token_id"]] = "<query>"
    names[config["answer_token_id"]] = "<ans>"
    names[config["eos_token_id"]] = "<eos>"
    if config["answer_token_id"] == config["eos_token_id"]:
        names[config["eos_token_id"]] = "<ans|eos>"
    return names
