"""Errors for the user, and how values and near misses are shown in them. Imports nothing heavy."""

from __future__ import annotations

import difflib
import os.path
from collections.abc import Iterable, Sequence


class OstracaError(Exception):
    """Something the user can mend: one line that says what is wrong, what is allowed, what to do.

    What cannot be printed in a line (line breaks, control characters and surrogates of a user's own names) is
    escaped, so that no name can break a message or steer a terminal.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        if not text.isprintable():
            text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
        super().__init__(text)


class ConfigError(OstracaError):
    """A config or a spec that cannot be used."""


class OtherVersionWarning(UserWarning):
    """A corpus was made by other versions of its tasks than those here."""


class CorruptWarning(UserWarning):
    """A part of a corpus was left out, as was asked for, since it cannot be read."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line, for our own message; its kind where it says nothing."""
    lines = str(error).strip().splitlines() or [""]
    return " ".join(lines[0].split()) or type(error).__name__


def kind_and_text(error: BaseException) -> str:
    """An error of the user's own code in one line: its kind and all that it says."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def shown(value: object) -> str:
    """A value in a message: one line, not too long, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to print integers of thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: object, known: Iterable[str]) -> str:
    """' (did you mean X?)' where some known name is close to `name`, else nothing."""
    names = list(known)
    folded = {candidate.lower(): candidate for candidate in names}
    if str(name).lower() in folded:
        return f" (did you mean {folded[str(name).lower()]!r}?)"
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_integer(name: str, value: object, low: int, high: int = 2**63 - 1, also: str = "") -> int:
    """`value` as an int; ConfigError where it is not an integer (NumPy's too) from `low` to `high`.

    `also`: what else is allowed, for the message.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = int(value.__index__())  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        number = None
    if number is None or not low <= number <= high:
        unbounded = high == 2**63 - 1 and not (number is not None and number > high)
        allowed = f"an integer, {low} or more" if unbounded else f"an integer from {low} to {high}"
        raise ConfigError(f"{name}={shown(value)} must be {allowed}{also}")
    return number


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """`value`; ConfigError where it is not one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(
            f"{name}={shown(value)}{nearest(value, allowed)} must be one of {', '.join(allowed)}"
        )
    return value


def check_bool(name: str, value: object) -> bool:
    """`value` as a bool; ConfigError where it is not one (NumPy's is one)."""
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise ConfigError(f"{name}={shown(value)} must be true or false")


def check_path(name: str, value: object) -> str:
    """`value` as a path, `~` expanded; ConfigError where it is not one."""
    if isinstance(value, (str, int, os.PathLike)) and not isinstance(value, bool) and str(value).strip():
        return os.path.expanduser(str(value))
    raise ConfigError(f"{name}={shown(value)} must be the path of a folder or file")
