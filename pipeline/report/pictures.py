"""The charts of the report as PNGs, for places that show no HTML; made where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .bins import Bins, round_ticks
from .charts import Chart, charts_of
from .figures import brief, figures_of, of_texts, percent, short, total

MIXTURE = "report/mixture.png"
_INK, _FAINT, _GRID = "#1d2127", "#636b75", "#dfe3e8"
_BAR, _READ, _LOST = "#0072b2", "#a9cfe8", "#d55e00"
_FONT = {"font.family": "DejaVu Sans", "font.size": 9.0, "axes.edgecolor": _FAINT}
_COLUMNS, _WIDE, _HIGH = 3, 3.5, 0.8  # charts in a line; inches of each, and of a panel in it


def picture_of(dataset: str) -> str:
    """The path of a dataset's picture."""
    return f"report/dataset-{dataset}.png"


def draw_pictures(
    manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]
) -> Iterator[tuple[str, bytes]]:
    """(path, PNG) of the tokens of several datasets, of each one's distributions; none without matplotlib."""
    if find_spec("matplotlib") is None:
        return
    from matplotlib import rc_context

    datasets = list(manifest["spec"]["datasets"])
    with rc_context(_FONT):
        if len(datasets) > 1:
            yield MIXTURE, _png(_mixture(manifest, statistics))
        for dataset in datasets:
            counts = {
                key[1]: statistics[key] for key in figures_of(manifest, statistics) if key[0] == dataset
            }
            unit = "bytes" if of_texts(manifest, dataset) else "tokens"
            charts = charts_of(counts, unit)
            if charts:
                yield picture_of(dataset), _png(_distributions(charts))


def _figure(wide: float, high: float) -> Any:
    # Objects of our own rather than pyplot: no window system is looked for, no global state changes.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide, high))
    FigureCanvasAgg(figure)
    return figure


def _panel(figure: Any, left: float, top: float, wide: float, high: float) -> Any:
    """Axes at a place in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def _mixture(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> Any:
    """A bar for each dataset: its tokens, what is learned of them darker."""
    figures, datasets = figures_of(manifest, statistics), list(manifest["spec"]["datasets"])
    sums = [total(each for key, each in figures.items() if key[0] == dataset) for dataset in datasets]
    every = total(sums)
    high, names = 0.36 * len(datasets), 0.09 * max(map(len, datasets)) + 0.2
    figure = _figure(_WIDE * _COLUMNS, high + 0.6)
    panel = _panel(figure, names, 0.4, _WIDE * _COLUMNS - names - 0.1, high)
    places = range(len(datasets))
    learned = [each.tokens * each.learned_share for each in sums]
    read = [each.tokens - part for each, part in zip(sums, learned, strict=True)]
    panel.barh(places, learned, color=_BAR, height=0.66)
    panel.barh(places, read, left=learned, color=_READ, height=0.66)
    for place, each in zip(places, sums, strict=True):
        words = f"{short(each.tokens)}  ({percent(each.tokens / max(every.tokens, 1))})"
        offset = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "color": _INK}
        panel.annotate(words, (each.tokens, place), **offset)
    panel.set_yticks(places, datasets, color=_INK)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.16 * max(max(each.tokens for each in sums), 1))
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_title("Tokens: dark, in the loss; light, only read", loc="left", color=_FAINT, fontsize=9)
    return figure


def _distributions(charts: list[Chart]) -> Any:
    """A chart a cell, of which each split is a panel."""
    lines, columns = -(-len(charts) // _COLUMNS), min(len(charts), _COLUMNS)
    strips = max(len(chart.strips) for chart in charts)
    cell = 0.75 + strips * (_HIGH + 0.3)
    figure = _figure(_WIDE * columns, lines * cell)
    for number, chart in enumerate(charts):
        line, column = divmod(number, _COLUMNS)
        left, top = column * _WIDE + 0.1, line * cell + 0.1
        place = (left / figure.get_figwidth(), 1 - top / figure.get_figheight())
        figure.text(*place, chart.title, va="top", fontsize=10, fontweight="bold", color=_INK)
        if any(strip.before is not None for strip in chart.strips):
            right = (left + _WIDE - 0.25) / figure.get_figwidth()
            words = "orange: gone as duplicates"
            figure.text(right, place[1], words, va="top", ha="right", fontsize=8, color=_LOST)
        for at, strip in enumerate(chart.strips):
            above = top + 0.45 + at * (_HIGH + 0.3)
            panel = _panel(figure, left + 0.5, above, _WIDE - 0.75, _HIGH)
            _draw(panel, chart.bins, strip.counts, strip.before)
            panel.set_title(f"{strip.name} ({strip.of})", loc="left", fontsize=8.5, color=_INK, pad=3)
            panel.set_title(strip.note, loc="right", fontsize=8, color=_FAINT, pad=3)
            if at < len(chart.strips) - 1:
                panel.set_xticklabels([])
        panel.set_xlabel(chart.unit, color=_FAINT, fontsize=8)
    return figure


def _draw(panel: Any, bins: Bins, counts: NDArray[np.float64], before: NDArray[np.float64] | None) -> None:
    shift = 0.5 if bins.width == 1 else 0.0  # a bin of one value has it in its middle
    edges = bins.first - shift + bins.width * np.arange(bins.number + 1)
    gap = bins.width * (0.05 if bins.number > 24 else 0.03)
    sides = np.stack([edges[:-1] + gap, edges[1:] - gap], axis=1).ravel()
    for heights, colour in ((before, _LOST), (counts, _BAR)):
        if heights is not None:  # one shape for all bars: a rectangle each takes several times as long
            bars = np.stack([heights, np.zeros(bins.number)], axis=1).ravel()[:-1]
            panel.stairs(bars, sides, fill=True, color=colour, linewidth=0)
    tallest = max(float(counts.max()), 0.0 if before is None else float(before.max()), 1.0)
    ticks = round_ticks(0, tallest, 4)
    panel.set_yticks(ticks, [brief(tick) for tick in ticks])
    across = round_ticks(bins.first, bins.stop - (bins.width == 1), 6)
    panel.set_xticks(across, [f"{tick:,.0f}" for tick in across])
    panel.set_xlim(edges[0], edges[-1])
    panel.set_ylim(0, max(tallest, ticks[-1]))
    panel.grid(axis="y", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_FAINT, length=0, labelsize=8)
    for side in ("top", "left", "right"):
        panel.spines[side].set_visible(False)
