"""What the charts of a dataset show: the same for the page and for the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..corpus.split_statistics import Counts, Histogram, Statistics
from .bins import Bins, bins_of

_MOST_SHARES = 30  # bins of shares: over a few examples each would say nothing


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One histogram of a chart, beside which others stand on the same axis."""

    name: str
    note: str = ""
    counts: NDArray[np.float64]  # [bins]
    before: NDArray[np.float64] | None = None  # [bins], where other rows were there before
    of: str = "examples"  # what is counted


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The distribution of one thing: a strip for each split that has it."""

    title: str
    unit: str
    bins: Bins
    strips: Sequence[Strip]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of a split was taken out as duplicates, by the value of one thing."""

    title: str
    split: str
    unit: str
    bins: Bins
    lost: NDArray[np.float64]  # [bins], 0..1, below 0 where there are more than before; NaN: nothing before


def charts_of(counts: Mapping[str, Counts], tokens: str) -> list[Chart]:
    """The lengths and every stratum that the statistics of a dataset's splits know.

    counts: by split; tokens: what an example's length is counted in.
    """
    lengths = _chart(counts, f"{tokens.capitalize()} per example", tokens, lambda each: each.lengths)
    made = [_chart(counts, label.capitalize(), label, _stratum(label)) for label in _labels(counts)]
    return [each for each in (lengths, *made) if each is not None]


def shares_of(counts: Mapping[str, Counts], tokens: str) -> list[Shares]:
    """What duplicates took from each split that they took from, by length and by stratum."""
    made = []
    for split, each in counts.items():
        if each.before is each.after or each.before == each.after:
            continue
        parts = {f"number of {tokens}": (tokens, lambda statistics: statistics.lengths)}
        parts |= {label: (label, _stratum(label)) for label in each.before.strata}
        for label, (unit, part) in parts.items():
            before, after = part(each.before), part(each.after)
            if len(before.values):
                bins, lost = lost_shares(before, after)
                made.append(
                    Shares(title=f"Duplicates by {label}", split=split, unit=unit, bins=bins, lost=lost)
                )
    return made


def lost_shares(before: Histogram, after: Histogram) -> tuple[Bins, NDArray[np.float64]]:
    """1 - after / before in each bin; NaN where there was nothing before."""
    bins = bins_of([before, after], _MOST_SHARES)
    was, now = bins.counts
    lost = np.full(len(was), np.nan)
    np.divide(was - now, was, out=lost, where=was > 0)
    return bins, lost


def _labels(counts: Mapping[str, Counts]) -> list[str]:
    """The strata of some splits, each once."""
    return list(dict.fromkeys(label for each in counts.values() for label in each.before.strata))


def _stratum(label: str) -> Callable[[Statistics], Histogram]:
    return lambda statistics: statistics.strata.get(label, Histogram())


def _chart(
    counts: Mapping[str, Counts], title: str, unit: str, part: Callable[[Statistics], Histogram]
) -> Chart | None:
    known = {split: each for split, each in counts.items() if len(part(each.before).values)}
    if not known:
        return None
    bins = bins_of([part(side) for each in known.values() for side in (each.before, each.after)])
    strips = []
    for number, (split, each) in enumerate(known.items()):
        changed = each.before is not each.after and part(each.before) != part(each.after)
        listed = part(each.after).total != each.after.rows
        strips.append(
            Strip(
                name=split,
                note=_note(part(each.after)),
                counts=bins.counts[2 * number + 1],
                before=bins.counts[2 * number] if changed else None,
                of="count" if listed else "examples",
            )
        )
    return Chart(title=title, unit=unit, bins=bins, strips=strips)


def _note(values: Histogram) -> str:
    """The least, the largest and the mean value."""
    if not len(values.values):
        return "none left"
    lows, highs = values.edges()
    if lows[0] == highs[-1]:
        return f"all {lows[0]:,}"
    mean = float((lows + highs) / 2 @ values.counts) / values.total
    return f"{lows[0]:,} to {highs[-1]:,}, mean {mean:,.{0 if mean >= 100 else 1}f}"
