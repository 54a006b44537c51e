"""Keys of configs and settings, and the one checker of what stands below them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, check_bool, check_integer, check_path, nearest, shown

INT32_MAX = 2**31 - 1
REQUIRED: Any = object()  # the default of a key that must be given


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key: its default, what it means, and what it may be."""

    default: Any
    help: str
    kind: type = int  # int, float, bool, str, Path (a str too), or object: any plain value, checked elsewhere
    low: int | float = 0  # of a number
    high: int | float = INT32_MAX
    choices: tuple[str, ...] = ()  # of a str (empty: any)
    what: str = "a string"  # that a str must be, for messages
    optional: bool = False  # None is allowed too
    length: int | None = None  # a list of so many such values (0: of any number), given back as a tuple


def check_keys(where: str, given: Mapping[str, Any] | None, keys: Mapping[str, Key]) -> dict[str, Any]:
    """All keys with their values, in the order of `keys`; ConfigError on the first thing that is wrong.

    where: names them in messages, "depo: " of a config, "train." of a section.
    """
    title = where.rstrip(".: ")
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"{title}: must be a mapping of keys to values, not {shown(given)}")
    given = given or {}
    for name in given:
        if name not in keys:
            raise ConfigError(
                f"{title}: unknown key {shown(name)}{nearest(name, keys)}; known: {', '.join(keys)}"
            )
    return {
        name: check_value(f"{where}{name}", given.get(name, key.default), key) for name, key in keys.items()
    }


def check_value(name: str, value: Any, key: Key) -> Any:
    """A value as the key wants it; ConfigError where it is not one. name: as it stands in messages."""
    if value is REQUIRED or (value is None and key.default is REQUIRED and not key.optional):
        raise ConfigError(f"{name} is missing: {key.help}")
    if value is None and key.optional:
        return None
    if key.length is not None:
        return _check_list(name, value, key)
    if key.kind is object:
        return value
    if key.kind is bool:
        return check_bool(name, value)
    if key.kind is Path:
        return check_path(name, value)
    also = " or null" if key.optional else ""
    if key.kind is str:
        return _check_string(name, value, key, also)
    if key.kind is float:
        return _check_number(name, value, key, also)
    return check_integer(name, value, int(key.low), int(key.high), also)


def _check_list(name: str, value: Any, key: Key) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or (key.length and len(value) != key.length):
        what = f"a list of {key.length}" if key.length else "a list, e.g. [1,2]"
        raise ConfigError(f"{name}={shown(value)} must be {what}")
    one = Key(default=None, help=key.help, kind=key.kind, low=key.low, high=key.high, choices=key.choices)
    return tuple(check_value(name, member, one) for member in value)


def _check_string(name: str, value: Any, key: Key, also: str) -> str:
    if key.choices and (not isinstance(value, str) or value not in key.choices):
        known = ", ".join(key.choices)
        raise ConfigError(f"{name}={shown(value)}{nearest(value, key.choices)} must be one of {known}{also}")
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name}={shown(value)} must be {key.what}{also}")
    return value


def _check_number(name: str, value: Any, key: Key, also: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name}={shown(value)} must be a number{also}")
    if not key.low <= value <= key.high:
        upper = (
            ""
            if key.high in (INT32_MAX, math.inf)
            else " and less than 1"
            if key.high < 1
            else f" and {key.high:g} or less"
        )
        raise ConfigError(f"{name}={shown(value)} must be {key.low:g} or more{upper}{also}")
    return float(value)
