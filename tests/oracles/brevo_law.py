"""The exact law of Brevo's graphs and answers for small n, by going through all of them.

Written from the definition alone; fractions, no floats. A graph is a tuple of frozensets: the parents of
the nodes 0..n-1, which come in this order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

Graph = tuple[frozenset[int], ...]


def graphs(n: int, max_in: int) -> Iterator[tuple[Graph, Fraction]]:
    """Every graph of n nodes with its probability; a graph comes once for each number of leaves."""
    most = (n - 1) // 4 + 1
    for leaves in range(1, most + 1):
        first: Graph = (frozenset(),) * leaves
        yield from _grown(first, n, max_in, Fraction(1, most))


def _grown(graph: Graph, n: int, max_in: int, chance: Fraction) -> Iterator[tuple[Graph, Fraction]]:
    if len(graph) == n:
        yield graph, chance
        return
    room = [node for node in range(len(graph)) if sum(node in parents for parents in graph) < max_in]
    assert room, "a node without parents is not a leaf"
    most = min(max_in, len(room))
    for count in range(1, most + 1):
        choices = list(itertools.combinations(room, count))
        for parents in choices:
            yield from _grown((*graph, frozenset(parents)), n, max_in, chance / most / len(choices))


def queries(n: int, kind: str) -> list[int]:
    """The nodes that may be asked for, each as likely."""
    return [n - 1] if kind == "last" else list(range(n - -(-n // 4), n))


def ancestors(graph: Graph, query: int) -> frozenset[int]:
    """The nodes from which the query is reached, itself too."""
    found = {query}
    for node in range(query, -1, -1):
        if node in found:
            found |= graph[node]
    return frozenset(found)


def answers(graph: Graph, query: int) -> dict[tuple[int, ...], Fraction]:
    """Every answer with its probability: from the query back, each ready node as likely as the others."""
    everything = ancestors(graph, query)
    law: dict[tuple[int, ...], Fraction] = {}

    def go_on(placed: tuple[int, ...], chance: Fraction) -> None:
        if len(placed) == len(everything):
            law[placed] = law.get(placed, Fraction(0)) + chance
            return
        ready = [
            node
            for node in everything - set(placed)
            if all(child in placed for child in everything if node in graph[child])
        ]
        for node in ready:
            go_on((node, *placed), chance / len(ready))

    go_on((), Fraction(1))
    return law
