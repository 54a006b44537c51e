"""Mano in words, for first-time readers."""

from __future__ import annotations

ABOUT = "manipulate knowledge: the value of an expression modulo a prime, without writing steps"
COLUMNS = {
    "length": "operators in the expression",
    "answer": "its value, not the value's id",
}
