"""What `ostraca audit` holds Brevo to: the graph, and an edge, a node of the answer and the query of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..auditing import BINS, Audit, Law, Pair, coins, fitting, spread, uniform
from ..core.batch import unragged
from ..core.kernels import kernel
from ..core.reading_words import read_words
from ..core.word_laws import length_laws, size_law, token_groups, token_law, token_pair_law
from .laws import LISTED, can_follow, graph_laws, listed_laws

_MOST_SIZES = 1024
_ANSWERS = 32  # lengths of an answer that are told apart
_UNIT = "example"
_CHOICES = ("by_seen", "by_time", "by_parents")
# Whose words are looked at: the query, the first of the answer, the ends of an edge, two neighbours in the
# answer.
_WHO = ("query", "first", "parent", "child", "node", "next")
# What `_read` finds in an example, a column each: `ready` are the nodes that could stand at a place of the
# answer once all behind it stand, by_... is which of them does, in three orders. Then of each of _WHO its
# length, first and last token.
_FACTS = (
    *("edges", "answer_length", "edge", "query_edge", "rank", "leaf", "child_rank", "parent_rank"),
    *("query_parents", "distinct", "shown", "depth", "ready", "by_seen", "by_time", "by_parents"),
    *(f"{who}_{what}" for who in _WHO for what in ("length", "first", "last")),
)


def audit_of(config: Mapping[str, Any]) -> Audit:
    """The declarations for a config."""
    vocab, low, high = _space(config)
    lengths, sizes = high - low + 1, config["N"] + 1
    groups, by_size = token_groups(vocab, lengths), sizes <= _MOST_SIZES
    columns = {
        "n": sizes if by_size else BINS,
        "edge_place": BINS,
        "query_edge_place": BINS,
        "rank": BINS,
        "child_rank": BINS,
        "parent_rank": BINS,
        "leaf": 2,
        "answer_length": _ANSWERS,
        "query_parents": config["max_in"] + 1,
        "edges": config["N"] * config["max_in"] + 1,
        "exact_length": LISTED + 1,
        "depth": LISTED + 1,
        "shown": LISTED + 1,
        **dict.fromkeys(_CHOICES, BINS),
        "tokens": BINS,
        "distinct": BINS,
        "index": BINS,
        **{f"{who}_length": lengths for who in _WHO},
        **{f"{who}_{what}": groups for who in _WHO for what in ("first", "last")},
    }
    ends = ("first", "last") if high > 1 else ("first",)
    laws = [_law(column, uniform(BINS)) for column in ("query_edge_place", *_CHOICES)]
    if by_size:
        laws += [_law("n", size_law(config)), *_graph_laws(config)]
    token = np.tile(token_law(vocab, lengths), (lengths, 1))
    for who in _WHO:
        laws += [_law(f"{who}_{what}", token, f"{who}_length") for what in ends]
    pairs = [
        *(_pair("edge_place", target) for target in ("child_rank", "parent_rank", "answer_length")),
        *(_pair(choice, target) for choice in _CHOICES for target in ("answer_length", "query_first")),
        *(_pair("query_edge_place", target) for target in ("answer_length", "query_parents", "leaf")),
        *(_pair("edge_place", f"{who}_{what}") for who in ("parent", "child", "query") for what in ends),
        *(_pair(f"node_{what}", target) for what in ends for target in ("rank", "leaf")),
        *(_pair(f"first_{what}", "answer_length") for what in ends),
        *(
            _pair(f"query_{what}", target)
            for what in ends
            for target in ("answer_length", "query_parents", "leaf")
        ),
        *(_pair(feature, "query_first") for feature in ("tokens", "distinct", "n")),
        *(
            _pair("index", target)
            for target in ("n", "answer_length", "query_first", "query_edge_place", "leaf")
        ),
    ]
    law = token_pair_law(vocab, low, high)
    for one, other in (("query", "first"), ("parent", "child"), ("node", "next")):
        given = (f"{one}_length", f"{other}_length")
        pairs += [_pair(f"{one}_{what}", f"{other}_{what}", *given, law=law) for what in ends]
    of_lengths = length_laws(config["N"], vocab, low, high) if lengths > 1 and by_size else None
    if of_lengths is not None:
        alone, together = of_lengths
        laws += [_law(f"{who}_length", alone, "n") for who in _WHO]
        for one, other in (("query", "first"), ("parent", "child"), ("node", "next")):
            pairs.append(_pair(f"{one}_length", f"{other}_length", "n", law=together))
    if lengths > 1 and by_size:
        pairs += [
            *(_pair("query_length", target, "n") for target in ("answer_length", "query_parents")),
            *(_pair("node_length", target, "n") for target in ("rank", "leaf")),
            *(_pair("edge_place", f"{who}_length", "n") for who in ("parent", "child")),
            _pair("query_edge_place", "query_length", "n"),
        ]
    return fitting(
        columns={_UNIT: columns},
        tables=lambda batch: {_UNIT: _table(batch, config, groups)},
        laws=laws,
        pairs=pairs,
        neighbours=[
            (_UNIT, column)
            for column in ("query_first", "query_edge_place", "answer_length", "child_rank", "tokens")
        ],
    )


def _graph_laws(config: Mapping[str, Any]) -> list[Law]:
    """Of edges and the query's parents for each n; of all else where the graphs can be listed."""
    most, last_quarter = config["N"], config["query"] != "last"
    laws = []
    if can_follow(most, config["max_in"]):
        edges, parents = graph_laws(most, config["max_in"], last_quarter)
        laws += [_law("edges", edges, "n"), _law("query_parents", parents, "n")]
    small = min(most, LISTED) + 1
    names = ("exact_length", "depth", "shown")
    for name, law in zip(names, listed_laws(config["max_in"], last_quarter), strict=True):
        padded = np.full((most + 1, LISTED + 1), np.nan)
        padded[:small] = law[:small]
        laws.append(_law(name, padded, "n"))
    return laws


def _space(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Tokens at a place of a node's word, its fewest and most tokens; a node's id is a word of one token."""
    if config["multi"]:
        return config["mini_vocab"], config["min_tlen"], config["max_tlen"]
    return config["N"], 1, 1


def _law(column: str, law: NDArray[np.float64], *given: str) -> Law:
    return Law(unit=_UNIT, column=column, law=law, given=given)


def _pair(feature: str, target: str, *given: str, law: NDArray[np.float64] | None = None) -> Pair:
    return Pair(unit=_UNIT, feature=feature, target=target, given=given, law=law)


def _table(batch: pa.RecordBatch, config: Mapping[str, Any], groups: int) -> dict[str, NDArray[np.int64]]:
    facts, index, widths = _facts(batch, config)
    low = _space(config)[1]
    # n is not in the tokens (a leaf without children is not shown): known of the test form, or told.
    if config["qa"]:
        n = np.full(len(index), config["N"], np.int64)
    elif "n" in batch.schema.names:
        n = batch.column("n").to_numpy().astype(np.int64)
    else:
        n = np.full(len(index), -1, np.int64)
    edges, length = facts["edges"], facts["answer_length"]
    columns = {
        "n": n if config["N"] + 1 <= _MOST_SIZES else n * BINS // (config["N"] + 1),
        "edge_place": spread(facts["edge"], edges, index, 10),
        "query_edge_place": spread(facts["query_edge"], edges, index, 11),
        "rank": spread(facts["rank"], length, index, 12),
        "child_rank": spread(facts["child_rank"], length, index, 13),
        "parent_rank": spread(facts["parent_rank"], length, index, 14),
        "leaf": facts["leaf"],
        "answer_length": np.minimum(length, _ANSWERS - 1),
        "query_parents": facts["query_parents"],
        "edges": edges,
        # Sizes of the smallest graphs; n is known to be small where they count.
        "exact_length": np.where(n <= LISTED, np.minimum(length, LISTED), -1),
        "depth": np.where(n <= LISTED, np.minimum(facts["depth"], LISTED), -1),
        "shown": np.where(n <= LISTED, np.minimum(facts["shown"], LISTED), -1),
        **{
            name: spread(np.where(facts["ready"] > 1, facts[name], -1), facts["ready"], index, 15 + place)
            for place, name in enumerate(_CHOICES)
        },
        # Lengths have no scale of their own: their lowest bits, which are as telling as any.
        "tokens": widths % BINS,
        "distinct": facts["distinct"] % BINS,
        "index": index % BINS,
    }
    for who in _WHO:
        given = facts[f"{who}_length"] > 0
        columns[f"{who}_length"] = np.where(given, facts[f"{who}_length"] - low, -1)
        for what in ("first", "last"):
            columns[f"{who}_{what}"] = np.where(given, facts[f"{who}_{what}"] % groups, -1)
    return columns


def _facts(
    batch: pa.RecordBatch, config: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64], NDArray[np.int64]]:
    """What `_read` finds of each example, its index and its tokens' number."""
    tokens, offsets = unragged(batch.column("input_ids"))
    index = batch.column("index").to_numpy()
    widths = np.diff(offsets).astype(np.int64)
    longest = int(widths.max(initial=1))
    slots = 1 << int(4 * longest).bit_length()
    most = 2 * config["mini_vocab"] if config["multi"] else config["N"]
    facts = np.empty((batch.num_rows, len(_FACTS)), dtype=np.int64)
    _read(
        tokens,
        offsets,
        np.stack([coins(index, salt) for salt in (0, 1, 2, 3)]),
        config["mini_vocab"] if config["multi"] else 0,
        most,
        config["query_token_id"],
        facts,
        np.empty(longest, np.int32),
        np.empty((longest, 3), np.int32),
        np.empty(longest, np.int64),
        np.empty(slots, np.int64),
        np.zeros(slots, np.int32),
        np.empty(slots, np.int32),
        np.empty((6, longest + 1), np.int64),
        np.zeros(most + 1, np.int32),
    )
    return {name: facts[:, place] for place, name in enumerate(_FACTS)}, index, widths


@kernel
def _read(
    tokens,
    offsets,
    coin,
    mini_vocab,
    most_token,
    query_token,
    facts,
    node,
    surface,
    asked,
    seen,
    seen_in,
    seen_node,
    scratch,
    used,
):
    """Of the query, an edge (coin[0]), a node of the answer (coin[1]), an edge to the query (coin[2]) and a
    place of the answer (coin[3]) of each valid example, facts int64 [rows, facts]; -1 where there is none,
    and a word's length is 0.
    """
    rank, parents, depth = scratch[0], scratch[1], scratch[2]
    begins, above, follower = scratch[3], scratch[4], scratch[5]
    for row in range(len(facts)):
        words, shown, nodes, _ = read_words(
            tokens,
            np.int64(offsets[row]),
            np.int64(offsets[row + 1]),
            mini_vocab,
            most_token,
            query_token,
            query_token,
            node,
            surface,
            asked,
            seen,
            seen_in,
            seen_node,
            row + 1,
        )
        edges = shown >> 1
        length = words - shown - 1
        query = node[shown]
        for other in range(nodes):
            rank[other] = -1
            parents[other] = 0
        for place in range(length):
            rank[node[shown + 1 + place]] = place
        for edge in range(edges):
            parents[node[2 * edge + 1]] += 1
        # above[begins[x]:begins[x + 1]] are the parents of x, and follower[x] its first child in the answer.
        begins[0] = 0
        for other in range(nodes):
            begins[other + 1] = begins[other] + parents[other]
            follower[other] = length
        for edge in range(edges):
            parent, child = node[2 * edge], node[2 * edge + 1]
            above[begins[child]] = parent
            begins[child] += 1
            if rank[child] >= 0:
                follower[parent] = min(follower[parent], rank[child])
        for place in range(length):
            other = node[shown + 1 + place]
            nearest = np.int64(0)
            for which in range(begins[other] - parents[other], begins[other]):
                if which == begins[other] - parents[other] or depth[above[which]] + 1 < nearest:
                    nearest = depth[above[which]] + 1
            depth[other] = nearest
        # The nodes that could stand at a place before the last, once all behind it stand.
        wanted = min(np.int64(coin[3, row] * (length - 1)), length - 2)
        ready, by_seen, by_time, by_parents = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        if wanted >= 0:
            taken = node[shown + 1 + wanted]
            for place in range(wanted + 1):
                other = node[shown + 1 + place]
                if follower[other] > wanted:
                    ready += 1
                    earlier = other < taken
                    by_seen += earlier
                    later = follower[other] - follower[taken]
                    by_time += later > 0 or (later == 0 and earlier)
                    more = parents[other] - parents[taken]
                    by_parents += more < 0 or (more == 0 and earlier)
        # One of the edges that lead to the query.
        wanted = min(np.int64(coin[2, row] * parents[query]), parents[query] - 1)
        query_edge, met = np.int64(-1), np.int64(0)
        for edge in range(edges):
            if node[2 * edge + 1] == query:
                if met == wanted:
                    query_edge = np.int64(edge)
                met += 1
        distinct = np.int64(0)
        for place in range(offsets[row], offsets[row + 1]):
            token = tokens[place]
            if token > 0 and token <= most_token and used[token] != row + 1:
                used[token] = row + 1
                distinct += 1
        edge = min(np.int64(coin[0, row] * edges), edges - 1)
        place = min(np.int64(coin[1, row] * length), length - 1)
        out = facts[row]
        out[0], out[1], out[2], out[3], out[4] = edges, length, edge, query_edge, place
        out[5] = 1 if parents[node[shown + 1 + place]] == 0 else 0
        out[6], out[7] = rank[node[2 * edge + 1]], rank[node[2 * edge]]
        out[8], out[9], out[10], out[11] = parents[query], distinct, nodes, depth[query]
        out[12], out[13], out[14], out[15] = ready, by_seen, by_time, by_parents
        at = 16
        for which in (shown, shown + 1, 2 * edge, 2 * edge + 1, shown + 1 + place, shown + 2 + place):
            # The query is the answer's last node; a leaf is the only one; the last has none after it.
            there = which < words and (which != shown + 1 or at != 19 or node[which] != query)
            for what in range(3):
                out[at] = surface[which, what] if there else 0
                at += 1
