"""Counting an audit's tables over batches: memory is bounded by the tables, not by the examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ....tasks.auditing import MOST_CELLS, Audit, Law, Pair, Tables, coins
from ....tasks.errors import OstracaError

_HALF = 99  # salt of the coin that tells in which half of the examples a row is
KEPT = 1 << 17  # examples of a stream that are held for comparison with another one


@dataclass(kw_only=True)
class Tally:
    """The counts of one stream of examples."""

    audit: Audit
    examples: int = 0
    laws: list[NDArray[np.int64]] = field(default_factory=list)  # [given, values] of each law
    pairs: list[NDArray[np.int64]] = field(default_factory=list)  # [2, given, features, targets]
    neighbours: list[NDArray[np.int64]] = field(default_factory=list)  # [values at i, values at i + 1]

    def __post_init__(self) -> None:
        columns = self.audit.columns
        for law in self.audit.laws:
            shape = (_size(columns, law.unit, law.given), columns[law.unit][law.column])
            self.laws.append(_zeros(law, law.law, columns, shape, law.column))
        for pair in self.audit.pairs:
            own = columns[pair.unit]
            cells = (_size(columns, pair.unit, pair.given), own[pair.feature], own[pair.target])
            self.pairs.append(np.stack([_zeros(pair, pair.law, columns, cells, pair.target)] * 2))
        for unit, column in self.audit.neighbours:
            size = columns[unit][column]
            self.neighbours.append(np.zeros((size, size), np.int64))

    def add(self, index: NDArray[np.int64], tables: Tables) -> None:
        """Count the rows of examples `index` (int64 [rows], ascending)."""
        columns = self.audit.columns
        self.examples += len(index)
        half = (coins(index, _HALF) < 0.5).astype(np.int64)
        for law, counts in zip(self.audit.laws, self.laws, strict=True):
            names = (*law.given, law.column)
            _count(counts, columns[law.unit], tables[law.unit], names, None)
        for pair, counts in zip(self.audit.pairs, self.pairs, strict=True):
            names = (*pair.given, pair.feature, pair.target)
            _count(counts, columns[pair.unit], tables[pair.unit], names, half)
        # Pairs that do not overlap (2i, 2i + 1), so that they are independent.
        first = np.flatnonzero((index[:-1] % 2 == 0) & (index[1:] == index[:-1] + 1))
        for (unit, column), counts in zip(self.audit.neighbours, self.neighbours, strict=True):
            cross(counts, tables[unit][column][first], tables[unit][column][first + 1])

    def merge(self, other: Tally) -> None:
        """Add the counts of other examples of the same audit."""
        self.examples += other.examples
        for mine, theirs in (
            (self.laws, other.laws),
            (self.pairs, other.pairs),
            (self.neighbours, other.neighbours),
        ):
            for counts, more in zip(mine, theirs, strict=True):
                counts += more


def cross(counts: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """Count pairs of values into counts [values, values]; negative values do not count."""
    held = (one >= 0) & (other >= 0)
    code = one[held] * counts.shape[1] + other[held]
    np.add.at(counts.reshape(-1), code, 1)


def _size(columns: Mapping[str, Mapping[str, int]], unit: str, names: Sequence[str]) -> int:
    return math.prod(columns[unit][name] for name in names)


def _zeros(
    what: Law | Pair,
    law: NDArray[np.float64] | None,
    columns: Mapping[str, Mapping[str, int]],
    shape: tuple[int, ...],
    name: str,
) -> NDArray[np.int64]:
    if math.prod(shape) > MOST_CELLS:
        raise OstracaError(f"audit: the table of {what.unit}.{name} has {math.prod(shape):,} cells")
    if law is not None and law.size != math.prod(shape):
        raise OstracaError(f"audit: the law of {what.unit}.{name} has shape {law.shape}, counts have {shape}")
    return np.zeros(shape, np.int64)


def _count(
    counts: NDArray[np.int64],
    sizes: Mapping[str, int],
    table: Mapping[str, NDArray[np.int64]],
    names: Sequence[str],
    half: NDArray[np.int64] | None,
) -> None:
    """Count the rows of a table, by half where given, then by the columns `names` in their order."""
    code = np.zeros(len(table[names[0]]), np.int64) if half is None else half.copy()
    held = np.ones(len(code), bool)
    for name in names:
        values = table[name]
        held &= values >= 0
        if len(values) and int(values.max()) >= sizes[name]:
            raise OstracaError(f"audit: {name}={int(values.max())} is not below its size {sizes[name]}")
        code = code * sizes[name] + values
    code = code[held]
    if counts.size < 4 * len(code):
        counts += np.bincount(code, minlength=counts.size).reshape(counts.shape)
    else:
        np.add.at(counts.reshape(-1), code, 1)
