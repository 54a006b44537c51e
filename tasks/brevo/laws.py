"""Exact laws of Brevo's graphs: how many edges and parents there are, and of the smallest graphs all else.

How many parents a node may have goes by how many nodes have room for a child. Of M = max_in places each
brings, a node takes at most as many as it brings, so free places never get fewer; once there are more than
M (M - 1) of them, at least M nodes have room for good. Until then a Markov chain is followed over how many
nodes have 0, 1, ... children.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, product
from math import comb

import numpy as np
from numpy.typing import NDArray

_MOST_IN = 5
_MOST_EDGES = 1 << 22  # numbers in the tables of a chain
_TINY = 1e-18
LISTED = 6  # nodes of the graphs that are listed one by one

_State = tuple[int, ...]  # nodes with 0, 1, ..., max_in - 1 children; () is "room for good"


def can_follow(most: int, max_in: int) -> bool:
    """Whether the laws of graphs of up to `most` nodes are worked out in some seconds."""
    return max_in <= _MOST_IN and most * most * max_in <= _MOST_EDGES


@lru_cache(maxsize=8)
def graph_laws(most: int, max_in: int, last_quarter: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of n = 0..most nodes: P(edges) and P(parents of the node asked for).

    float64 [most + 1, most * max_in + 1] and [most + 1, max_in + 1]; NaN below 3 nodes.
    """
    edges = np.zeros((most + 1, most * max_in + 1))
    counts = np.zeros((most + 1, max_in + 1))
    for leaves in range(1, _most_leaves(most) + 1):
        by_nodes, parents = _chain(leaves, most, max_in)
        for n in range(max(3, leaves + 1), most + 1):
            if leaves <= _most_leaves(n):
                asked = slice(n - -(-n // 4), n) if last_quarter else slice(n - 1, n)
                edges[n] += by_nodes[n] / _most_leaves(n)
                counts[n] += parents[asked].mean(0) / _most_leaves(n)
    edges[:3], counts[:3] = np.nan, np.nan
    return edges, counts


def _most_leaves(n: int) -> int:
    return (n - 1) // 4 + 1


def _chain(leaves: int, most: int, max_in: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From `leaves` nodes on: P(edges) once there are n nodes, P(parents) of node 0, 1, ..."""
    edges = np.zeros((most + 1, most * max_in + 1))
    parents = np.zeros((most, max_in + 1))
    start = np.zeros(most * max_in + 1)
    start[0] = 1.0
    states: dict[_State, NDArray[np.float64]] = {_settled((leaves, *[0] * (max_in - 1)), max_in): start}
    for node in range(leaves, most):
        after: dict[_State, NDArray[np.float64]] = {}
        for state, chances in states.items():
            if chances.sum() < _TINY:
                continue
            room = min(max_in, sum(state)) if state else max_in
            for count in range(1, room + 1):
                moved = np.zeros_like(chances)
                moved[count:] = chances[:-count] / room
                parents[node, count] += chances.sum() / room
                for target, share in _steps(state, count, max_in):
                    after[target] = after.get(target, 0.0) + moved * share
        states = after
        edges[node + 1] = np.sum(list(states.values()), axis=0)
    return edges, parents


def _settled(state: _State, max_in: int) -> _State:
    free = sum((max_in - children) * nodes for children, nodes in enumerate(state))
    return () if free > max_in * (max_in - 1) else state


@lru_cache(maxsize=4096)
def _steps(state: _State, count: int, max_in: int) -> list[tuple[_State, float]]:
    """The states after a node with `count` parents, drawn without replacement from those with room."""
    if not state:
        return [((), 1.0)]
    sums = []
    for taken in product(*(range(min(nodes, count) + 1) for nodes in state)):
        if sum(taken) != count:
            continue
        ways = float(np.prod([comb(nodes, chosen) for nodes, chosen in zip(state, taken, strict=True)]))
        left = [nodes - chosen for nodes, chosen in zip(state, taken, strict=True)]
        for children, chosen in enumerate(taken[:-1]):
            left[children + 1] += chosen
        left[0] += 1
        sums.append((_settled(tuple(left), max_in), ways / comb(sum(state), count)))
    return sums


# ---- the smallest graphs, one by one


@lru_cache(maxsize=8)
def listed_laws(
    max_in: int, last_quarter: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of n = 0..LISTED nodes: P(nodes in the answer), P(depth of the node asked for), P(nodes in edges).

    float64 [LISTED + 1, LISTED + 1] each; NaN below 3 nodes.
    """
    length, depth, shown = (np.full((LISTED + 1,) * 2, np.nan) for _ in range(3))
    for n in range(3, LISTED + 1):
        length[n] = depth[n] = shown[n] = 0.0
        asked = range(n - -(-n // 4), n) if last_quarter else range(n - 1, n)
        for graph, chance in _graphs(n, max_in):
            distance: list[int] = []
            for parents in graph:
                distance.append(min((1 + distance[one] for one in parents), default=0))
            linked = {one for parents in graph for one in parents}
            shown[n, len(linked.union(node for node in range(n) if graph[node]))] += chance
            for query in asked:
                held = {query}
                for node in range(query, -1, -1):
                    if node in held:
                        held.update(graph[node])
                length[n, len(held)] += chance / len(asked)
                depth[n, distance[query]] += chance / len(asked)
    return length, depth, shown


def _graphs(n: int, max_in: int) -> Iterator[tuple[tuple[tuple[int, ...], ...], float]]:
    """Every graph of n nodes, as the parents of each, with its probability."""

    def grown(
        graph: tuple[tuple[int, ...], ...], chance: float
    ) -> Iterator[tuple[tuple[tuple[int, ...], ...], float]]:
        if len(graph) == n:
            yield graph, chance
            return
        children = [sum(one in parents for parents in graph) for one in range(len(graph))]
        free = [one for one, count in enumerate(children) if count < max_in]
        most = min(max_in, len(free))
        for count in range(1, most + 1):
            share = chance / most / comb(len(free), count)
            for parents in combinations(free, count):
                yield from grown((*graph, parents), share)

    for leaves in range(1, _most_leaves(n) + 1):
        yield from grown(((),) * leaves, 1.0 / _most_leaves(n))
