"""Paths of this machine, made whole where they come in: later the process may stand in another folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigError, OstracaError

_LOCAL = ("file://", "local://")


def is_local(where: str | os.PathLike[str]) -> bool:
    """Whether this is a path, or a URL of one (file://), and not a place in a store."""
    return not isinstance(where, str) or "://" not in where or where.startswith(_LOCAL)


def local_path(where: str | os.PathLike[str]) -> Path:
    """The absolute path that is meant, `~` expanded; ConfigError where it is the URL of a store."""
    if not is_local(where):
        raise ConfigError(f"{where}: must be a path on this machine; a store's URL cannot be used here")
    text = os.fspath(where)
    if text.startswith(_LOCAL):
        text = text.partition("://")[2]
    try:
        # Not `resolve`: what is said of a path should be in the user's words, links and all.
        return Path(os.path.expanduser(text)).absolute()
    except FileNotFoundError:  # of the current folder
        raise OstracaError(
            f"{text}: the current folder is gone; change to another, or give an absolute path"
        ) from None


def local_or_name(given: str) -> str:
    """The absolute path where there is such a file or folder; else what is given, a name on a hub."""
    return str(local_path(given)) if is_local(given) and local_path(given).exists() else given
