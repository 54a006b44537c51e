"""Why Ray cannot be used, in one line that names what is at fault: a path, a token, or the cluster."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SOCKET = re.compile(r"path length cannot exceed (\d+) bytes: (\S+)")
_TOKEN = re.compile(r"AuthToken|AuthenticationError|authentication token")
_PID_DIGITS = 2  # by which the number of the next process may be longer, which is in the path of a socket


def why_not(error: BaseException, address: str | None) -> str:
    """What went wrong with `ray.init`, and what to do. address: of a cluster; None: a Ray of our own."""
    told = "\n".join(str(cause) for cause in _causes(error))
    socket = _SOCKET.search(told)
    if socket is not None:
        return _too_long(int(socket[1]), socket[2])
    where = f"ray.address={address}" if address else "a local Ray"
    if _TOKEN.search(told):
        return (
            f"{where}: Ray asks for an authentication token, and it is missing or wrong; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's (or RAY_AUTH_TOKEN_PATH, or put it into "
            "~/.ray/auth_token), or use engine=local"
        )
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if address:
        return f"{where} cannot be used: {reason}; check that the cluster runs, or use engine=local"
    name, folder = _temporary()
    return (
        f"{where} cannot be used: {reason}; it needs room in {folder} ({name}), set RAY_TMPDIR to another "
        "folder, or use engine=local"
    )


def _too_long(most: int, path: str) -> str:
    name, folder = _temporary()
    rest = len(os.fsencode(path)) - len(os.fsencode(folder))
    return (
        f"{name}={folder}: is too long a path for Ray's sockets, which may have {most} bytes with the "
        f"{rest} that Ray adds; set RAY_TMPDIR to a folder of {most - rest - _PID_DIGITS} bytes or fewer, "
        "e.g. RAY_TMPDIR=/tmp, or use engine=local"
    )


def _temporary() -> tuple[str, str]:
    """Where Ray has its temporary files, and the variable that says so."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        if os.environ.get(name):
            return name, os.environ[name]
    return "RAY_TMPDIR", "/tmp"


def refused_token(ray: Any, address: str) -> BaseException | None:
    """What a cluster says to our token, or to our having none; None where it takes us or `ray.init` tells.

    That asks again and again for 20 seconds. Releases of Ray without tokens have none of these names.
    """
    refusal = getattr(ray.exceptions, "AuthenticationError", None)
    if refusal is None:
        return None
    try:
        loader = ray._raylet.AuthenticationTokenLoader.instance()
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token" or loader.has_token():
            ray._raylet.GcsClient(address=address)
    except Exception as error:
        return error if isinstance(error, refusal) else None
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def give_token() -> None:
    """A token in the environment for a Ray of our own, where the home folder takes no file for one.

    Ray would make it at ~/.ray/auth_token. What our environment holds, only our own processes can read.
    """
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    try:
        folder = Path.home() / ".ray"
        folder.mkdir(exist_ok=True)
        if (folder / "auth_token").is_file() or os.access(folder, os.W_OK):
            return
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where our home is
        pass
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
