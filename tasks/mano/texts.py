"""Mano in words, for whoever meets a corpus of it first."""

from __future__ import annotations

ABOUT = "manipulate knowledge: the value of an expression modulo a prime, without writing steps"
COLUMNS = {
    "length": "operators in the expression",
    "answer": "its value, not the value's id",
}
