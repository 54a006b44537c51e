"""A key=value as a reader can paste it into a shell."""

from __future__ import annotations

import re
import shlex


def word(key: str, value: str) -> str:
    """key=value, quoted where the shell or Hydra would take it for something else."""
    if re.fullmatch(r"[A-Za-z0-9_./:+@~-]+", value):
        return f"{key}={value}"
    inner = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count only before a quote
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    return shlex.quote(f"{key}='{inner}'")
