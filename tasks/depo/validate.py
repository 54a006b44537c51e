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

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_NODE = np.int64(0xFFFFFFFF)
_STAMP = ~_NODE

MESSAGES = (
    "valid",
    "does not begin with <bos>",
    "an edge does not begin with the separator",
    "neither a word nor a query where an edge or the questions must stand",
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
    "the answer is no node of the graph",
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
    sizes = batch.column("n").to_numpy() if "n" in names else _empty(np.int32)
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
    return _empty(dtype), _empty(np.int32)


def _empty(dtype: Any) -> NDArray[Any]:
    """No values, read-only as Arrow's are: Numba would compile the kernel once more for the other kind."""
    array = np.empty(0, dtype)
    array.flags.writeable = False
    return array


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
            length, name = _read_word(tokens, at, end, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 3
                break
            # Found and new names go the same way: which one comes next cannot be predicted.
            slot = _slot_of(table, shift, stamp, name)
            known = table[slot, 1] & _STAMP == stamp
            source = table[slot, 1] & _NODE if known else nodes
            if source == max_nodes:
                code = 7
                break
            if known and successor[source] >= 0:
                code = 5
                break
            table[slot, 0] = name
            table[slot, 1] = stamp | source
            entered[source] = entered[source] if known else 0
            nodes += 0 if known else 1
            at += length
            length, name = _read_word(tokens, at, end, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 4
                break
            slot = _slot_of(table, shift, stamp, name)
            known = table[slot, 1] & _STAMP == stamp
            target = table[slot, 1] & _NODE if known else nodes
            if target == max_nodes:
                code = 7
                break
            if known and entered[target]:
                code = 6
                break
            table[slot, 0] = name
            table[slot, 1] = stamp | target
            successor[target] = successor[target] if known else -1
            nodes += 0 if known else 1
            at += length
            successor[source] = target
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
        if code == 0:
            node = 0
            for step in range(nodes):
                cycle[step] = node
                place_on_cycle[node] = step
                asked[step] = 0
                node = successor[node]
                if node == 0 and step < nodes - 1:
                    code = 10
                    break
            if node != 0:
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
            if fixed_hop >= 0:
                allowed = hop == fixed_hop
            elif qa:
                power = (hop & (hop - 1)) == 0
                allowed = power or hop == max_hop or (hop == 24 and max_hop == 32)
            else:
                allowed = True
            if not allowed:
                code = 12
                break
            at += 1
            length, name = _read_word(tokens, at, end, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 13
                break
            slot = _slot_of(table, shift, stamp, name)
            if table[slot, 1] & _STAMP != stamp:
                code = 14
                break
            node = table[slot, 1] & _NODE
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
            length, name = _read_word(tokens, at, end, mini_vocab, min_tlen, max_tlen)
            if length == 0:
                code = 17
                break
            slot = _slot_of(table, shift, stamp, name)
            if table[slot, 1] & _STAMP != stamp:
                code = 18
                break
            if table[slot, 1] & _NODE != cycle[(place_on_cycle[node] + hop) % nodes]:
                code = 19
                break
            at += length
            if len(mask_offsets):
                for place in range(answer_at + mask_shift, at + mask_shift):
                    if mask[place] != 1:
                        code = 21
                masked += at - answer_at
            if len(hop_offsets):
                given = hop_offsets[row] + queries
                if given >= hop_offsets[row + 1] or hops[given] != hop:
                    code = 23
            if len(start_offsets):
                given = start_offsets[row] + queries
                if given >= start_offsets[row + 1] or starts[given] != answer_at + 1 - begin:
                    code = 23
            if len(end_offsets):
                given = end_offsets[row] + queries
                if given >= end_offsets[row + 1] or ends[given] != at - begin:
                    code = 23
            queries += 1
        if code == 0:
            # The places that must be 1 are; so the others are 0 where the sum is right.
            if len(mask_offsets):
                for place in range(mask_offsets[row], mask_offsets[row + 1]):
                    masked -= mask[place]
            if queries != wanted:
                code = 20
            elif masked != 0:
                code = 21
            elif len(hop_offsets) and hop_offsets[row + 1] - hop_offsets[row] != queries:
                code = 23
            elif len(start_offsets) and start_offsets[row + 1] - start_offsets[row] != queries:
                code = 23
            elif len(end_offsets) and end_offsets[row + 1] - end_offsets[row] != queries:
                code = 23
        codes[row] = code
        positions[row] = min(at, end) - begin if code else 0


@inlined
def _read_word(tokens, at, end, mini_vocab, min_tlen, max_tlen):
    """The length of the word that begins at `at` (0 where none does), and its name as a number.

    The number is the word in bijective base mini_vocab (digits 1..mini_vocab): words of any length
    have different ones, and they fit into int64, since a config with more words is refused.
    """
    length = np.int64(0)
    name = np.int64(0)
    place = at
    last = min(end, at + max_tlen)
    while place < last:
        token = np.int64(tokens[place])
        place += 1
        if token > mini_vocab:
            name = name * mini_vocab + token - mini_vocab
            if token <= 2 * mini_vocab and place - at >= min_tlen:
                length = place - at
            break
        if token < 1:
            break
        name = name * mini_vocab + token
    return length, name


@inlined
def _slot_of(table, shift, stamp, name):
    """The slot of the node called `name`, or the free one where it would go."""
    slot = np.int64((np.uint64(name) * _MULTIPLIER) >> shift)
    while table[slot, 1] & _STAMP == stamp and table[slot, 0] != name:
        slot = (slot + 1) & (len(table) - 1)
    return slot
