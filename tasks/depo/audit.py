"""What `ostraca audit` holds Depo to: one question and one edge of each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..auditing import BINS, Audit, Law, Pair, Tables, coins, fitting, spread, uniform
from ..core.batch import unragged
from ..core.kernels import kernel
from ..core.reading_words import read_words
from ..core.sizes import MIN_SIZE
from ..core.word_laws import length_laws, size_law, token_groups, token_law, token_pair_law

_MOST_SIZES = 1024  # nodes up to which laws are told for each n
_HOPS = 64  # hops that are told apart
_EFFECTIVE = 16

# What `_read` finds in an example, a column each.
_FACTS = (
    *("n", "questions", "hop", "walked", "asked_edge", "answer_edge", "edge", "distance", "distinct"),
    *("asked_length", "asked_first", "asked_last", "answer_length", "answer_first", "answer_last"),
    *("parent_length", "parent_first", "parent_last", "child_length", "child_first", "child_last"),
)


def audit_of(config: Mapping[str, Any], hops: NDArray[np.int32]) -> Audit:
    """The declarations for a config; hops int32: those that are asked, ascending, equally likely."""
    vocab, low, high = config["mini_vocab"], config["min_tlen"], config["max_tlen"]
    lengths, sizes = high - low + 1, config["N"] + 1
    groups = token_groups(vocab, lengths)
    by_size = sizes <= _MOST_SIZES
    kinds = min(len(hops), _HOPS)
    columns = {
        "n": sizes if by_size else BINS,
        "hop": kinds,
        "walked": _EFFECTIVE,
        "question_place": BINS,
        "asked_place": BINS,
        "answer_shift": BINS,
        "edge_place": BINS,
        "distance": BINS,
        "tokens": BINS,
        "distinct": BINS,
        "index": BINS,
        **{f"{who}_length": lengths for who in ("asked", "answer", "parent", "child")},
        **{
            f"{who}_{what}": groups
            for who in ("asked", "answer", "parent", "child")
            for what in ("first", "last")
        },
    }

    def tables(batch: pa.RecordBatch) -> Tables:
        return {"question": _question(batch, config, hops, groups)}

    hop_law = np.bincount(np.arange(len(hops)) * kinds // len(hops), minlength=kinds) / len(hops)
    laws = [Law(unit="question", column="hop", law=hop_law)]
    laws += [
        Law(unit="question", column=column, law=uniform(BINS))
        for column in ("asked_place", "answer_shift", "edge_place", "distance")
    ]
    pairs = []
    if by_size:
        laws.append(Law(unit="question", column="n", law=size_law(config)))
        laws.append(Law(unit="question", column="walked", given=("n",), law=_walked_law(config["N"], hops)))
    of_lengths = length_laws(config["N"], vocab, low, high) if by_size else None
    token, token_pair = token_law(vocab, lengths), token_pair_law(vocab, low, high)
    for who in ("asked", "parent"):
        if of_lengths is not None:
            laws.append(Law(unit="question", column=f"{who}_length", given=("n",), law=of_lengths[0]))
        laws += [
            Law(
                unit="question",
                column=f"{who}_{what}",
                given=(f"{who}_length",),
                law=np.tile(token, (lengths, 1)),
            )
            for what in ("first", "last")
        ]
    for feature, target in (("asked", "answer"), ("parent", "child")):
        own = (f"{feature}_length", f"{target}_length")
        if of_lengths is not None:
            pairs.append(
                Pair(unit="question", feature=own[0], target=own[1], given=("n",), law=of_lengths[1])
            )
        pairs += [
            Pair(
                unit="question",
                feature=f"{feature}_{what}",
                target=f"{target}_{what}",
                given=own,
                law=token_pair,
            )
            for what in ("first", "last")
        ]
    free = [
        ("question_place", "hop"),
        ("question_place", "asked_place"),
        ("question_place", "asked_first"),
        ("asked_place", "hop"),
        ("asked_place", "answer_shift"),
        ("asked_first", "hop"),
        ("asked_last", "hop"),
        ("answer_first", "hop"),
        ("n", "hop"),
        ("tokens", "hop"),
        ("distinct", "hop"),
        ("edge_place", "distance"),
        ("edge_place", "hop"),
        ("edge_place", "parent_first"),
        ("parent_first", "distance"),
        ("parent_last", "distance"),
        ("child_first", "distance"),
        *(
            ("index", target)
            for target in ("n", "hop", "asked_place", "asked_first", "answer_shift", "distance")
        ),
    ]
    pairs += [Pair(unit="question", feature=feature, target=target) for feature, target in free]
    # n decides how short words can be, and hops that go round small cycles.
    given = ("n",) if by_size else ()
    held = [
        ("question_place", "asked_length"),
        ("question_place", "answer_length"),
        ("asked_length", "hop"),
        ("asked_length", "answer_shift"),
        ("edge_place", "parent_length"),
        ("edge_place", "child_length"),
    ]
    if config["qa"] or by_size:
        pairs += [
            Pair(unit="question", feature=feature, target=target, given=given) for feature, target in held
        ]
    return fitting(
        columns={"question": columns},
        tables=tables,
        laws=laws,
        pairs=pairs,
        neighbours=[
            ("question", column) for column in ("hop", "asked_place", "asked_first", "distance", "tokens")
        ],
    )


def _walked_law(largest: int, hops: NDArray[np.int32]) -> NDArray[np.float64]:
    """P(nodes from the asked to the answer, put into _EFFECTIVE - 1 | n): a hop goes round a small cycle."""
    law = np.full((largest + 1, _EFFECTIVE), np.nan)
    for n in range(MIN_SIZE, largest + 1):
        walked = np.minimum(hops % n, _EFFECTIVE - 1)
        law[n] = np.bincount(walked, minlength=_EFFECTIVE) / len(hops)
    return law


def _question(
    batch: pa.RecordBatch, config: Mapping[str, Any], hops: NDArray[np.int32], groups: int
) -> dict[str, NDArray[np.int64]]:
    facts, index, question = _facts(batch, config)
    low, n, count = config["min_tlen"], facts["n"], facts["questions"]
    kinds = min(len(hops), _HOPS)
    hop = np.searchsorted(hops, facts["hop"]) * kinds // len(hops)
    other = facts["walked"] > 0  # a hop of n, 2n, ... leads back to the asked node
    _, offsets = unragged(batch.column("input_ids"))
    shift = (facts["answer_edge"] - facts["asked_edge"]) % n - 1
    columns = {
        "n": n if config["N"] + 1 <= _MOST_SIZES else n * BINS // (config["N"] + 1),
        "hop": hop,
        "walked": np.minimum(facts["walked"], _EFFECTIVE - 1),
        "question_place": spread(question, count, index, 10),
        "asked_place": spread(facts["asked_edge"], n, index, 11),
        "answer_shift": spread(np.where(other, shift, -1), n - 1, index, 12),
        "edge_place": spread(facts["edge"], n, index, 13),
        "distance": spread(facts["distance"], n, index, 14),
        # Lengths have no scale of their own: their lowest bits, which are as telling as any.
        "tokens": np.diff(offsets).astype(np.int64) % BINS,
        "distinct": facts["distinct"] % BINS,
        "index": index % BINS,
    }
    for who in ("asked", "answer", "parent", "child"):
        given = other if who == "answer" else np.ones(len(n), bool)
        columns[f"{who}_length"] = np.where(given, facts[f"{who}_length"] - low, -1)
        for what in ("first", "last"):
            columns[f"{who}_{what}"] = np.where(given, facts[f"{who}_{what}"] % groups, -1)
    return columns


def _facts(
    batch: pa.RecordBatch, config: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64], NDArray[np.int64]]:
    """What `_read` finds of each example, its index, and the question that was chosen."""
    tokens, offsets = unragged(batch.column("input_ids"))
    index = batch.column("index").to_numpy()
    longest = int(np.diff(offsets).max(initial=1))
    slots = 1 << int(4 * longest).bit_length()
    facts = np.empty((batch.num_rows, len(_FACTS)), dtype=np.int64)
    question = np.empty(batch.num_rows, dtype=np.int64)
    _read(
        tokens,
        offsets,
        coins(index, 0),
        coins(index, 1),
        config["mini_vocab"],
        config["query_token_base"] + 1,
        config["query_token_base"] + config["K"],
        facts,
        question,
        np.empty(longest, np.int32),
        np.empty((longest, 3), np.int32),
        np.empty(longest, np.int64),
        np.empty(slots, np.int64),
        np.zeros(slots, np.int32),
        np.empty(slots, np.int32),
        np.empty((2, longest), np.int64),
        np.zeros(2 * config["mini_vocab"] + 1, np.int32),
    )
    return {name: facts[:, place] for place, name in enumerate(_FACTS)}, index, question


@kernel
def _read(
    tokens,
    offsets,
    coin,
    edge_coin,
    mini_vocab,
    low,
    high,
    facts,
    picked,
    node,
    surface,
    asked,
    seen,
    seen_in,
    seen_node,
    cycle,
    used,
):
    """Of a question (coin) and an edge (edge_coin) of each valid example, facts int64 [rows, facts]."""
    following, edge_of = cycle[0], cycle[1]
    for row in range(len(facts)):
        _, shown, n, questions = read_words(
            tokens,
            np.int64(offsets[row]),
            np.int64(offsets[row + 1]),
            mini_vocab,
            2 * mini_vocab,
            low,
            high,
            node,
            surface,
            asked,
            seen,
            seen_in,
            seen_node,
            row + 1,
        )
        for edge in range(n):
            following[node[2 * edge]] = node[2 * edge + 1]
            edge_of[node[2 * edge]] = edge
        question = min(np.int64(coin[row] * questions), questions - 1)
        picked[row] = question
        word = shown + 2 * question
        start, answer = node[word], node[word + 1]
        edge = min(np.int64(edge_coin[row] * n), n - 1)
        parent = node[2 * edge]
        # Once round the cycle: how far the answer and the chosen edge stand from the asked node.
        walked, distance = np.int64(0), np.int64(0)
        now = start
        for step in range(n):
            if now == answer:
                walked = np.int64(step)
            if now == parent:
                distance = np.int64(step)
            now = following[now]
        distinct = np.int64(0)
        for place in range(offsets[row], offsets[row + 1]):
            token = tokens[place]
            if token <= 2 * mini_vocab and used[token] != row + 1:
                used[token] = row + 1
                distinct += 1
        out = facts[row]
        out[0], out[1], out[2], out[3] = n, questions, asked[question] + 1, walked
        out[4], out[5], out[6], out[7] = edge_of[start], edge_of[answer], edge, distance
        out[8] = distinct
        at = 9
        for which in (word, word + 1, 2 * edge, 2 * edge + 1):
            for what in range(3):
                out[at] = surface[which, what]
                at += 1
