"""Charts as inline SVG: small, without a script, coloured by the page's own style sheet.

Classes: `bar` what is there, `lost` what was dropped, `axis`, `grid`, and of texts `name`, `note`, `tick`,
`unit`. Sizes are in the units of the view box, which is `WIDTH` wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from .bins import Bins, round_ticks
from .charts import Strip
from .figures import brief, percent

WIDTH = 340
_LEFT, _RIGHT = 42, 12
_HEAD, _PLOT, _GAP, _FOOT = 26, 66, 14, 36  # heights
_SPACE = 14  # for a label above the tallest bar
_CHARACTER = 6.2  # about the width of one in a tick's label


def element(tag: str, attributes: Mapping[str, object], *children: str) -> str:
    """An element; attributes are escaped, numbers written short; children are markup already."""
    words = "".join(f' {name}="{_written(value)}"' for name, value in attributes.items())
    return f"<{tag}{words}>{''.join(children)}</{tag}>"


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value))


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """A line of text, its base at y."""
    place = {"x": float(x), "y": float(y), "class": style}
    return element("text", place | ({} if anchor == "start" else {"text-anchor": anchor}), escape(words))


def histogram(bins: Bins, strips: Sequence[Strip], unit: str, title: str) -> str:
    """Strips one above the other: the same axis from side to side, an axis of its own upwards."""
    strip_height = _HEAD + _PLOT + _GAP
    height = len(strips) * strip_height + _FOOT - _GAP
    parts = [_strip(bins, each, strip_height * number, unit) for number, each in enumerate(strips)]
    parts.append(_axis(bins, height - _FOOT, unit))
    return _chart(height, title, parts)


def shares(bins: Bins, values: NDArray[np.float64], unit: str, title: str, what: str) -> str:
    """A share, 0..1 or below 0, for each bin of `bins`; NaN where there is none."""
    known = values[~np.isnan(values)]
    high, low = max(float(known.max(initial=0)), 0.0), min(float(known.min(initial=0)), 0.0)
    ticks = round_ticks(low, high, 3, whole=False) if high > low else [0.0]
    high, low = max(high, ticks[-1]) or 0.01, min(low, ticks[0])
    place = _upwards(low, high, _SPACE, _SPACE + 1.4 * _PLOT)
    parts = []
    for tick in ticks:
        parts.append(_grid(place(tick)))
        parts.append(text(_LEFT - 6, place(tick) + 3.5, f"{100 * tick:.3g}%", "tick", "end"))
    few = bins.number <= 12 and low >= 0
    for number, value in enumerate(values.tolist()):
        if value != value:
            continue
        x, wide = _across(bins, number)
        top, bottom = sorted((place(value), place(0.0)))
        tip = f"{bins.label(number)} {unit}: {percent(abs(value))} {what}"
        parts.append(_bar(x, top, wide, bottom - top, "lost" if value >= 0 else "bar", tip))
        if value > 0 and (few or value == known.max()):
            parts.append(text(x + wide / 2, top - 4, percent(value), "tick", "middle"))
    height = _SPACE + 1.4 * _PLOT + _FOOT
    parts.append(_axis(bins, height - _FOOT, unit))
    return _chart(height, title, parts)


def _chart(height: float, title: str, parts: Sequence[str]) -> str:
    box = {"viewBox": f"0 0 {WIDTH} {_written(float(height))}", "role": "img", "aria-label": title}
    return element("svg", box, *parts)


def _strip(bins: Bins, strip: Strip, above: float, unit: str) -> str:
    tallest = strip.counts if strip.before is None else np.maximum(strip.counts, strip.before)
    most = max(float(tallest.max()), 1.0)
    ticks = round_ticks(0, most, 4)
    place = _upwards(0, max(most, ticks[-1]), above + _HEAD, above + _HEAD + _PLOT)
    name = {"x": 0, "y": float(above + 13), "class": "name"}
    unit_of = element("tspan", {"class": "unit"}, escape(f" {strip.of}"))
    parts = [element("text", name, escape(strip.name), unit_of)]
    if strip.note:
        parts.append(text(WIDTH - _RIGHT, above + 13, strip.note, "note", "end"))
    for tick in ticks:
        parts.append(_grid(place(tick)))
        if tick or len(ticks) == 1:
            parts.append(text(_LEFT - 6, place(tick) + 3.5, brief(tick), "tick", "end"))
    whole = float(strip.counts.sum()) or 1.0
    for number, count in enumerate(strip.counts.tolist()):
        x, wide = _across(bins, number)
        before = None if strip.before is None else float(strip.before[number])
        tip = f"{bins.label(number)} {unit}: {count:,.0f} {strip.of} ({percent(count / whole)})"
        if before is not None:
            tip += f", {before:,.0f} before"
        if before is not None and before > count:
            parts.append(_bar(x, place(before), wide, place(count) - place(before), "lost", tip))
        if count:
            parts.append(_bar(x, place(count), wide, place(0) - place(count), "bar", tip))
    return "".join(parts)


def _axis(bins: Bins, y: float, unit: str) -> str:
    """The line below the bars, the values below it and what they are."""
    line = {"x1": _LEFT, "x2": WIDTH - _RIGHT, "y1": y, "y2": y, "class": "axis"}
    parts = [element("line", line)]
    scale = (WIDTH - _LEFT - _RIGHT) / (bins.number * bins.width)
    shift = 0.5 if bins.width == 1 else 0.0  # a bin of one value is labelled in its middle
    last = bins.stop - (bins.width == 1)
    widest = _CHARACTER * max(len(f"{bins.first:,}"), len(f"{last:,}")) + 12
    room = (WIDTH - _LEFT - _RIGHT) / widest
    for tick in round_ticks(bins.first, last, int(min(room, 10, last - bins.first))):
        x = _LEFT + (tick - bins.first + shift) * scale
        words = f"{tick:,.0f}"
        if x + _CHARACTER * len(words) / 2 <= WIDTH:
            parts.append(text(x, y + 15, words, "tick", "middle"))
    parts.append(text((WIDTH + _LEFT - _RIGHT) / 2, y + 31, unit, "unit", "middle"))
    return "".join(parts)


def _across(bins: Bins, number: int) -> tuple[float, float]:
    """Where a bin's bar begins and how wide it is."""
    wide = (WIDTH - _LEFT - _RIGHT) / bins.number
    gap = min(1.0 if bins.number > 24 else 2.0, wide / 4)
    thick = min(wide - gap, 44.0)
    return _LEFT + wide * number + (wide - thick) / 2, thick


def _upwards(low: float, high: float, top: float, bottom: float) -> Callable[[float], float]:
    """A value's place: `low` at the bottom, `high` at the top."""
    return lambda value: bottom - (value - low) / (high - low) * (bottom - top)


def _grid(y: float) -> str:
    return element(
        "line", {"x1": _LEFT, "x2": WIDTH - _RIGHT, "y1": float(y), "y2": float(y), "class": "grid"}
    )


def _bar(x: float, y: float, wide: float, high: float, style: str, tip: str) -> str:
    place = {"x": float(x), "y": float(y), "width": float(wide), "height": float(max(high, 0.6))}
    return element("rect", place | {"class": style}, element("title", {}, escape(tip)))
