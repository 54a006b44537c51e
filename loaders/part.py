"""One source of a stream: how its lines are shared out over the lanes, and how a window of them is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..tasks.errors import ConfigError, OstracaError, check_integer, one_of
from ..tasks.examples import MAX_INDEX
from .lay import MODES, Lines, fresh_lines, lines_of
from .order import Epochs, OrderSettings, Units
from .source import EndlessSource, Source

REMAINDERS = ("drop", "pad", "wrap")
CHUNK_TOKENS = 1 << 16  # of an endless source, made at a time by a lane
_ROOM = 1.05  # times what is expected
PADDING = -1  # the window of lines that are all padding


class Run(NamedTuple):
    """Some of a lane's lines that stand in one window."""

    epoch: int
    window: int  # PADDING: in none
    begin: int  # the first of the lines that were asked for, and behind the last
    end: int
    lines: NDArray[np.int64]  # [end - begin]: which lines of the window


class Part(Protocol):
    """The lines of a source, lane by lane."""

    @property
    def names(self) -> Sequence[str]:
        """Of its datasets."""

    @property
    def lane_lines(self) -> int | None:
        """Lines that each lane has in an epoch; None: no end."""

    @property
    def mean_tokens(self) -> float:
        """Of a row, about."""

    def runs(self, lane: int, counts: NDArray[np.int64]) -> Iterator[Run]:
        """Where lines of a lane are, each counted from the lane's first one in epoch 0; ascending."""

    def load(self, epoch: int, window: int) -> Lines:
        """A window, read and ordered. Called from several threads at a time."""


class FinitePart:
    """A source with blocks, epoch after epoch: a lane has one run of the lines of each epoch's order.

    quantum: the lines of an epoch are made a multiple of this, by dropping some, padding or beginning again.
    """

    def __init__(
        self,
        source: Source,
        epochs: Epochs,
        settings: OrderSettings,
        lanes: int,
        quantum: int,
        remainder: str,
    ) -> None:
        self._source, self._epochs, self._settings = source, epochs, settings
        self._remainder, self._total = remainder, epochs.units.total
        rounds = self._total // quantum if remainder == "drop" else -(-self._total // quantum)
        self._lane_lines = rounds * quantum // lanes
        if not rounds:
            raise ConfigError(
                f"the data gives {self._total:,} lines, less than one batch of {quantum:,}; take a smaller "
                "batch_size or length, or remainder='pad' or 'wrap'"
            )

    @property
    def names(self) -> Sequence[str]:
        """See `Part`."""
        return self._epochs.units.blocks.names

    @property
    def lane_lines(self) -> int:
        """See `Part`."""
        return self._lane_lines

    @property
    def mean_tokens(self) -> float:
        """See `Part`."""
        blocks = self._epochs.units.blocks
        return float(blocks.tokens.sum() / blocks.rows.sum())

    def runs(self, lane: int, counts: NDArray[np.int64]) -> Iterator[Run]:
        """See `Part`."""
        begin, size = 0, self._lane_lines
        while begin < len(counts):
            # Counts of this epoch, and before the lines begin again or are padding, stand at `line` and on.
            count = int(counts[begin])
            epoch, inside = divmod(count, size)
            line = lane * size + inside
            bound = count - inside + size
            if line >= self._total and self._remainder != "wrap":
                end = int(np.searchsorted(counts, bound))
                yield Run(epoch, PADDING, begin, end, counts[begin:end])
                begin = end
                continue
            again = line // self._total * self._total
            window, first, stop = self._epochs.order(epoch).window_of(line - again)
            bound = min(bound, count + stop - (line - again))
            end = len(counts) if counts[-1] < bound else int(np.searchsorted(counts, bound))
            yield Run(epoch, window, begin, end, counts[begin:end] + (line - again - first - count))
            begin = end

    def load(self, epoch: int, window: int) -> Lines:
        """See `Part`."""
        wanted = self._epochs.order(epoch).window(window)
        rows = self._source.read(wanted.blocks.tolist())
        blocks, settings = self._epochs.units.blocks, self._settings
        held = blocks.rows[wanted.blocks]
        if int(held.sum()) != len(rows):
            raise OstracaError(f"a source gave {len(rows):,} rows, it told of {int(held.sum()):,}")
        lines = lines_of(rows, wanted.order(len(rows)), settings.mode, settings.length, wanted.lines)
        if len(blocks.strata) == 1:
            return lines
        strata = np.repeat(np.arange(len(blocks.strata), dtype=np.int32), blocks.strata)
        of_rows = np.append(np.repeat(strata[wanted.blocks], held)[lines.order], 0)
        return replace(lines, dataset=of_rows[np.minimum(lines.first, len(rows))])


class EndlessPart:
    """Fresh examples for ever: a chunk of lines after another, of which lane i has every lanes-th.

    A chunk has a range of indices of its own, as long as its lines could need at most; so it is made without
    those before it, and no example comes twice.
    """

    def __init__(self, source: EndlessSource, settings: OrderSettings, lanes: int) -> None:
        self._source, self._settings, self._lanes = source, settings, lanes
        length = settings.length if settings.mode != "padded" else None
        mean = source.mean_tokens
        self._lines = max(1, round(CHUNK_TOKENS / (length or mean)))
        self._indices = self._lines * (length or 1)
        if source.counted and length is not None:
            # All that are made are laid, in lines enough to hold more than are expected.
            self._indices = max(1, round(CHUNK_TOKENS / mean))
            self._lines = math.ceil(_ROOM * self._indices * mean / length) + 1

    @property
    def names(self) -> Sequence[str]:
        """See `Part`."""
        return (self._source.name,)

    @property
    def lane_lines(self) -> None:
        """See `Part`."""
        return None

    @property
    def mean_tokens(self) -> float:
        """See `Part`."""
        return self._source.mean_tokens

    def runs(self, lane: int, counts: NDArray[np.int64]) -> Iterator[Run]:
        """See `Part`."""
        begin = 0
        while begin < len(counts):
            chunk = int(counts[begin]) // self._lines
            end = int(np.searchsorted(counts, (chunk + 1) * self._lines))
            yield Run(0, chunk * self._lanes + lane, begin, end, counts[begin:end] - chunk * self._lines)
            begin = end

    def load(self, epoch: int, window: int) -> Lines:
        """See `Part`."""
        first = window * self._indices
        if first + self._indices > MAX_INDEX:
            raise OstracaError(f"the task's examples end at index {MAX_INDEX:,}; take another seed")
        settings = self._settings
        if self._source.counted:
            rows = self._source.make(first, self._indices)
            order = np.arange(len(rows), dtype=np.int64)
            return lines_of(rows, order, settings.mode, settings.length, self._lines)
        return fresh_lines(
            lambda count: self._source.make(first, count),
            self._source.mean_tokens,
            settings.mode,
            settings.length,
            self._lines,
        )


def part_of(
    source: Any, settings: OrderSettings, lanes: int, quantum: int, remainder: str, tokens: bool
) -> Part:
    """The part that a source makes. tokens: its `mean_tokens` will be asked for.

    ConfigError where it has too few lines.
    """
    blocks = source.blocks(tokens=tokens or settings.mode in ("left_aligned", "concat"))
    if blocks is None:
        return EndlessPart(source, settings, lanes)
    epochs = Epochs(Units(blocks, settings.mode, settings.length), settings)
    return FinitePart(source, epochs, settings, lanes, quantum, remainder)


def modes_and_length(
    sources: Sequence[Source], mode: str | None, length: Any, world_size: int
) -> tuple[list[str], int | None]:
    """The mode of each source and the tokens of a line; ConfigError where they do not go together."""
    modes = [_mode_of(source, mode) for source in sources]
    if length is None and not set(modes) <= {"packed", "padded"}:
        raise ConfigError(f"length=None is not for mode={modes[0]!r}; say how long a line is")
    if length is None and "packed" in modes:
        packed = {source.row_length for source in sources}
        if len(packed) > 1:
            raise ConfigError(f"the sources' rows have {packed} tokens; say how long a line is")
        (length,) = packed
    if length is None and (world_size > 1 or len(sources) > 1):
        raise ConfigError(
            "length=None is the longest example of a batch, of which a rank, or a source of a mixture, sees "
            "a part; say how long a line is"
        )
    return modes, None if length is None else check_integer("length", length, 1)


def _mode_of(source: Source, mode: str | None) -> str:
    packed = source.row_length is not None
    chosen = one_of("mode", mode or ("packed" if packed else "left_aligned"), MODES)
    if chosen == "packed" and not packed:
        raise ConfigError(
            "mode='packed' reads rows that were packed when the corpus was built; this source's are "
            "single examples: take mode='left_aligned' or 'padded', or build the corpus with pack"
        )
    if chosen != "packed" and packed:
        raise ConfigError(
            f"mode={mode!r} lays single examples; this source's rows were packed when the corpus was "
            "built: take mode='packed', or leave it out"
        )
    return chosen
