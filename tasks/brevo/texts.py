"""Brevo in words, for first-time readers."""

from __future__ import annotations

ABOUT = "reason broadly: all nodes that lead to this one, in topological order"
COLUMNS = {
    "n": "nodes of the graph",
    "edges": "its edges",
    "depth": "edges on the shortest way from the query to a leaf",
    "answer_length": "nodes in the answer, the query too",
    "answer_start": "first token of the answer, after <ans>",
    "answer_end": "one past its last token: where <eos> stands",
}
