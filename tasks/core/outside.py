"""What comes from outside: only regular files are opened, and JSON is one plain object or it is told."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from ..errors import OstracaError, shown


class NotRegularError(OstracaError):
    """Something else than a file bears a file's name."""


def open_regular(path: Path | str) -> BufferedReader:
    """A regular file to read, or what a link leads to; OSError, or NotRegularError.

    Nothing else is ever read: not a pipe, which would wait forever, nor a device, which has no end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_regular(path) from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise _not_regular(path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _not_regular(path: Path | str) -> NotRegularError:
    return NotRegularError(
        f"{path}: is not a regular file but a pipe, a socket or a device; put the file there"
    )


def parse_json(name: str, data: bytes | str, *, each_once: bool = True) -> dict[str, Any]:
    """The JSON object that a file holds; OstracaError, which begins with `name`, where it holds none.

    Refused as well: numbers that are none (NaN, Infinity, 1e999), half a character (a lone surrogate, which
    no file can hold), and with `each_once` a key that is there twice, of which readers take either value.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        parsed = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unlike if each_once else None,
        )
        if "\\ud" in text or "\\uD" in text:
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise OstracaError(f"{name} is not readable JSON: {_reason(error)}") from None
    if not isinstance(parsed, dict):
        raise OstracaError(f"{name} is not a JSON object")
    return parsed


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, UnicodeEncodeError):
        return "a string in it has half a character"
    if isinstance(error, json.JSONDecodeError | _RefusedError):
        return " ".join(str(error).split())
    return "a number in it has thousands of digits"  # Python's own limit


class _RefusedError(ValueError):
    """What `json` would take."""


def _refuse_constant(name: str) -> None:
    raise _RefusedError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _RefusedError(f"{shown(digits)} is not a finite number")
    return number


def _unlike(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RefusedError(f"the key {shown(twice)} is there twice")
    return unique
