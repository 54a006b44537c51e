"""How a spec asks for packed rows, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, check_integer, nearest, shown

PACK_MODES = ("left_aligned", "whole", "best_fit", "concat")
CUTTING = ("left_aligned", "concat")  # the modes that take a document longer than a row
MAX_LENGTH = 1 << 24


def check_pack(given: Any, where: str) -> dict[str, Any] | None:
    """The complete `pack` of a spec, {"length", "mode"}, or None where nothing is packed.

    ConfigError, which begins with `where`, says in one line what is wrong with it.
    """
    if given is None:
        return None
    where = f"{where}: pack"
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{where}={shown(given)} must be null or a mapping, e.g. {{length: 2048, mode: best_fit}}"
        )
    known = ("length", "mode")
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {shown(key)}{nearest(key, known)}; known: {', '.join(known)}"
            )
    if given.get("length") is None:
        raise ConfigError(f"{where}: length is missing: how many tokens a row has at most, e.g. 2048")
    length = check_integer(f"{where}: length", given["length"], 2, MAX_LENGTH)
    mode = given.get("mode", "left_aligned")
    if not isinstance(mode, str) or mode not in PACK_MODES:
        raise ConfigError(
            f"{where}: mode={shown(mode)}{nearest(mode, PACK_MODES)} must be one of {', '.join(PACK_MODES)}"
        )
    return {"length": length, "mode": mode}


def check_fits(mode: str, length: int, longest: int, where: str) -> None:
    """ConfigError where `mode` cuts no document and one of `longest` tokens would not fit a row."""
    if mode not in CUTTING and longest > length:
        raise ConfigError(
            f"{where}: pack: an example can have {longest:,} tokens, which no row of length={length} holds, "
            f"and mode={mode} cuts none; set length to {longest} or more, or mode to {' or '.join(CUTTING)}"
        )
