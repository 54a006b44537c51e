"""The charts of the report as PNGs, for places that show no HTML; made where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from pipeline.report.bins import Bins, round_ticks
from pipeline.report.charts import Chart, charts_of
from pipeline.report.figures import Key, brief, figures_of, of_texts, percent, short, total
from pipeline.statistics import Counts

MIXTURE = "report/mixture.png"
_INK, _FAINT, _GRID = "#1d2127", "#636b75", "#dfe3e8"
_BAR, _READ, _LOST = "#0072b2", "#a9cfe8", "#d55e00"
_FONT = {"font.family": "DejaVu Sans", "font.size": 9.0, "axes.edgecolor": _FAINT}
_COLUMNS, _WIDE = 3, 3.5  # charts in a line; inches of each


def picture_of(dataset: str) -> str:
    """The path of a dataset's picture."""
    return f"report/dataset-{dataset}.png"


def draw_pictures(
    manifest: Mapping[str, Any], statistics: Mapping[Key, Counts]
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
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06, wspace=0.04, hspace=0.03)
    figure = Figure(figsize=(wide, high), layout=engine)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def _mixture(manifest: Mapping[str, Any], statistics: Mapping[Key, Counts]) -> Any:
    """A bar for each dataset: its tokens, what is learned of them darker."""
    figures, datasets = figures_of(manifest, statistics), list(manifest["spec"]["datasets"])
    sums = [total(each for key, each in figures.items() if key[0] == dataset) for dataset in datasets]
    every = total(sums)
    figure = _figure(9, 0.9 + 0.36 * len(datasets))
    panel = figure.subplots()
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
    panel.set_title("Tokens: dark, learned; light, only read", loc="left", color=_FAINT, fontsize=9)
    return figure


def _distributions(charts: list[Chart]) -> Any:
    """A chart a cell, of which each split is a panel."""
    lines = -(-len(charts) // _COLUMNS)
    columns = min(len(charts), _COLUMNS)
    strips = max(len(chart.strips) for chart in charts)
    figure = _figure(_WIDE * columns, lines * (0.75 + 1.05 * strips))
    grid = figure.subfigures(lines, columns, squeeze=False)
    for number, chart in enumerate(charts):
        cell = grid[number // _COLUMNS][number % _COLUMNS]
        gone = any(strip.before is not None for strip in chart.strips)
        title = f"{chart.title} (orange: gone as duplicates)" if gone else chart.title
        cell.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=_INK)
        panels = cell.subplots(strips, 1, sharex=True, squeeze=False)[:, 0]
        for panel, strip in zip(panels, chart.strips, strict=False):
            _draw(panel, chart.bins, strip.counts, strip.before)
            panel.set_title(strip.name, loc="left", fontsize=8.5, color=_INK, pad=3)
            panel.set_title(strip.note, loc="right", fontsize=8, color=_FAINT, pad=3)
            panel.set_ylabel(strip.of, color=_FAINT, fontsize=8)
        for panel in panels[len(chart.strips) :]:
            panel.set_visible(False)
        panels[len(chart.strips) - 1].set_xlabel(chart.unit, color=_FAINT, fontsize=8)
    return figure


def _draw(panel: Any, bins: Bins, counts: Any, before: Any) -> None:
    middle = 0.0 if bins.width == 1 else bins.width / 2
    places = [bins.first + number * bins.width + middle for number in range(bins.number)]
    thick = bins.width * (0.9 if bins.number > 24 else 0.94)
    if before is not None:
        panel.bar(places, before, width=thick, color=_LOST)
    panel.bar(places, counts, width=thick, color=_BAR)
    tallest = max(float(counts.max()), float(before.max()) if before is not None else 0.0, 1.0)
    ticks = round_ticks(0, tallest, 4)
    panel.set_yticks(ticks, [brief(tick) for tick in ticks])
    across = round_ticks(bins.first, bins.stop - (bins.width == 1), 6)
    panel.set_xticks(across, [f"{tick:,.0f}" for tick in across])
    panel.set_xlim(places[0] - bins.width / 2, places[-1] + bins.width / 2)
    panel.grid(axis="y", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_FAINT, length=0, labelsize=8)
    for side in ("top", "left", "right"):
        panel.spines[side].set_visible(False)
