"""Whether a run is to stop, asked from outside of its process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stop:
    """Set by whoever hears of it, read after each step."""

    asked: bool = False
    over: bool = False  # the run has ended: nobody needs to listen any more
