"""Which process one is, told so that others on the same machine can see whether it still runs."""

from __future__ import annotations

import os
from pathlib import Path


def this_machine() -> str:
    """This boot of this machine and its numbering of processes (containers have their own); '' if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def started_at(pid: int) -> str:
    """When a process began, in ticks since boot; 'gone' for one that has ended, '' where none can be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if fields[0] in "ZX" else fields[19]


def is_gone(pid: int, started: str) -> bool:
    """Whether the process that began then has ended; its number may be another's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    now = started_at(pid)
    return now not in ("", started)
