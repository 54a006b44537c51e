"""What a corpus holds, counted: rows, tokens, lengths and strata. Small, exact, and the same in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import unragged

MAX_VALUES = 4096  # a histogram of more different values is coarse
KEPT_BITS = 4  # of a value in a coarse histogram: its bins are 1/16 to 1/8 of their value wide
_LIMIT = 1 << 63
_DIRECT = 1 << 16  # values in a range no wider than this are counted in a table, else by sorting


class Histogram:
    """How often each integer occurs; coarse where there are over `MAX_VALUES` different ones.

    A coarse one counts each value as the one below it, towards 0, of which only the `KEPT_BITS` highest bits
    are not 0: 1000 as 960, -1000 as -960. It depends on the values alone, not on the order in which they
    were added: it is coarse if and only if all of them together are over `MAX_VALUES` different ones.
    Values lie between -2^63 and 2^63, both excluded.
    """

    __slots__ = ("coarse", "counts", "values")

    def __init__(
        self,
        values: NDArray[np.int64] | None = None,
        counts: NDArray[np.int64] | None = None,
        coarse: bool = False,
    ) -> None:
        """values int64 [different], ascending; counts int64 [different], none 0. See `of`."""
        self.values = np.empty(0, np.int64) if values is None else values
        self.counts = np.empty(0, np.int64) if counts is None else counts
        self.coarse = coarse

    @classmethod
    def of(cls, values: NDArray[Any]) -> Histogram:
        """Count integers [n]."""
        if not len(values):
            return cls()
        low, high = int(values.min()), int(values.max())
        if high - low < _DIRECT:
            table = np.bincount(values if low == 0 else values - values.dtype.type(low))
            lengths = np.flatnonzero(table)
            return cls(lengths + low, table[lengths])._small()
        different, counts = np.unique(values, return_counts=True)
        return cls(different.astype(np.int64), counts.astype(np.int64))._small()

    def __add__(self, other: Histogram) -> Histogram:
        if not len(other.values):
            return self
        if not len(self.values):
            return other
        if self.coarse == other.coarse and np.array_equal(self.values, other.values):
            return Histogram(self.values, self.counts + other.counts, self.coarse)
        coarse = self.coarse or other.coarse
        parts = [part.made_coarse() for part in (self, other)] if coarse else [self, other]
        values, counts = _gathered(
            np.concatenate([part.values for part in parts]), np.concatenate([part.counts for part in parts])
        )
        return Histogram(values, counts, coarse)._small()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram)
            and self.coarse == other.coarse
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Histogram({self.total:,} in {len(self.values):,}{' coarse' if self.coarse else ''} values)"

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def made_coarse(self) -> Histogram:
        """The same values, coarse."""
        if self.coarse or not len(self.values):
            return self
        values, counts = _gathered(_floors(self.values), self.counts)
        return Histogram(values, counts, True)

    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The smallest and the largest value that each of `values` stands for."""
        if not self.coarse:
            return self.values, self.values
        wide = (np.int64(1) << _shifts(np.abs(self.values))) - 1
        negative = self.values < 0
        return self.values - wide * negative, self.values + wide * ~negative

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        counts = dict(zip(map(str, self.values.tolist()), self.counts.tolist(), strict=True))
        return {"coarse": self.coarse, "counts": counts}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Histogram:
        """What `as_dict` gave; ValueError, TypeError, KeyError or AttributeError where it did not."""
        pairs = sorted((int(value), _count(count)) for value, count in given["counts"].items())
        if len(pairs) > MAX_VALUES or type(given["coarse"]) is not bool:
            raise ValueError("counts")
        if not all(-_LIMIT < value < _LIMIT and count for value, count in pairs):
            raise ValueError("counts")
        values, counts = np.array(pairs, dtype=np.int64).reshape(-1, 2).T.copy()
        if (np.diff(values) == 0).any():
            raise ValueError("counts")
        if given["coarse"] and (_floors(values) != values).any():
            raise ValueError("coarse")
        return cls(values, counts, given["coarse"])

    def _small(self) -> Histogram:
        return self.made_coarse() if len(self.values) > MAX_VALUES else self


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Counts of some examples, of which those of two parts are the sum, in any order."""

    rows: int = 0
    tokens: int = 0  # bytes, where the examples are texts
    learned: int = 0  # tokens with loss_mask 1; of texts all
    lengths: Histogram = field(default_factory=Histogram)  # tokens of a row
    strata: Mapping[str, Histogram] = field(default_factory=dict)  # label -> its values

    @classmethod
    def of(cls, batch: pa.RecordBatch, strata: Mapping[str, str]) -> Statistics:
        """Count a batch with `input_ids` and `loss_mask`, or with `text`.

        strata: a label -> the column of integers, or of lists of them, whose values it counts; a list counts
        every one of its values. KeyError where there is no such column.
        """
        named = "input_ids" in batch.schema.names
        _, offsets = unragged(batch.column("input_ids" if named else "text"))
        tokens = int(offsets[-1]) - int(offsets[0])
        learned = tokens
        if named:
            mask, firsts = unragged(batch.column("loss_mask"))
            # As bool: NumPy counts these 20 times as fast, and a mask holds nothing but 0 and 1.
            learned = int(np.count_nonzero(mask[firsts[0] : firsts[-1]].view(np.bool_)))
        return cls(
            rows=batch.num_rows,
            tokens=tokens,
            learned=learned,
            lengths=Histogram.of(np.diff(offsets)),
            strata={label: Histogram.of(_flat(batch.column(name))) for label, name in strata.items()},
        )

    def __add__(self, other: Statistics) -> Statistics:
        labels = {**self.strata, **other.strata}
        none = Histogram()
        return Statistics(
            rows=self.rows + other.rows,
            tokens=self.tokens + other.tokens,
            learned=self.learned + other.learned,
            lengths=self.lengths + other.lengths,
            strata={label: self.strata.get(label, none) + other.strata.get(label, none) for label in labels},
        )

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "learned": self.learned,
            "lengths": self.lengths.as_dict(),
            "strata": {label: values.as_dict() for label, values in self.strata.items()},
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Statistics:
        """What `as_dict` gave; ValueError, TypeError, KeyError or AttributeError where it did not."""
        return cls(
            rows=_count(given["rows"]),
            tokens=_count(given["tokens"]),
            learned=_count(given["learned"]),
            lengths=Histogram.from_dict(given["lengths"]),
            strata={label: Histogram.from_dict(values) for label, values in given["strata"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A split of a dataset before and after duplicates were taken out; the same where none were."""

    before: Statistics
    after: Statistics
    redrawn: int = 0  # rows that took the place of a duplicate

    @property
    def dropped(self) -> int:
        """Rows that are no longer there."""
        return self.before.rows - self.after.rows


def _count(value: Any) -> int:
    """`value`, which must be how many there are of something."""
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise ValueError("count")
    return value


def _flat(column: pa.Array) -> NDArray[Any]:
    """The integers of a column, those of its lists one after the other; nothing is copied."""
    if pa.types.is_list(column.type):
        values, offsets = unragged(column)
        return values[offsets[0] : offsets[-1]]
    flat: NDArray[Any] = column.to_numpy(zero_copy_only=True)
    return flat


def _gathered(
    values: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values ascending and each once, with the sums of their counts; there must be at least one."""
    order = np.argsort(values, kind="stable")  # of runs that are sorted already, a merge
    values, counts = values[order], counts[order]
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return values[first], np.add.reduceat(counts, first)


def _floors(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values with all but their `KEPT_BITS` highest bits 0."""
    magnitudes = np.abs(values)
    shifts = _shifts(magnitudes)
    floors: NDArray[np.int64] = np.sign(values) * (magnitudes >> shifts << shifts)
    return floors


def _shifts(magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many low bits of each a coarse histogram does not keep."""
    lengths = np.zeros(len(magnitudes), dtype=np.int64)  # in bits, without a detour by floating point
    rest = magnitudes.copy()
    for step in (32, 16, 8, 4, 2, 1):
        more = rest >> step > 0
        lengths += step * more
        rest >>= step * more
    return np.maximum(lengths + (rest > 0) - KEPT_BITS, 0)
