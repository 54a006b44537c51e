"""A slow judge of Brevo examples, written from the definition of the task and from nothing else.

    <bos> (parent child)*edges <query> q <ans> a a ... q <eos>

Every token becomes a letter, a regular expression checks the layout, sets and dictionaries are the graph.
An example is one that the task can make: some n and some order in which its nodes come, leaves first, fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Node = tuple[int, ...]


def judge(config: Mapping[str, Any], tokens: Sequence[int], **metadata: Any) -> bool:
    """Whether the tokens are an example of this config, and the metadata (if given) is theirs."""
    parts = parse(config, tokens)
    if parts is None:
        return False
    edges, query, answer = parts
    sizes = possible_sizes(config, edges, query)
    if not sizes or not is_answer(edges, query, answer):
        return False
    start = len(tokens) - 1 - sum(map(len, answer))
    mask = [0] * (start - 1) + [1] * (len(tokens) - start + 1)
    true_metadata = {
        "loss_mask": mask,
        "edges": len(edges),
        "depth": depth_of(edges, query),
        "answer_length": len(answer),
        "answer_start": start,
        "answer_end": len(tokens) - 1,
        "labels": [token if kept else -100 for token, kept in zip(tokens, mask, strict=True)],
    }
    if metadata.get("n", sizes[0]) not in sizes:
        return False
    return all(true_metadata[name] == given for name, given in metadata.items() if name not in ("index", "n"))


def parse(
    config: Mapping[str, Any], tokens: Sequence[int]
) -> tuple[list[tuple[Node, Node]], Node, list[Node]] | None:
    """The edges, the query and the answer's nodes; None where the layout is another one."""
    letters = "".join(_letter(config, token) for token in tokens)
    word = "e"
    if config["multi"]:
        word = f"d{{{config['min_tlen'] - 1},{config['max_tlen'] - 1}}}e"
    ending = "A" if config["eos_token_id"] == config["answer_token_id"] else "E"
    if not re.fullmatch(f"B(?:{word}{word})+Q{word}A(?:{word})+{ending}", letters):
        return None
    words = [(found.start(), tuple(tokens[slice(*found.span())])) for found in re.finditer("d*e", letters)]
    asked_at = letters.index("Q")
    listed = [name for at, name in words if at < asked_at]
    query, *answer = [name for at, name in words if at > asked_at]
    return list(zip(listed[::2], listed[1::2], strict=True)), query, answer


def possible_sizes(config: Mapping[str, Any], edges: list[tuple[Node, Node]], query: Node) -> list[int]:
    """Every n for which the task can make these edges and ask for this node."""
    nodes = {node for edge in edges for node in edge}
    if len(set(edges)) < len(edges):
        return []
    for node in nodes:
        degrees = sum(a == node for a, _ in edges), sum(b == node for _, b in edges)
        if max(degrees) > config["max_in"]:
            return []
    # Every node in turn without a parent that is left: none may remain.
    left, going = set(nodes), True
    while going:
        gone = {node for node in left if not any(b == node and a in left for a, b in edges)}
        left -= gone
        going = bool(gone)
    with_parents = {b for _, b in edges}
    if left or query not in with_parents:
        return []
    after = reached(edges, query) - {query}
    sizes = [config["N"]] if config["qa"] else range(3, config["N"] + 1)
    found = []
    for n in sizes:
        leaves = n - len(with_parents)
        last = 1 if config["query"] == "last" else -(-n // 4)
        # Only what is reached from the query must come after it; the rest can all come before.
        if n >= len(nodes) and 1 <= leaves <= (n - 1) // 4 + 1 and len(after) < last:
            found.append(n)
    return found


def is_answer(edges: list[tuple[Node, Node]], query: Node, answer: list[Node]) -> bool:
    """Exactly the nodes from which the query is reached, each once, parents first."""
    backwards = [(b, a) for a, b in edges]
    if len(set(answer)) < len(answer) or set(answer) != reached(backwards, query):
        return False
    inner = [(a, b) for a, b in edges if b in answer]
    return all(answer.index(a) < answer.index(b) for a, b in inner)


def reached(edges: list[tuple[Node, Node]], start: Node) -> set[Node]:
    """All nodes to which a way leads from `start`, itself too."""
    found, edge_of_it = {start}, {start}
    while edge_of_it:
        edge_of_it = {b for a, b in edges if a in edge_of_it} - found
        found |= edge_of_it
    return found


def depth_of(edges: list[tuple[Node, Node]], query: Node) -> int:
    """The fewest edges from a node without parents to the query."""
    level, depth = {query}, 0
    with_parents = {b for _, b in edges}
    while level <= with_parents:
        level = {a for a, b in edges if b in level}
        depth += 1
    return depth


def _letter(config: Mapping[str, Any], token: int) -> str:
    if token == config["bos_token_id"]:
        return "B"
    if token == config["query_token_id"]:
        return "Q"
    if token == config["answer_token_id"]:
        return "A"
    if token == config["eos_token_id"]:
        return "E"
    if not config["multi"]:
        return "e" if 1 <= token <= config["N"] else "?"
    if 1 <= token <= config["mini_vocab"]:
        return "d"
    return "e" if config["mini_vocab"] < token <= 2 * config["mini_vocab"] else "?"
