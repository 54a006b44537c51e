"""The `@kernel` decorator: Numba's `njit` with a cache that can be trusted.

Numba's own on-disk cache looks only at the file a function stands in. A kernel that inlines the random
stream of another file would go on running the old stream after that file changed: silently other
examples. So the cache folder carries a digest of every file that holds a kernel.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
_KERNEL_PACKAGES = ("tasks", "pipeline", "loaders")


def _cache_folder() -> str:
    base = os.environ.get("NUMBA_CACHE_DIR")
    if base is None:
        cache_home = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
        base = os.path.join(cache_home, "ostraca", "kernels")
    digest = hashlib.blake2b(digest_size=8)
    for package in _KERNEL_PACKAGES:
        for source in sorted((_ROOT / package).rglob("*.py")):
            text = source.read_bytes()
            if b"@kernel" in text or b"@inlined" in text:
                digest.update(f"{source.relative_to(_ROOT)}:{len(text)}:".encode() + text)
    return os.path.join(base, digest.hexdigest())


CACHE_FOLDER = _cache_folder()


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
    # Numba reads the folder when it decorates; other users of Numba in this process keep theirs.
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_FOLDER
    try:
        return numba.njit(nogil=True, cache=True, _nrt=False)(function)
    finally:
        numba.config.CACHE_DIR = previous
