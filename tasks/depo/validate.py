"""Depo's validator: parses the tokens, rebuilds the graph, walks it.

Written apart from the generator on purpose: it imports no word, no random stream and nothing of
`tasks.depo` (a test reads the imports), and knows a node only as a span of the example's own tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.batch import unragged
from ..core.kernels import inlined, kernel
from ..core.parsing import NODE, STAMP, no_values, read_word, slot_of

MESSAGES = (
    "valid",
    "does not begin with <bos>",
    "an edge does not begin with the separator",
    "neither a word nor a query where an edge or the questions are expected",
    "an edge has no second word",
    "two edges leave the same node",
    "two edges enter the same node",
    "fewer than 3 or more than N edges",
    "qa asks for exactly N nodes",
    "a node has no edge that leaves or enters it",
    "the edges are not one cycle",
    "a query was expected",
    "a hop that this config does not ask",
    "no word after the query",
    "the query asks for a node that is in no edge",
    "two queries ask for the same node",
    "<ans> was expected",
    "no word after <ans>",
    "the answer is not a node of the graph",
    "the answer is not the node k steps on",
    "too many or too few queries",
    "loss_mask is not 1 on <ans> and the answer and 0 elsewhere",
    "n is not the number of nodes",
    "query_hops, answer_starts or answer_ends differ from the tokens",
)


def validate(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch with the column `input_ids` and any other column of Depo."""
    tokens, offsets = unragged(batch.column("input_ids"))
    names = batch.schema.names
    mask, mask_offsets = _optional(batch, "loss_mask", np.uint8)
    hops, hop_offsets = _optional(batch, "query_hops", np.int32)
    starts, start_offsets = _optional(batch, "answer_starts", np.int32)
    ends, end_offsets = _optional(batch, "answer_ends", np.int32)
    sizes = batch.column("n").to_numpy() if "n" in names else no_values(np.int32)
    codes = np.zeros(batch.num_rows, dtype=np.int32)
    positions = np.zeros(batch.num_rows, dtype=np.int64)
    if batch.num_rows:
        # A row of L tokens has at most L nodes. Open addressing, at most a quarter full.
        nodes = int(min(config["N"], np.diff(offsets).max()))
        bits = (4 * nodes + 3).bit_length()
        _validate(
            tokens,
            offsets,
            mask,
            mask_offsets,
            sizes,
            hops,
            hop_offsets,
            starts,
            start_offsets,
            ends,
            end_offsets,
            config["N"],
            config["K"],
            config["M"],
            config["qa"],
            -1 if config["fixed_k"] is None else config["fixed_k"],
            config["mini_vocab"],
            config["min_tlen"],
            config["max_tlen"],
            config["bos_token_id"],
            config["separator_token_id"] if config["separator"] else -1,
            config["query_token_base"],
            config["answer_token_id"],
            codes,
            positions,
            np.zeros((1 << bits, 2), dtype=np.int64),
            np.uint64(64 - bits),
            np.empty(nodes + 1, dtype=np.int32),
            np.empty(nodes + 1, dtype=np.uint8),
            *(np.empty(nodes, dtype=np.int32) for _ in range(2)),
            np.empty(nodes, dtype=np.uint8),
        )
    return Verdicts(codes=codes, positions=positions, messages=MESSAGES)


def _optional(batch: pa.RecordBatch, name: str, dtype: Any) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """A list column, or empty arrays where the batch has none."""
    if name in batch.schema.names:
        return unragged(batch.column(name))
    return no_values(dtype), no_values(np.int32)


@kernel
def _validate(
    tokens,
    offsets,
    mask,
    mask_offsets,
    sizes,
    hops,
    hop_offsets,
    starts,
    start_offsets,
    ends,
    end_offsets,
    max_nodes,
    max_hop,
    max_queries,
    qa,
    fixed_hop,
    mini_vocab,
    min_tlen,
    max_tlen,
    bos,
    separator,
    query_base,
    answer,
    codes,
    positions,
    table,
    shift,
    successor,
    entered,
    cycle,
    place_on_cycle,
    asked,
):
    """Set codes and positions of every row; empty offsets mean that the batch lacks the column.

    From `table` on all is scratch: a kernel allocates nothing. A slot of `table` (int64 [slots, 2]) is
    a node's name, and its number with the row (counted from 1) that it belongs to as a stamp.
    """
    for row in range(len(codes)):
        begin, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        stamp = np.int64(row + 1) << 32
        code = 0
        at = begin
        if begin == end or tokens[begin] != bos:
            code = 1
        at += 1

        # The edges, up to the first query.
        nodes = 0
        edges = 0
        while code == 0:
            if at < end and query_base < tokens[at] <= query_base + max_hop:
                break
            if separator >= 0:
                if at >= end or tokens[at] != separator:
                    code = 2
                    break
                at += 1
            length, name = read_word(tokens, at, end, mini_vocab, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 3
                break
            # Found and new names go the same way: which one comes next cannot be predicted.
            slot = slot_of(table, shift, stamp, name)
            known = table[slot, 1] & STAMP == stamp
            number = table[slot, 1] & NODE if known else nodes
            if number == max_nodes:
                code = 7
                break
            source = np.uint64(number)
            if known and successor[source] >= 0:
                code = 5
                break
            table[slot, 0] = name
            table[slot, 1] = stamp | number
            entered[source] = entered[source] if known else 0
            nodes += 0 if known else 1
            at += length
            length, name = read_word(tokens, at, end, mini_vocab, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 4
                break
            slot = slot_of(table, shift, stamp, name)
            known = table[slot, 1] & STAMP == stamp
            number = table[slot, 1] & NODE if known else nodes
            if number == max_nodes:
                code = 7
                break
            target = np.uint64(number)
            if known and entered[target]:
                code = 6
                break
            table[slot, 0] = name
            table[slot, 1] = stamp | number
            successor[target] = successor[target] if known else -1
            nodes += 0 if known else 1
            at += length
            successor[source] = number
            entered[target] = 1
            edges += 1

        # One cycle through all nodes.
        if code == 0:
            if edges < 3 or edges > max_nodes:
                code = 7
            elif qa and edges != max_nodes:
                code = 8
            elif nodes != edges:
                code = 9
            elif len(sizes) and sizes[row] != nodes:
                code = 22
        if code == 0 and not _one_cycle(nodes, successor, cycle, place_on_cycle, asked):
            code = 10

        # The questions, to the end.
        queries = 0
        wanted = min(max_queries, nodes)
        masked = np.int64(0)
        mask_shift = np.int64(0)
        if code == 0 and len(mask_offsets):
            mask_shift = mask_offsets[row] - begin
            if mask_offsets[row + 1] - mask_offsets[row] != end - begin:
                code = 21
        while code == 0 and at < end:
            if queries == wanted:
                code = 20
                break
            hop = tokens[at] - query_base
            if hop < 1 or hop > max_hop:
                code = 11
                break
            allowed = _may_be_asked(hop, fixed_hop, qa, max_hop)
            if not allowed:
                code = 12
                break
            at += 1
            length, name = read_word(tokens, at, end, mini_vocab, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 13
                break
            slot = slot_of(table, shift, stamp, name)
            if table[slot, 1] & STAMP != stamp:
                code = 14
                break
            node = table[slot, 1] & NODE
            if asked[node]:
                code = 15
                break
            asked[node] = 1
            at += length
            if at >= end or tokens[at] != answer:
                code = 16
                break
            answer_at = at
            at += 1
            length, name = read_word(tokens, at, end, mini_vocab, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 17
                break
            slot = slot_of(table, shift, stamp, name)
            if table[slot, 1] & STAMP != stamp:
                code = 18
                break
            if table[slot, 1] & NODE != cycle[(place_on_cycle[node] + hop) % nodes]:
                code = 19
                break
            at += length
            if len(mask_offsets):
                for place in range(np.uint64(answer_at + mask_shift), np.uint64(at + mask_shift)):
                    if mask[place] != 1:
                        code = 21
                masked += at - answer_at
            if (
                _differs(hops, hop_offsets, row, queries, hop)
                or _differs(starts, start_offsets, row, queries, answer_at + 1 - begin)
                or _differs(ends, end_offsets, row, queries, at - begin)
            ):
                code = 23
            queries += 1
        if code == 0:
            # The places that must be 1 are; so the others are 0 where the sum is right.
            if len(mask_offsets):
                for place in range(np.uint64(mask_offsets[row]), np.uint64(mask_offsets[row + 1])):
                    masked -= mask[place]
            if queries != wanted:
                code = 20
            elif masked != 0:
                code = 21
            elif (
                _other_count(hop_offsets, row, queries)
                or _other_count(start_offsets, row, queries)
                or _other_count(end_offsets, row, queries)
            ):
                code = 23
        codes[row] = code
        positions[row] = min(at, end) - begin if code else 0


@inlined
def _one_cycle(nodes, successor, cycle, place_on_cycle, asked):
    """Whether the way from node 0 leads through all nodes and back; fills cycle and place_on_cycle.

    asked is then 0.
    """
    node, step = np.int64(0), np.uint64(0)
    while step < np.uint64(nodes) and (node != 0 or step == 0):
        cycle[step] = node
        place_on_cycle[np.uint64(node)] = step
        asked[step] = 0
        node = np.int64(successor[np.uint64(node)])
        step += np.uint64(1)
    return node == 0 and step == np.uint64(nodes)


@inlined
def _may_be_asked(hop, fixed_hop, qa, max_hop):
    """Whether this config asks questions of so many hops."""
    if fixed_hop >= 0:
        allowed = hop == fixed_hop
    elif qa:
        allowed = (hop & (hop - 1)) == 0 or hop == max_hop or (hop == 24 and max_hop == 32)
    else:
        allowed = True
    return allowed


@inlined
def _differs(values, offsets, row, place, expected):
    """Whether a column, where there is one, has another value than this at a place of the row's list."""
    differs = False
    if len(offsets):
        at = offsets[row] + place
        differs = at >= offsets[row + 1] or values[at] != expected
    return differs


@inlined
def _other_count(offsets, row, count):
    """Whether a column, where there is one, has another number of values in the row's list."""
    return len(offsets) > 0 and offsets[row + 1] - offsets[row] != count
