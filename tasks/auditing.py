"""What a task declares for `ostraca audit`: columns of its examples, their laws, and pairs without a tell.

A task's `audit(config)` gives an `Audit`. `tables(batch)` reads a RecordBatch (published ids; only
`input_ids` and `index` are sure to be there) with kernels or whole-array NumPy, and gives for each unit its
columns.

**One row of an example.** The questions, edges and nodes of one example are not independent, so a table has
at most ONE row for each example: where an example has several units, choose one by `coins(index, salt)`,
which does not depend on what is in it. The rows are then independent, and every p-value is exact or nearly
so.

**Small integers.** A column holds 0..size-1, its size is declared in `columns`, and a negative value means
"does not apply here" (that row is left out of what uses the column). `spread` brings a place among any
number of places to a few bins so that it stays exactly uniform, whatever the number.

**Laws and pairs.** A `Law` is the exact distribution of a column (for each value of the columns `given`). A
`Pair` is a surface feature and a target that are independent (for each value of `given`), or whose dependence
is known exactly (`law`). Tables have size(given) * size(feature) * size(target) cells, at most MOST_CELLS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOST_CELLS = 1 << 20  # of one contingency table
BINS = 16  # of a place, as `spread` gives it

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)

Tables = Mapping[str, Mapping[str, NDArray[np.int64]]]


@dataclass(frozen=True, kw_only=True)
class Law:
    """The exact distribution of a column.

    law: float64 [size(given 1), ..., size(column)]; for each value of `given`, probabilities that add up to
    1. A row of NaN is not tested.
    """

    unit: str
    column: str
    law: NDArray[np.float64]
    given: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A surface feature that tells nothing of a target within each value of `given`; or exactly so much.

    law: None, or P(target | given, feature) as float64 [size(given 1), ..., size(feature), size(target)].
    """

    unit: str
    feature: str
    target: str
    given: tuple[str, ...] = ()
    law: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All that a task declares of one config.

    neighbours: (unit, column) that are looked at over neighbouring indices, seeds and splits.
    repeats: examples of one index in two splits may be equal by the task's own law.
    """

    columns: Mapping[str, Mapping[str, int]]  # unit -> column -> its size
    tables: Callable[[pa.RecordBatch], Tables]
    laws: tuple[Law, ...] = ()
    pairs: tuple[Pair, ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()
    repeats: bool = False


def fitting(
    *,
    columns: Mapping[str, Mapping[str, int]],
    tables: Callable[[pa.RecordBatch], Tables],
    laws: Sequence[Law],
    pairs: Sequence[Pair],
    neighbours: Sequence[tuple[str, str]],
    repeats: bool = False,
) -> Audit:
    """An audit of those declarations whose tables have at most MOST_CELLS cells; odd configs lose some."""

    def fits(unit: str, *names: str) -> bool:
        return math.prod(columns[unit][name] for name in names) <= MOST_CELLS

    return Audit(
        columns=columns,
        tables=tables,
        laws=tuple(law for law in laws if fits(law.unit, *law.given, law.column)),
        pairs=tuple(pair for pair in pairs if fits(pair.unit, *pair.given, pair.feature, pair.target)),
        neighbours=tuple(
            candidate for candidate in neighbours if fits(candidate[0], candidate[1], candidate[1])
        ),
        repeats=repeats,
    )


def coins(index: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each index, of 53 mixed bits; another one for each salt. float64 [rows]."""
    with np.errstate(over="ignore"):
        word = index.astype(np.uint64) * _STEP + np.uint64(salt + 1) * _M2
        word = (word ^ (word >> np.uint64(30))) * _M1
        word = (word ^ (word >> np.uint64(27))) * _M2
        word = word ^ (word >> np.uint64(31))
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chosen(counts: NDArray[np.int64], index: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """One of 0..counts-1 for each example, uniform: int64 [rows]; -1 where there is none."""
    draws = np.minimum((coins(index, salt) * counts).astype(np.int64), counts - 1)
    return np.where(counts > 0, draws, -1)


def spread(
    place: NDArray[np.int64],
    count: NDArray[np.int64],
    index: NDArray[np.int64],
    salt: int,
    bins: int = BINS,
) -> NDArray[np.int64]:
    """The bin in 0..bins-1 of a place in 0..count-1; int64 [rows], -1 where place or count - 1 is negative.

    A place that falls on several bins goes to one of them by lot, so that what is uniform over the places is
    exactly uniform over the bins.
    """
    scaled = (place + coins(index, salt)) * bins / np.maximum(count, 1)
    numbers = np.minimum(scaled.astype(np.int64), bins - 1)
    return np.where((place < 0) | (count < 1), -1, numbers)


def uniform(size: int) -> NDArray[np.float64]:
    """The law of a column that takes every value equally often: float64 [size]."""
    return np.full(size, 1.0 / size)
