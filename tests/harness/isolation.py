"""Processes of a test that can be found again by a mark, and namespaces of their own for some."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_MARK = "OSTRACA_TEST_MARK"


def mark(name: str) -> dict[str, str]:
    """The environment of processes that `marked(name)` finds, with all that they start."""
    return {_MARK: name}


def marked(name: str) -> list[int]:
    """The ids of the living processes that were started with this mark, this one left out."""
    wanted = f"{_MARK}={name}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not ended and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def end_marked(name: str) -> None:
    """Kill the processes that have this mark."""
    for process in marked(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def until(happened: Callable[[], object], seconds: float = 60) -> bool:
    """Wait until something has happened; whether it did in time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alone() -> list[str]:
    """Words to put before a command that has a network, a process table, mounts and a /tmp/ray of its own.

    Whatever it starts ends with it, and nothing outside reaches it. Where this machine makes no such
    namespaces: none.
    """
    words = [
        "unshare",
        "--map-root-user",
        "--mount",
        "--mount-proc",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
    ]
    words += [sys.executable, "-c", _MOVE_IN]
    return words if _runs([*words, "true"]) else []


# Bring up the loopback device (SIOCSIFFLAGS, IFF_UP): there is no other. Ray notes in /tmp/ray which cluster
# this machine belongs to.
_MOVE_IN = """
import fcntl, os, socket, struct, subprocess, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))
os.makedirs("/tmp/ray", exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "none", "/tmp/ray"], check=True)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
