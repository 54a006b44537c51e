"""What a stream must give, said in plain Python from the words of the documents, one token at a time.

Only the permutation that a name stands for (`shuffled`, tested by itself) is taken from the code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ostraca.loaders.source import Blocks, Rows
from ostraca.tasks.core.batch import LABEL_IGNORED, ragged
from ostraca.tasks.core.permutation import shuffled

Row = tuple[list[int], list[int], list[int]]  # tokens, loss mask, where documents begin
Line = tuple[list[int], list[int], list[int]]  # input_ids, labels, position_ids


class MemorySource:
    """A source of rows that lie in memory: blocks of rows, of one dataset or several."""

    vocab_size = 10_000

    def __init__(
        self, blocks: Sequence[Sequence[Row]], strata: Sequence[int] | None = None, packed: int | None = None
    ) -> None:
        self.held, self.row_length = [list(block) for block in blocks], packed
        self.strata = tuple(strata or (len(blocks),))
        self.reads: list[int] = []

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": "memory", "rows": sum(map(len, self.held))}

    @property
    def recipe(self) -> None:
        return None

    def blocks(self, tokens: bool) -> Blocks:
        return Blocks(
            rows=np.array([len(block) for block in self.held]),
            tokens=np.array([sum(len(row[0]) for row in block) for block in self.held]),
            strata=self.strata,
            names=tuple(f"d{number}" for number in range(len(self.strata))),
        )

    def read(self, blocks: Sequence[int]) -> Rows:
        self.reads += blocks
        rows = [row for block in blocks for row in self.held[block]]
        ids = lists([row[0] for row in rows], np.int32)
        names, arrays = ["input_ids", "loss_mask"], [ids, lists([row[1] for row in rows], np.uint8)]
        if self.row_length is not None:
            names.append("starts")
            arrays.append(lists([row[2] for row in rows], np.int32))
        return Rows.of(pa.RecordBatch.from_arrays(arrays, names=names))


def lists(values: Sequence[Sequence[int]], dtype: Any) -> pa.ListArray:
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    return ragged(np.array(list(itertools.chain(*values)), dtype), offsets)


@dataclass(frozen=True, kw_only=True)
class Law:
    """The settings of a stream, and what they lead to."""

    mode: str
    length: int
    batch_size: int
    lanes: int
    window_blocks: int = 2
    seed: int = 0
    shuffle: bool = True
    remainder: str = "drop"
    pad_id: int = 0
    strata: Sequence[int] = field(default_factory=tuple)

    def settings(self) -> dict[str, Any]:
        """For a TokenStream."""
        names = "mode length batch_size lanes window_blocks seed shuffle remainder pad_id"
        return {name: getattr(self, name) for name in names.split()}

    def epoch(self, blocks: Sequence[Sequence[Row]], epoch: int) -> list[list[Line]]:
        """The batches of an epoch."""
        lines = list(self.lines(blocks, epoch))
        size = self.batch_size
        steps = len(lines) // size if self.remainder == "drop" else -(-len(lines) // size)
        if self.remainder == "pad":
            lines += [self.padded(([], [], []))] * (steps * size - len(lines))
        if self.remainder == "wrap":
            lines = list(itertools.islice(itertools.cycle(lines), steps * size))
        # Lane i has the i-th part of the lines, and feeds the i-th part of each batch.
        each = size // self.lanes
        runs = [lines[lane * steps * each : (lane + 1) * steps * each] for lane in range(self.lanes)]
        return [
            [line for run in runs for line in run[step * each : (step + 1) * each]] for step in range(steps)
        ]

    def lines(self, blocks: Sequence[Sequence[Row]], epoch: int) -> Iterator[Line]:
        """The lines of an epoch, in their order, before lanes share them."""
        units = self.units(blocks)
        order = self.order([len(own) for own in units], epoch)
        flat = [unit for own in units for unit in own]
        for number, first in enumerate(range(0, len(order), self.window_blocks)):
            window = [flat[unit] for unit in order[first : first + self.window_blocks]]
            rows = [row for unit in window for block in unit for row in block]
            if self.shuffle:
                rows = [rows[place] for place in shuffled(len(rows), "rows", self.seed, epoch, number)]
            count = sum(self.count([row for block in unit for row in block]) for unit in window)
            yield from self.lay(rows, count)

    def units(self, blocks: Sequence[Sequence[Row]]) -> list[list[list[Sequence[Row]]]]:
        """Of each dataset, its units: blocks side by side, enough for 64 lines on average."""
        size = 1
        if self.mode in ("left_aligned", "concat"):
            mean = sum(len(row[0]) for block in blocks for row in block) / len(blocks)
            size = max(1, math.ceil(64 * self.length / mean))
        units, first = [], 0
        for count in self.strata or (len(blocks),):
            own = blocks[first : first + count]
            units.append([list(own[place : place + size]) for place in range(0, count, size)])
            first += count
        return units

    def order(self, strata: list[int], epoch: int) -> list[int]:
        """The order of the units."""
        if not self.shuffle:
            return list(range(sum(strata)))
        if len(strata) == 1:
            return list(shuffled(strata[0], "blocks", self.seed, epoch))
        placed, first = [], 0
        for number, size in enumerate(strata):
            for place, unit in enumerate(shuffled(size, "blocks", self.seed, epoch, number)):
                placed.append(((place + 0.5) / size, number, first + int(unit)))
            first += size
        return [unit for _, _, unit in sorted(placed)]

    def count(self, rows: Sequence[Row]) -> int:
        """The lines that a unit is good for."""
        if self.mode in ("padded", "packed"):
            return len(rows)
        full = max(1, math.ceil(sum(len(row[0]) for row in rows) / self.length))
        return full if self.mode == "concat" else min(full, len(rows))

    def lay(self, rows: list[Row], count: int) -> Iterator[Line]:
        """The lines of a window."""
        if self.mode == "concat":
            flat = [token for row in rows for token in documents(row)]
            pieces = [flat[place * self.length : (place + 1) * self.length] for place in range(count)]
            for piece in pieces:
                yield self.padded(renumbered(piece))
        elif self.mode == "left_aligned":
            for own in self.left_aligned(rows, count):
                tokens = [token for row in own for token in documents(row)]
                yield self.padded(columns(tokens[: self.length]))
        else:
            for row in rows:
                yield self.padded(columns(documents(row)[: self.length]))

    def left_aligned(self, rows: list[Row], count: int) -> Iterator[list[Row]]:
        """The rows of each line: until it is full, or until the room left may be spared."""
        waiting = list(rows)
        for line in range(count):
            own: list[Row] = []
            spare = (count - line) * self.length - sum(min(len(row[0]), self.length) for row in waiting)
            venture = max(spare // min(4, count - line), 0)
            room = self.length
            while waiting and room > 0 and (not own or room > venture):
                own.append(waiting.pop(0))
                room -= min(len(own[-1][0]), self.length)
            yield own
        assert not waiting

    def padded(self, line: Line) -> Line:
        rest = self.length - len(line[0])
        ids, labels, positions = line
        return ids + [self.pad_id] * rest, labels + [LABEL_IGNORED] * rest, positions + [0] * rest


def documents(row: Row) -> list[tuple[int, int, int]]:
    """(id, label, position) of each token of a row."""
    tokens, mask, starts = row
    begins = [max(start for start in starts or [0] if start <= place) for place in range(len(tokens))]
    return [
        (token, token if learned else LABEL_IGNORED, place - begins[place])
        for place, (token, learned) in enumerate(zip(tokens, mask, strict=True))
    ]


def columns(tokens: list[tuple[int, int, int]]) -> Line:
    return [t[0] for t in tokens], [t[1] for t in tokens], [t[2] for t in tokens]


def renumbered(tokens: list[tuple[int, int, int]]) -> Line:
    """A document that goes on from the line before begins at position 0 again."""
    ids, labels, positions = columns(tokens)
    gone_on = positions[0] if positions else 0
    for place in range(len(positions)):
        if place and positions[place] == 0:
            break
        positions[place] -= gone_on
    return ids, labels, positions


def lines_in(batch: Mapping[str, Any]) -> list[Line]:
    """The lines of a stream's batch."""
    columns = (batch[name].tolist() for name in ("input_ids", "labels", "position_ids"))
    return [(ids, labels, positions) for ids, labels, positions in zip(*columns, strict=True)]
