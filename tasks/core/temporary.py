"""Temporary folders that end with the process that made them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile


def folder_of_process(prefix: str) -> str:
    """A new private folder, removed at the end of this process; not of one that it forks."""
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
