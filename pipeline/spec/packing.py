"""How a spec asks for packed rows, checked at the door."""

from __future__ import annotations

from typing import Any

from ...tasks.errors import ConfigError
from ...tasks.keys import REQUIRED, Key, check_keys

PACK_MODES = ("left_aligned", "whole", "best_fit", "concat")
CUTTING = ("left_aligned", "concat")  # the modes that take a document longer than a row
MAX_LENGTH = 1 << 24


_KEYS = {
    "length": Key(
        default=REQUIRED, low=2, high=MAX_LENGTH, help="how many tokens a row has at most, e.g. 2048"
    ),
    "mode": Key(default="left_aligned", kind=str, choices=PACK_MODES, help="how documents share rows"),
}


def check_pack(given: Any, where: str) -> dict[str, Any] | None:
    """The complete `pack` of a spec, {"length", "mode"}, or None where nothing is packed.

    ConfigError, which begins with `where`, says in one line what is wrong with it.
    """
    return None if given is None else check_keys(f"{where}: pack: ", given, _KEYS)


def check_fits(mode: str, length: int, longest: int, where: str) -> None:
    """ConfigError where `mode` cuts no document and one of `longest` tokens would not fit a row."""
    if mode not in CUTTING and longest > length:
        raise ConfigError(
            f"{where}: pack: an example can have {longest:,} tokens, which no row of length={length} holds, "
            f"and mode={mode} cuts none; set length to {longest} or more, or mode to {' or '.join(CUTTING)}"
        )
