"""What deduplication changed in a shard: which of its examples were dropped, which redrawn.

An example that was redrawn has the same index, and its tokens come from the stream of (index, attempt):
see `tasks.examples.stream_of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from .numbers import decode_numbers, encode_numbers

MOST_CHANGES = 1 << 26  # of a shard: what says more takes all memory and is no shard's


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The examples of a shard that are not its first draws."""

    places: NDArray[np.int64] = field(default_factory=_none)  # [changed], ascending: index - first_index
    attempts: NDArray[np.int64] = field(default_factory=_none)  # [changed]: 0 is dropped

    def __len__(self) -> int:
        return len(self.places)

    @property
    def dropped(self) -> int:
        return int((self.attempts == 0).sum())

    @staticmethod
    def dropping(places: NDArray[np.int64]) -> Changes:
        """The examples at these places, int64, ascending, are dropped."""
        return Changes(places=places, attempts=np.zeros(len(places), np.int64))

    @staticmethod
    def joined(parts: Sequence[Changes]) -> Changes:
        """Those of some ranges of a shard, one behind the other."""
        return Changes(
            places=np.concatenate([_none(), *(part.places for part in parts)]),
            attempts=np.concatenate([_none(), *(part.attempts for part in parts)]),
        )

    def of(self, start: int, stop: int) -> Changes:
        """Those at places start..stop-1."""
        first, last = np.searchsorted(self.places, [start, stop])
        return Changes(places=self.places[first:last], attempts=self.attempts[first:last])

    def draws(self, start: int, stop: int, first_index: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """(attempt, indices, ascending) of the examples at places start..stop-1 that stay.

        first_index: the shard's. The first draws come first, even where there are none.
        """
        own = self.of(start, stop)
        first = np.arange(first_index + start, first_index + stop, dtype=np.int64)
        yield 0, np.delete(first, own.places - start) if len(own) else first
        for attempt in np.unique(own.attempts[own.attempts > 0]).tolist():
            yield attempt, first_index + own.places[own.attempts == attempt]

    def __str__(self) -> str:
        """As the manifest holds them."""
        if not len(self):
            return ""
        redrawn = encode_numbers(self.attempts) if self.attempts.any() else ""
        return encode_numbers(self.places) + " " + redrawn

    @staticmethod
    def parse(text: str, count: int) -> Changes:
        """The changes that `str` wrote, of a shard of `count` examples; OstracaError where they are not."""
        if not text:
            return Changes()
        first, _, second = text.partition(" ")
        places = decode_numbers(first, min(count, MOST_CHANGES))
        attempts = decode_numbers(second, len(places)) if second else np.zeros(len(places), np.int64)
        if (
            len(places) != len(attempts)
            or not len(places)
            or places[0] < 0
            or places[-1] >= count
            or (np.diff(places) <= 0).any()
            or (attempts < 0).any()
        ):
            raise OstracaError("the changes of a shard are not as ostraca writes them")
        return Changes(places=places, attempts=attempts)
