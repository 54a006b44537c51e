"""Brevo's kernels: the streams' beginnings, the nodes' names, the graphs and their answers.

The draws of an example, in their order: n (but for qa), the number of leaves, the node asked for (where it
is not the last), the names, then for each later node how many parents it has, and for each parent its place
among the nodes that have room and the new edge's place in the list; last, the answer from the query back.
"""

from __future__ import annotations

import numpy as np

from ..core.kernels import kernel
from ..core.rng import integers, seed_stream
from ..core.sizes import draw_size
from ..core.words import draw_distinct_words, put_word

_CHILD = 0xFFFFFFFF  # of an edge, parent << 32 | child
_ONE = np.uint64(1)


@kernel
def begin(key, indices, thresholds, last_quarter, states, sizes, leaves, asked):
    """Begin the stream of each example: n (where sizes has a 0), the leaves, the node asked for.

    states uint64 [rows, STATE_WORDS], sizes, leaves and asked int32 [rows]. The other kernels go on with
    the streams as these have left them, one after another.
    """
    for row in range(len(indices)):
        state = states[row]
        seed_stream(state, key, indices[row], 0)
        if sizes[row] == 0:
            sizes[row] = draw_size(state, thresholds)
        n = np.int64(sizes[row])
        leaves[row] = 1 + integers(state, (n - 1) // 4 + 1)
        asked[row] = n - 1
        if last_quarter:
            asked[row] -= integers(state, (n + 3) // 4)


@kernel
def name_by_ids(states, firsts, pool, words):
    """Distinct ids out of 1..N for each example's nodes, to words int32 [firsts[-1], 1]; pool int32 [N]."""
    for row in range(len(states)):
        state = states[row]
        for place in range(len(pool)):
            pool[place] = place + 1
        first = firsts[row]
        for node in range(firsts[row + 1] - first):
            chosen = node + integers(state, len(pool) - node)
            words[first + node, 0] = pool[chosen]
            pool[chosen] = pool[node]


@kernel
def name_by_words(states, firsts, mini_vocab, min_tlen, first_numbers, words, lengths, seen, seen_in):
    """Distinct words for each example's nodes, to words int32 [firsts[-1], max_tlen] and lengths."""
    for row in range(len(states)):
        first, after = firsts[row], firsts[row + 1]
        draw_distinct_words(
            states[row],
            after - first,
            mini_vocab,
            min_tlen,
            first_numbers,
            words[first:after],
            lengths[first:after],
            seen,
            seen_in,
            row + 1,
        )


@kernel
def write(
    states,
    firsts,
    leaves,
    asked,
    words,
    lengths,
    max_in,
    bos,
    query,
    answer,
    eos,
    tokens,
    mask,
    offsets,
    facts,
    parents,
    scratch,
    edges,
):
    """Draw the graphs and the answers and write all examples one after another.

    The nodes of row r are firsts[r]..firsts[r + 1]-1 of words and lengths; its draws come in the order of
    the code. facts int32 [5, rows]: edges, depth, answer_length, answer_start, answer_end. From `parents`
    on all is scratch: a kernel allocates nothing. Nodes are numbered 0..n-1 so that parents come first.
    """
    parent_count, children, needed = scratch[0], scratch[1], scratch[2]
    depth, free, order = scratch[3], scratch[4], scratch[5]
    at = np.int64(0)
    for row in range(len(states)):
        state = states[row]
        first = firsts[row]
        n = firsts[row + 1] - first

        # The graph. free[:room] are the nodes that have room for a child.
        room = np.int64(leaves[row])
        for node in range(room):
            free[node] = node
            parent_count[node] = 0
            children[node] = 0
            needed[node] = 0
            depth[node] = 0
        edge_count = np.int64(0)
        for node in range(leaves[row], n):
            count = 1 + integers(state, min(room, max_in))
            nearest = n
            for drawn in range(count):
                chosen = np.uint64(integers(state, room))
                room -= 1
                parent = free[chosen]
                free[chosen] = free[np.uint64(room)]
                parents[node, drawn] = parent
                nearest = min(nearest, depth[parent])
                # Each edge goes to a random place among those before it: the list is always shuffled.
                among = np.uint64(integers(state, edge_count + 1))
                edges[np.uint64(edge_count)] = edges[among]
                edges[among] = np.int64(parent) << 32 | node
                edge_count += 1
            for drawn in range(count):
                parent = parents[node, drawn]
                children[parent] += 1
                free[np.uint64(room)] = parent
                room += 1 if children[parent] < max_in else 0
            free[room] = node
            room += 1
            parent_count[node] = count
            children[node] = 0
            needed[node] = 0
            depth[node] = nearest + 1

        # The ancestors; needed[node] counts the children that must stand after it (of the query: 1).
        needed[asked[row]] = 1
        length = np.int64(0)
        for node in range(asked[row], -1, -1):
            if needed[node]:
                length += 1
                for drawn in range(parent_count[node]):
                    needed[parents[node, drawn]] += 1

        # From the query backwards: free[:room] are the nodes whose children all stand already.
        free[0] = asked[row]
        room = np.int64(1)
        for place in range(length - 1, -1, -1):
            chosen = np.uint64(integers(state, room))
            room -= 1
            node = free[chosen]
            free[chosen] = free[np.uint64(room)]
            order[place] = node
            for drawn in range(parent_count[node]):
                parent = parents[node, drawn]
                needed[parent] -= 1
                free[np.uint64(room)] = parent
                room += 1 if needed[parent] == 0 else 0

        tokens[at] = bos
        at += 1
        if words.shape[1] == 1:
            for edge in range(edge_count):
                spot = np.uint64(at)
                tokens[spot] = words[np.uint64(first + (edges[edge] >> 32)), 0]
                tokens[spot + _ONE] = words[np.uint64(first + (edges[edge] & _CHILD)), 0]
                at += 2
        else:
            for edge in range(edge_count):
                at = put_word(tokens, at, words, lengths, first + (edges[edge] >> 32))
                at = put_word(tokens, at, words, lengths, first + (edges[edge] & _CHILD))
        tokens[at] = query
        at = put_word(tokens, at + 1, words, lengths, first + asked[row])
        tokens[at] = answer
        mask[at] = 1
        at += 1
        start = at
        for place in range(length):
            at = put_word(tokens, at, words, lengths, first + order[place])
        tokens[at] = eos
        for place in range(start, at + 1):
            mask[place] = 1
        facts[0, row] = edge_count
        facts[1, row] = depth[asked[row]]
        facts[2, row] = length
        facts[3, row] = start - offsets[row]
        facts[4, row] = at - offsets[row]
        at += 1
        offsets[row + 1] = at
