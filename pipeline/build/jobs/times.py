"""What a command spent its time on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Times:
    """Seconds by what they went to; what is not named is the rest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the block as `what`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - begun

    def total(self) -> float:
        """Seconds since this was made."""
        return time.perf_counter() - self._begun

    def rest(self) -> float:
        """Of these, the ones with no name."""
        return max(self.total() - sum(self.seconds.values()), 1e-9)
