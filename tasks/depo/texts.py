"""Depo in words, for first-time readers."""

from __future__ import annotations

ABOUT = "reason deeply: which word comes k steps later on a directed cycle of n words?"
COLUMNS = {
    "n": "words in the cycle",
    "query_hops": "steps that each question asks for",
    "answer_starts": "first token of each answer, after <ans>",
    "answer_ends": "one past its last token",
}
