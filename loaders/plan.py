"""Which lines go where: a stream's steps as pieces of windows, known before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from .ahead import Job, Workers
from .lay import Lines
from .part import PADDING, Part
from .ranks import Share

ROUND_TOKENS = 1 << 19  # laid at a time: enough beside what a piece costs, and still in the cache
AHEAD = 6  # windows that are read before they are needed
_MOST_ROUNDS = 64  # planned before they are laid


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Steps first, first + every, … of a stream, before `stop` (None: no end)."""

    first: int
    stop: int | None
    every: int = 1

    def rounds(self, most: int) -> Iterator[NDArray[np.int64]]:
        """Up to `most` steps at a time, int64 [steps]; few at first, so that the first comes soon."""
        first, count = self.first, 1
        while self.stop is None or first < self.stop:
            last = first + count * self.every
            yield np.arange(first, last if self.stop is None else min(last, self.stop), self.every)
            first, count = last, min(2 * count, most)


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Places in batches that a part fills."""

    part: int
    lane: int
    counts: NDArray[np.int64]  # [slots]: which of the part's lines in this lane
    targets: NDArray[np.int64]  # [slots]: which line of the round's batches, one behind the other


class Shares(Protocol):
    """Which part fills which line of which batch."""

    def slots(self, steps: NDArray[np.int64]) -> Iterator[Slots]:
        """The places of some steps, which ascend from call to call, lane by lane."""


@dataclass(frozen=True, kw_only=True)
class OnePart:
    """All places belong to the only part."""

    share: Share

    def slots(self, steps: NDArray[np.int64]) -> Iterator[Slots]:
        """See `Shares`."""
        share, size = self.share, self.share.lane_lines
        whole = np.arange(size, dtype=np.int64)
        counts = steps[:, None] * size + whole
        targets = np.arange(0, len(steps) * share.lines, share.lines)[:, None] + whole
        for lane, first, stop in share.own_lanes():
            yield Slots(
                part=0,
                lane=lane,
                counts=counts[:, first:stop].ravel(),
                targets=(targets[:, first:stop] + (lane * size - share.first_line)).ravel(),
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Lines of one window and where they go; without a window they are padding."""

    part: int
    window: Job[Lines] | None
    lines: NDArray[np.int64]
    targets: NDArray[np.int64]
    fresh: bool  # the first piece that needs this window


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """Some steps whose batches are laid together."""

    steps: NDArray[np.int64]
    pieces: list[Piece]


class Planner:
    """The rounds of a stream, each window given to the workers some time before it is needed."""

    def __init__(self, parts: Sequence[Part], shares: Shares, workers: Workers) -> None:
        self._parts, self._shares, self._workers = parts, shares, workers
        # A window that two lanes need at the same time, as in small corpora, is read once.
        self._shared: WeakValueDictionary[tuple[int, int, int], Job[Lines]] = WeakValueDictionary()
        self._current: dict[tuple[int, int], Job[Lines]] = {}  # of each part and lane, the last one planned

    def rounds(self, steps: Steps, count: int) -> Iterator[Round]:
        """Rounds of up to `count` steps."""
        planned: list[Round] = []
        waiting = 0  # windows given to the workers and not yet needed
        source = steps.rounds(count)
        more = True
        while more or planned:
            while more and (not planned or (waiting < AHEAD and len(planned) < _MOST_ROUNDS)):
                numbers = next(source, None)
                if numbers is None:
                    more = False
                else:
                    planned.append(Round(steps=numbers, pieces=list(self._pieces(numbers))))
                    waiting += sum(piece.fresh for piece in planned[-1].pieces)
            if planned:
                now = planned.pop(0)
                waiting -= sum(piece.fresh for piece in now.pieces)
                yield now
                del now

    def _pieces(self, steps: NDArray[np.int64]) -> Iterator[Piece]:
        for slots in self._shares.slots(steps):
            for run in self._parts[slots.part].runs(slots.lane, slots.counts):
                job, fresh = None, False
                if run.window != PADDING:
                    job, fresh = self._window(slots.part, slots.lane, run.epoch, run.window)
                targets = slots.targets[run.begin : run.end]
                yield Piece(part=slots.part, window=job, lines=run.lines, targets=targets, fresh=fresh)

    def _window(self, part: int, lane: int, epoch: int, number: int) -> tuple[Job[Lines], bool]:
        """The job that gives a window, and whether it is new."""
        key = (part, epoch, number)
        job = self._shared.get(key)
        fresh = job is None
        if job is None:
            job = self._shared[key] = Job(_loading(self._parts[part], epoch, number))
            self._workers.give(job)
        self._current[part, lane] = job
        return job, fresh


def _loading(part: Part, epoch: int, number: int) -> Callable[[], Lines]:
    return lambda: part.load(epoch, number)
