"""The charts of a corpus, laid out once for the page and for the pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..corpus.split_statistics import Counts, Histogram, Statistics
from .bins import Bins, bins_of, round_ticks
from .drawing import FOOT, LARGE, LEFT, RIGHT, WIDTH, Bar, Drawing, Plot, Shape, Text, width_of
from .figures import Figures, brief, percent, short, total

# What colours mean.
LEARNED = (("bar", "in the loss (loss_mask 1)"), ("read", "only read"))
GONE = (("bar", "in the corpus"), ("lost", "gone as duplicates"))
_MOST_SHARES = 30  # bins of shares: over a few examples each would say nothing
_HEAD, _PLOT, _GAP = 26.0, 66.0, 14.0  # heights: of a strip's name, its bars, the space to the next strip
_SPACE = 14.0  # for a number above the tallest bar
_THICK = 44.0  # the widest bar

Part = Callable[[Statistics], Histogram]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A bar of the mixture: how many tokens something has, what part of all that is, what is learned."""

    name: str
    tokens: str
    share: str
    drawing: Drawing  # 100 wide for the largest


def mixture(sums: Mapping[str, Figures]) -> list[Row]:
    """How the tokens are shared out: a row for each name."""
    every, most = total(sums.values()).tokens, max(row.tokens for row in sums.values())
    rows = []
    for name, row in sums.items():
        wide = 100 * row.tokens / max(most, 1)
        learned = wide * row.learned_share
        tip = f"{row.tokens:,} tokens, {percent(row.learned_share)} in the loss"
        parts = (("bar", 0.0, learned), ("read", learned, wide - learned))
        bars = [Bar(x, 0, part, 10, colour, tip) for colour, x, part in parts if part > 0]
        drawing = Drawing(title=name, label=tip, wide=100, high=10, shapes=bars)
        share = percent(row.tokens / max(every, 1))
        rows.append(Row(name=name, tokens=short(row.tokens), share=share, drawing=drawing))
    return rows


def charts_of(counts: Mapping[str, Counts], tokens: str) -> list[Drawing]:
    """The lengths and every stratum that the statistics of a dataset's splits know: a strip for each split.

    counts: by split; tokens: what an example's length is counted in.
    """
    labels = dict.fromkeys(label for split_counts in counts.values() for label in split_counts.before.strata)
    drawn = [_distribution(counts, f"{tokens.capitalize()} per example", tokens, _lengths)]
    drawn += [_distribution(counts, label.capitalize(), label, _stratum(label)) for label in labels]
    return [drawing for drawing in drawn if drawing is not None]


def shares_of(counts: Mapping[str, Counts], tokens: str) -> list[Drawing]:
    """What duplicates took from each split that they took from, by length and by stratum."""
    drawn = []
    for split, split_counts in counts.items():
        if not has_lost(split_counts):
            continue
        parts: dict[str, tuple[str, Part]] = {f"number of {tokens}": (tokens, _lengths)}
        parts |= {label: (label, _stratum(label)) for label in split_counts.before.strata}
        for label, (unit, part) in parts.items():
            if len(part(split_counts.before).values):
                drawn.append(
                    _shares(
                        split,
                        f"Duplicates by {label}",
                        unit,
                        part(split_counts.before),
                        part(split_counts.after),
                    )
                )
    return drawn


def has_lost(counts: Counts) -> bool:
    """Whether duplicates left a split other than it was."""
    return counts.before is not counts.after and counts.before != counts.after


def lost_shares(before: Histogram, after: Histogram) -> tuple[Bins, NDArray[np.float64]]:
    """1 - after / before in each bin; NaN where there was nothing before."""
    bins = bins_of([before, after], _MOST_SHARES)
    was, now = bins.counts
    lost = np.full(len(was), np.nan)
    np.divide(was - now, was, out=lost, where=was > 0)
    return bins, lost


def _lengths(statistics: Statistics) -> Histogram:
    return statistics.lengths


def _stratum(label: str) -> Part:
    return lambda statistics: statistics.strata.get(label, Histogram())


def _distribution(counts: Mapping[str, Counts], title: str, unit: str, part: Part) -> Drawing | None:
    """Strips one above the other: the same axis from side to side, an axis of its own upwards."""
    known = {
        split: split_counts for split, split_counts in counts.items() if len(part(split_counts.before).values)
    }
    if not known:
        return None
    bins = bins_of(
        [part(side) for split_counts in known.values() for side in (split_counts.before, split_counts.after)]
    )
    shapes: list[Shape] = []
    bottom = 0.0
    for number, (split, split_counts) in enumerate(known.items()):
        top = number * (_HEAD + _PLOT + _GAP)
        bottom = top + _HEAD + _PLOT
        before, after = bins.counts[2 * number : 2 * number + 2]
        shapes += _heading(split, part(split_counts.after), split_counts.after.rows, top + 13)
        shapes += _strip(bins, unit, before, after, bottom)
    shapes += _axis(_plot(bins, (0, 1), bottom - _PLOT, bottom), bins, unit)
    label = f"{title}: {', '.join(known)}"
    return Drawing(title=title, label=label, high=bottom + FOOT, shapes=shapes)


def _heading(split: str, values: Histogram, rows: int, y: float) -> Iterator[Text]:
    """A split's name; how many values there are, the least, the largest and the mean one."""
    yield Text(0, y, split, size=LARGE, strong=True)
    if not values.total:
        yield Text(WIDTH - RIGHT, y, "none left", "end")
        return
    lows, highs = values.edges()
    least, largest, mean = lows[0], highs[-1], float((lows + highs) / 2 @ values.counts) / values.total
    note = f"{least:,} to {largest:,}, mean {mean:,.{0 if mean >= 100 else 1}f}"
    note = f"all {least:,}" if least == largest else note
    what = "examples" if values.total == rows else "in all"
    forms = (f"{values.total:,} {what}: {note}", f"{short(values.total)} {what}: {note}", note)
    room = WIDTH - RIGHT - 8 - width_of(split, LARGE, True)
    yield Text(WIDTH - RIGHT, y, next((form for form in forms if width_of(form) < room), ""), "end")


def _strip(
    bins: Bins, unit: str, before: NDArray[np.float64], after: NDArray[np.float64], bottom: float
) -> Iterator[Shape]:
    """The bars of one split: what is there, and above it what was there before."""
    most = max(float(before.max()), float(after.max()), 1.0)
    ticks = round_ticks(0, most, 4)
    plot = _plot(bins, (0, max(most, ticks[-1])), bottom - _PLOT, bottom)
    yield plot.level(0)
    yield from plot.levels(ticks[1:] or ticks, brief)
    whole, changed = float(after.sum()) or 1.0, not np.array_equal(before, after)
    lost, there = [], []
    for number, (was, now) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        tip = f"{bins.label(number)} {unit}: {now:,.0f} of {whole:,.0f} ({percent(now / whole)})"
        tip += f", {was:,.0f} before" if changed else ""
        if was > now:
            lost.append(_bar(plot, bins, number, (now, was), "lost", tip))
        if now:
            there.append(_bar(plot, bins, number, (0, now), "bar", tip))
    yield from (*lost, *there)


def _shares(split: str, title: str, unit: str, before: Histogram, after: Histogram) -> Drawing:
    """The share of each bin that is gone, below the line where there is more than before."""
    bins, lost = lost_shares(before, after)
    high, low = max(float(np.nanmax(lost)), 0.0), min(float(np.nanmin(lost)), 0.0)
    note, what = f"{split}: share of the examples that are gone", "fewer"
    if low < 0:
        note, what = f"{split}: how many fewer, below the line how many more", "fewer (blue: more)"
    ticks = round_ticks(low, high, 3, whole=False) if high > low else [0.0]
    bottom = _SPACE + 1.4 * _PLOT
    plot = _plot(bins, (min(low, ticks[0]), max(high, ticks[-1]) or 0.01), _SPACE, bottom)
    shapes: list[Shape] = [*plot.levels(ticks, lambda tick: f"{100 * tick:,.10g}%")]
    few, most = bins.number <= 12 and low >= 0, int(np.nanargmax(lost))
    for number, value in enumerate(lost.tolist()):
        if value == 0 or math.isnan(value):
            continue
        tip = f"{bins.label(number)} {unit}: {percent(abs(value))} {what}"
        ends = min(value, 0.0), max(value, 0.0)
        bar = _bar(plot, bins, number, ends, "lost" if value >= 0 else "bar", tip)
        shapes.append(bar)
        if value > 0 and (few or number == most):
            shapes.append(Text(bar.x + bar.wide / 2, bar.y - 4, percent(value), "middle"))
    shapes += _axis(plot, bins, unit)
    return Drawing(title=title, note=note, label=f"{title}, {note}", high=bottom + FOOT, shapes=shapes)


def _plot(bins: Bins, upwards: tuple[float, float], top: float, bottom: float) -> Plot:
    shift = 0.5 if bins.width == 1 else 0.0  # a bin of one value has it in its middle
    return Plot(across=(bins.first - shift, bins.stop - shift), upwards=upwards, top=top, bottom=bottom)


def _axis(plot: Plot, bins: Bins, unit: str) -> Iterator[Shape]:
    """The line that bars stand on, as many values below it as there is room for, and what they are."""
    yield plot.level(0, "faint")
    last = bins.stop - (bins.width == 1)
    widest = max(width_of(f"{bins.first:,}"), width_of(f"{last:,}")) + 12
    most = min((WIDTH - LEFT - RIGHT) / widest, 10, last - bins.first)
    for tick in round_ticks(bins.first, last, int(most)):
        words = f"{tick:,.0f}"
        if plot.x(tick) + width_of(words) / 2 <= WIDTH:
            yield plot.below(tick, words)
    yield plot.unit(unit)


def _bar(plot: Plot, bins: Bins, number: int, ends: tuple[float, float], colour: str, tip: str) -> Bar:
    """The bar of a bin between two heights; a little of it shows however low it is."""
    wide = (WIDTH - LEFT - RIGHT) / bins.number
    gap = min(1.0 if bins.number > 24 else 2.0, wide / 4)
    thick = min(wide - gap, _THICK)
    bottom = plot.y(ends[0])
    top = min(plot.y(ends[1]), bottom - 1.2)
    return Bar(LEFT + wide * number + (wide - thick) / 2, top, thick, bottom - top, colour, tip)


def key(meanings: Sequence[tuple[str, str]], x: float, y: float) -> Iterator[Shape]:
    """What colours mean, in a line, where no HTML says it."""
    for colour, words in meanings:
        yield Bar(x, y - 9, 9, 9, colour)
        yield Text(x + 14, y, words)
        x += 14 + width_of(words) + 8
