"""Brevo's validator: parses the tokens, rebuilds the graph, walks it from the query back.

Written apart from the generator on purpose: it imports no word, no random stream and nothing of
`tasks.brevo` (a test reads the imports), and numbers the nodes as they come in the example's own tokens.
Any topological order of the ancestors is a valid answer.

Leaves without children are not shown, so the tokens leave n open. A graph is one of n nodes where
n >= the nodes shown and its leaves (n less those that have parents) are at most floor((n-1)/4) + 1.
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

_DIRECT_BITS = 14  # up to so many bits the table of nodes has a slot for every name
_FAR = 1 << 30  # of a node from which the query is not reached
_ABSENT = -(2**63)

MESSAGES = (
    "valid",
    "does not begin with <bos>",
    "neither a node nor <query> where an edge or <query> is expected",
    "an edge has no second node",
    "more than N nodes",
    "an edge stands twice",
    "a node has more than max_in parents",
    "a node has more than max_in children",
    "no node after <query>",
    "the query is not a node with parents",
    "the edges have a cycle",
    "no graph of this config has so few nodes with parents, or so few or many nodes",
    "this config does not ask for a node so far from the last",
    "<ans> was expected",
    "neither a node nor <eos> in the answer",
    "the answer has a node that is in no edge",
    "the answer has a node from which the query is not reached",
    "the answer repeats a node",
    "tokens end before <eos>",
    "tokens after <eos>",
    "the answer does not end with the query",
    "the answer lacks an ancestor of the query",
    "the answer has a node before one of its parents",
    "loss_mask is not 1 on <ans>, the answer and <eos> and 0 elsewhere",
    "n cannot be the number of nodes",
    "edges, depth, answer_length, answer_start or answer_end differ from the tokens",
)
_FACTS = ("n", "edges", "depth", "answer_length", "answer_start", "answer_end")


def validate(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch with the column `input_ids` and any other column of Brevo."""
    return judge(batch, config)[0]


def judge(batch: pa.RecordBatch, config: Mapping[str, Any]) -> tuple[Verdicts, NDArray[np.int64]]:
    """The verdicts, and where each row's answer begins (int64 [rows], -1 where none does)."""
    tokens, offsets = unragged(batch.column("input_ids"))
    mask, mask_offsets = no_values(np.uint8), no_values(np.int32)
    if "loss_mask" in batch.schema.names:
        mask, mask_offsets = unragged(batch.column("loss_mask"))
    facts = np.full((len(_FACTS), batch.num_rows), _ABSENT, dtype=np.int64)
    for place, name in enumerate(_FACTS):
        if name in batch.schema.names:
            facts[place] = batch.column(name).to_numpy()
    codes = np.zeros(batch.num_rows, dtype=np.int32)
    positions = np.zeros(batch.num_rows, dtype=np.int64)
    answer_starts = np.full(batch.num_rows, -1, dtype=np.int64)
    if batch.num_rows:
        inner, last, fewest, most = 0, config["N"], 1, 1  # a node of Brevo1 is a word of one token
        if config["multi"]:
            inner = last = config["mini_vocab"]
            fewest, most = config["min_tlen"], config["max_tlen"]
        # A row of L tokens has at most L nodes. Open addressing, at most a quarter full.
        nodes = int(min(config["N"], np.diff(offsets).max())) + 1
        bits = (4 * nodes + 3).bit_length()
        names = last if inner == 0 else sum(inner**length for length in range(1, most + 1))
        direct = int(names).bit_length() <= max(_DIRECT_BITS, bits)
        if direct:
            bits = int(names).bit_length()
        _validate(
            tokens,
            offsets,
            mask,
            mask_offsets,
            facts,
            config["N"],
            config["qa"],
            config["query"] == "last_quarter",
            config["max_in"],
            inner,
            last,
            fewest,
            most,
            config["bos_token_id"],
            config["query_token_id"],
            config["answer_token_id"],
            config["eos_token_id"],
            codes,
            positions,
            answer_starts,
            np.zeros((1 << bits, 2), dtype=np.int64),
            np.uint64(0 if direct else 64 - bits),
            # Without a sign, as places that are counted from an array's end have: each would cost a question.
            np.empty((nodes, config["max_in"]), dtype=np.uint32),
            np.empty((5, nodes), dtype=np.uint32),
            np.empty(nodes, dtype=np.int32),
        )
    return Verdicts(codes=codes, positions=positions, messages=MESSAGES), answer_starts


@kernel
def _validate(
    tokens,
    offsets,
    mask,
    mask_offsets,
    facts,
    max_nodes,
    qa,
    last_quarter,
    max_in,
    inner,
    last,
    min_tlen,
    max_tlen,
    bos,
    query,
    answer,
    eos,
    codes,
    positions,
    answer_starts,
    table,
    shift,
    parents,
    scratch,
    place_of,
):
    """Set codes, positions and answer_starts of every row; empty offsets: the batch lacks the column.

    facts int64 [6, rows]: the metadata columns of `_FACTS`, _ABSENT where the batch lacks one. From
    `table` on all is scratch: a kernel allocates nothing. A slot of `table` (int64 [slots, 2]) is a node's
    name, and its number with the row (counted from 1) that it belongs to as a stamp.
    """
    parent_count, children, waiting = scratch[0], scratch[1], scratch[2]
    distance, order = scratch[3], scratch[4]
    for row in range(len(codes)):
        begin, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        stamp = np.int64(row + 1) << 32
        code = 0
        at = begin
        if begin == end or tokens[begin] != bos:
            code = 1
        else:
            at += 1

        # The edges, up to <query>.
        nodes = np.int64(0)
        edges = np.int64(0)
        while code == 0:
            if at < end and tokens[at] == query:
                break
            length, name = read_word(tokens, at, end, inner, last, min_tlen, max_tlen)
            if length == 0:
                code = 2
                break
            # Known and new nodes go the same way: which comes next cannot be predicted.
            slot = slot_of(table, shift, stamp, name)
            known = table[slot, 1] & STAMP == stamp
            number = table[slot, 1] & NODE if known else nodes
            parent = np.uint64(number)
            table[slot, 0] = name
            table[slot, 1] = stamp | number
            parent_count[parent] = parent_count[parent] if known else 0
            children[parent] = children[parent] + 1 if known else 1
            nodes += 0 if known else 1
            if nodes > max_nodes:
                code = 4
                break
            if children[parent] > max_in:
                code = 7
                break
            at += length
            length, name = read_word(tokens, at, end, inner, last, min_tlen, max_tlen)
            if length == 0:
                code = 3
                break
            slot = slot_of(table, shift, stamp, name)
            known = table[slot, 1] & STAMP == stamp
            number = table[slot, 1] & NODE if known else nodes
            child = np.uint64(number)
            table[slot, 0] = name
            table[slot, 1] = stamp | number
            count = np.int64(parent_count[child]) if known else 0
            children[child] = children[child] if known else 0
            nodes += 0 if known else 1
            if nodes > max_nodes:
                code = 4
                break
            if count == max_in:
                code = 6
                break
            parents[child, np.uint64(count)] = parent
            parent_count[child] = count + 1
            edges += 1
            at += length

        asked = np.uint64(0)
        if code == 0:
            at += 1
            length, name = read_word(tokens, at, end, inner, last, min_tlen, max_tlen)
            slot = slot_of(table, shift, stamp, name if length else np.int64(0))
            asked = np.uint64(table[slot, 1] & NODE)
            if length == 0:
                code = 8
            elif table[slot, 1] & STAMP != stamp or parent_count[asked] == 0:
                code = 9
            else:
                at += length

        with_parents = np.int64(0)
        ancestors = np.int64(0)
        depth = np.int64(_FAR)
        if code == 0:
            code, with_parents, ancestors, depth = _walk(
                nodes, asked, children, parents, parent_count, waiting, distance, place_of, order
            )

        # Which n it may be, and whether such a graph's query may be this one.
        fewest = max(3, nodes)
        most = min(max_nodes, (4 * with_parents + 3) // 3)  # n - with_parents <= floor((n-1)/4) + 1
        if code == 0:
            if fewest > most or (qa and most < max_nodes):
                code = 11
        below = np.int64(0)
        if code == 0 and children[asked]:
            if last_quarter:
                # The order backwards, parents first; `waiting` is 1 for the query and all below it.
                waiting[asked] = 1
                for step in range(nodes - 1, -1, -1):
                    node = order[step]
                    for place in range(parent_count[node]):
                        waiting[node] |= waiting[parents[node, place]]
                    below += waiting[node]
                below -= 1
            if not last_quarter or below >= (most + 3) // 4:
                code = 12

        # The answer, to the end; `waiting` is now where each of its nodes begins.
        if code == 0:
            if at >= end or tokens[at] != answer:
                code = 13
            else:
                at += 1
                answer_starts[row] = at - begin
        answer_at = at
        count = np.int64(0)
        while code == 0:
            if at >= end:
                code = 18
                break
            if tokens[at] == eos:
                break
            length, name = read_word(tokens, at, end, inner, last, min_tlen, max_tlen)
            if length == 0:
                code = 14
                break
            slot = slot_of(table, shift, stamp, name)
            node = np.uint64(table[slot, 1] & NODE)
            if table[slot, 1] & STAMP != stamp:
                code = 15
                break
            if distance[node] >= _FAR:
                code = 16
                break
            if place_of[node] >= 0:
                code = 17
                break
            place_of[node] = count
            order[count] = node
            waiting[count] = at - begin
            count += 1
            at += length
        if code == 0 and at + 1 < end:
            at += 1
            code = 19
        if code == 0:
            code, wrong = _judge_order(order, count, asked, ancestors, parents, parent_count, place_of)
            if code == 20 or code == 22:
                at = begin + waiting[wrong] if count else at
        if code == 0 and len(mask_offsets):
            if not _masks_answer(mask, mask_offsets[row], mask_offsets[row + 1], begin, end, answer_at):
                code = 23
        if code == 0:
            n = facts[0, row]
            if n != _ABSENT:
                if n < fewest or n > most or (qa and n != max_nodes) or below >= (n + 3) // 4:
                    code = 24
            if code == 0 and (
                (facts[1, row] != _ABSENT and facts[1, row] != edges)
                or (facts[2, row] != _ABSENT and facts[2, row] != depth)
                or (facts[3, row] != _ABSENT and facts[3, row] != count)
                or (facts[4, row] != _ABSENT and facts[4, row] != answer_at - begin)
                or (facts[5, row] != _ABSENT and facts[5, row] != at - begin)
            ):
                code = 25
        codes[row] = code
        positions[row] = min(at, end) - begin if code else 0


@inlined
def _walk(nodes, asked, children, parents, parent_count, waiting, distance, place_of, order):
    """Children before their parents: each node hands its distance from the query on to its parents.

    Returns what is wrong (10, 5 or 0), the nodes with parents, those from which the query is reached, and its
    depth. order is then a topological order, children first; place_of is -1.
    """
    with_parents, ancestors, depth = np.int64(0), np.int64(0), np.int64(_FAR)
    done = 0
    twice = False  # an edge; place_of is the last child that was seen of each parent
    for node in range(np.uint64(nodes)):
        waiting[node] = children[node]
        distance[node] = _FAR
        place_of[node] = -1
        order[np.uint64(done)] = node
        done += 1 if children[node] == 0 else 0
        with_parents += 1 if parent_count[node] else 0
    distance[asked] = 0
    step = 0
    while step < done:
        node = order[np.uint64(step)]
        step += 1
        ancestors += 1 if distance[node] < _FAR else 0
        if parent_count[node] == 0:
            depth = min(depth, distance[node])
        for place in range(parent_count[node]):
            parent = parents[node, np.uint64(place)]
            twice |= place_of[parent] == node
            place_of[parent] = node
            distance[parent] = min(distance[parent], distance[node] + 1)
            waiting[parent] -= 1
            order[np.uint64(done)] = parent
            done += 1 if waiting[parent] == 0 else 0
    for node in range(nodes):
        place_of[node] = -1
    code = 10 if done < nodes else 5 if twice else 0
    return code, with_parents, ancestors, depth


@inlined
def _judge_order(order, count, asked, ancestors, parents, parent_count, place_of):
    """What is wrong (20, 21, 22 or 0) with an answer of these nodes, and at which of them."""
    code, wrong = 0, count - 1
    if count == 0 or order[count - 1] != asked:
        code = 20
    elif count < ancestors:
        code = 21
    else:
        for step in range(count):
            node = order[step]
            for place in range(parent_count[node]):
                if place_of[parents[node, np.uint64(place)]] > step and code == 0:
                    code, wrong = 22, np.int64(step)
    return code, wrong


@inlined
def _masks_answer(mask, first, last, begin, end, answer_at):
    """Whether the mask is 1 from <ans> on and 0 before."""
    right = last - first == end - begin
    if right:
        # The places that must be 1 are; so the others are 0 where the sum is right.
        shift = first - begin
        missing, total = np.int64(0), np.int64(0)
        for place in range(np.uint64(answer_at - 1 + shift), np.uint64(end + shift)):
            missing += 1 if mask[place] != 1 else 0
        for place in range(np.uint64(first), np.uint64(last)):
            total += mask[place]
        right = missing == 0 and total == end - answer_at + 1
    return right
