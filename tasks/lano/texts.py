"""Lano in words, for first-time readers."""

from __future__ import annotations

ABOUT = "find structure: sentences of a layered, ambiguous context-free grammar"
COLUMNS = {
    "length": "terminals in the sentence",
}
