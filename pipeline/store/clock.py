"""A clock that goes on while the machine sleeps, and that nobody sets."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
