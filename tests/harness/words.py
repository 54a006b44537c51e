"""Calls of commands, put together."""

from __future__ import annotations


def over(*words: str) -> list[str]:
    """The words of a call; of two for one key the later one (a call itself may not have both)."""
    return list({word.partition("=")[0]: word for word in words}.values())
