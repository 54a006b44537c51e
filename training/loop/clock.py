"""The time that training takes: all of it, but what is done aside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch


@final
class Clock:
    """Seconds of a run's steps: from one to the next, without evaluations and checkpoints.

    A GPU works on while the CPU has gone ahead; whoever reads the clock after having read a loss reads the
    GPU's time too.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.go_on(0.0)

    def go_on(self, seconds: float) -> None:
        """Stand at so many seconds now."""
        self._begin = time.perf_counter() - seconds

    def seconds(self) -> float:
        """Of the whole run so far."""
        return time.perf_counter() - self._begin

    @contextmanager
    def aside(self) -> Iterator[None]:
        """In this block the clock stands still."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._begin += time.perf_counter() - begin
