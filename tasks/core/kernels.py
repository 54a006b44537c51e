"""The `@kernel` decorator: Numba's `njit` with a cache that can be trusted.

Numba's own on-disk cache looks only at the file a function stands in. A kernel that inlines the random
stream of another file would go on running the old stream after that file changed: silently other
examples. So the cache folder carries a digest of every file that holds a kernel, and of Numba's version; and
where it cannot be written, kernels go to a temporary folder or are not kept, never beside the source, as
Numba would have it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from .temporary import folder_of_process

_ROOT = Path(__file__).resolve().parents[2]
_KERNEL_PACKAGES = ("tasks", "pipeline", "loaders")


def _digest() -> str:
    """Of every file that holds a kernel, and of which Numba: two of them would write over each other's."""
    digest = hashlib.blake2b(f"{numba.__version__}:".encode(), digest_size=8)
    for package in _KERNEL_PACKAGES:
        for source in sorted((_ROOT / package).rglob("*.py")):
            text = source.read_bytes()
            if b"@kernel" in text or b"@inlined" in text:
                digest.update(f"{source.relative_to(_ROOT)}:{len(text)}:".encode() + text)
    return digest.hexdigest()


def _cache_folder(digest: str) -> str | None:
    """A folder of our own for compiled kernels; a temporary one where none can be kept; None: nowhere.

    What lies in it is run: nobody else may write there.
    """
    try:
        base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache"), "ostraca", "kernels"
        )
        folder = os.path.join(os.path.abspath(base), digest)
        _make_own(folder)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows where our home is
        reason = getattr(error, "strerror", None) or str(error)
    try:
        base = folder_of_process("ostraca-kernels-")
        folder = os.path.join(base, digest)
        _make_own(folder)
    except OSError:
        _tell(f"compiled kernels cannot be kept ({reason}), nor in TMPDIR: each process compiles its own")
        return None
    os.environ["NUMBA_CACHE_DIR"] = base  # for the processes that this one starts
    _tell(f"compiled kernels cannot be kept ({reason}): they go to {base} and are removed at the end")
    return folder


def _make_own(folder: str) -> None:
    """Make a folder that only we can write to, or see that it is one; OSError where it is not."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.stat(folder)
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise OSError(errno.EPERM, f"{folder} can be written by others")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")


def _tell(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be closed, or None
        sys.stderr.write(f"ostraca: {line}\n")


CACHE_FOLDER = _cache_folder(_digest())


def inlined(function: Callable[..., Any]) -> Any:
    """A helper that is copied into every `@kernel` that calls it.

    Numba does not inline across functions by itself, and a call that hands over an array costs about
    5 ns, several times what a draw or a table look-up does.
    """
    if numba.config.DISABLE_JIT:
        return function
    return numba.njit(inline="always", _nrt=False)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` at its first call: no GIL, IEEE arithmetic (no fastmath), cached on disk.

    With `NUMBA_DISABLE_JIT=1` the plain Python function runs and is its own reference; it then wraps
    around on overflow as the compiled one does.
    """
    if numba.config.DISABLE_JIT:

        @functools.wraps(function)
        def reference(*arguments: Any) -> Any:
            with np.errstate(over="ignore"):
                return function(*arguments)

        return reference
    if CACHE_FOLDER is None:
        return numba.njit(nogil=True, _nrt=False)(function)
    # Numba reads the folder when it decorates; other users of Numba in this process keep theirs.
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_FOLDER
    try:
        compiled = numba.njit(nogil=True, cache=True, _nrt=False)(function)
    except RuntimeError:  # the folder was made unwritable since
        return numba.njit(nogil=True, _nrt=False)(function)
    finally:
        numba.config.CACHE_DIR = previous
    if not compiled._cache.cache_path.startswith(CACHE_FOLDER):  # Numba would keep it beside the source
        return numba.njit(nogil=True, _nrt=False)(function)
    save = compiled._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError as error:
            _tell_once(
                f"compiled kernels cannot be kept in {CACHE_FOLDER} ({error.strerror or error}), so each "
                "process compiles its own; make room there, or set NUMBA_CACHE_DIR to another folder"
            )

    compiled._cache.save_overload = save_if_possible
    return compiled


@functools.cache
def _tell_once(line: str) -> None:
    _tell(line)
