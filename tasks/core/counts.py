"""Counts as people write them: 5_000_000, 5M, 1e9, 2^30."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_DECIMAL = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?(?:[eE]\+?([0-9]{1,2}))?([kKMGBT]?)")
_POWER = re.compile(r"([0-9]{1,4})(?:\^|\*\*)([0-9]{1,3})")


def whole(value: Any) -> Any:
    """The integer that a value means as a count, exactly; anything else as it is, for a check to refuse."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str) or len(value) > 40:
        return value
    power = _POWER.fullmatch(value)
    if power:
        return int(power[1]) ** int(power[2])
    match = _DECIMAL.fullmatch(value)
    if not match:
        return value
    digits, fraction = match[1].replace("_", ""), match[2] or ""
    scale = 10 ** int(match[3] or 0) * _UNITS[match[4]]
    number, rest = divmod(int(digits + fraction) * scale, 10 ** len(fraction))
    return value if rest else number
