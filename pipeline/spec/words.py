"""The words of a call, key=value, as Hydra and a shell read them."""

from __future__ import annotations

import re
import shlex


def key_of(word: str) -> str:
    """The key that a word sets or, with a +, adds."""
    return word.partition("=")[0].lstrip("+")


def quoted(text: str) -> str:
    """A text as a value that Hydra takes as it is."""
    inner = re.sub(r"(\\*)'", r"\1\1\\'", text)  # backslashes count only before a quote
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    return f"'{inner}'"


def word(key: str, value: str) -> str:
    """key=value as a reader can paste it, quoted where the shell or Hydra would not take it as it is."""
    if re.fullmatch(r"[A-Za-z0-9_./:+@~-]+", value):
        return f"{key}={value}"
    return shlex.quote(f"{key}={quoted(value)}")
