"""The charts of the report as PNGs, for places that show no HTML; made where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from typing import Any

from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .charts import GONE, LEARNED, Row, charts_of, has_lost, key, mixture
from .drawing import LARGE, TITLE, WIDTH, Bar, Dot, Drawing, Line, Shape, Text, width_of
from .figures import figures_of, split_counts, sums_of, unit_of
from .render import colours

MIXTURE = "report/mixture.png"
_COLUMNS = 3  # charts in a line
_INCHES = 3.5 / WIDTH  # of a unit
_MARGIN, _SPACE = 12.0, 28.0  # round all charts, and between them
_ALIGNED = {"start": "left", "middle": "center", "end": "right"}


def picture_of(dataset: str) -> str:
    """The path of a dataset's picture."""
    return f"report/dataset-{dataset}.png"


def draw_pictures(
    manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]
) -> Iterator[tuple[str, bytes]]:
    """(path, PNG) of the tokens of several datasets, of each one's distributions; none without matplotlib."""
    if find_spec("matplotlib") is None:
        return
    datasets = list(manifest["spec"]["datasets"])
    if len(datasets) > 1:
        rows = mixture(sums_of(figures_of(manifest, statistics)))
        yield MIXTURE, png_of([(0, 0, _bars(rows))])
    for dataset in datasets:
        counts = split_counts(manifest, statistics, dataset)
        charts = charts_of(counts, unit_of(manifest, dataset))
        if charts:
            yield picture_of(dataset), png_of([*_grid(charts, any(map(has_lost, counts.values())))])


def _bars(rows: Sequence[Row]) -> Drawing:
    """The mixture as one chart: names, bars and numbers in a line each."""
    wide, step = _COLUMNS * WIDTH, 28.0
    left = max(width_of(row.name, LARGE, True) for row in rows) + 10
    scale = (wide - left - 110) / 100
    shapes: list[Shape] = [*key(LEARNED, left, 12)]
    for number, row in enumerate(rows):
        y, end = 26 + step * number, left
        shapes.append(Text(left - 8, y + 14, row.name, "end", LARGE, True))
        for bar in row.drawing.shapes:
            assert isinstance(bar, Bar)
            end = left + (bar.x + bar.wide) * scale
            shapes.append(Bar(left + bar.x * scale, y, bar.wide * scale, 20, bar.colour))
        shapes.append(Text(end + 8, y + 14, f"{row.tokens}  ({row.share})", size=LARGE))
    return Drawing(title="", label="", wide=wide, high=18 + step * len(rows), shapes=shapes)


def _grid(charts: Sequence[Drawing], lost: bool) -> Iterator[tuple[float, float, Drawing]]:
    """Where each chart stands: below its title, some in a line."""
    top, columns = 0.0, min(len(charts), _COLUMNS)
    if lost:
        meaning = [*key(GONE, 0, 12)]
        yield 0, 0, Drawing(title="", label="", high=12, shapes=meaning)
        top = 12 + _SPACE
    for start in range(0, len(charts), columns):
        line = charts[start : start + columns]
        for column, chart in enumerate(line):
            right = column * (WIDTH + _SPACE)
            title = [Text(0, TITLE, chart.title, size=TITLE, strong=True)]
            yield right, top, Drawing(title="", label="", high=TITLE, shapes=title)
            yield right, top + TITLE + 8, chart
        top += TITLE + 8 + max(chart.high for chart in line) + _SPACE


def png_of(placed: Sequence[tuple[float, float, Drawing]]) -> bytes:
    """Drawings, each with the place of its upper left corner (right, down), as one PNG."""
    # Objects of our own rather than pyplot: no window system is looked for, no global state changes.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = max(x + drawing.wide for x, _, drawing in placed) + 2 * _MARGIN
    high = max(y + drawing.high for _, y, drawing in placed) + 2 * _MARGIN
    palette, file = colours(), io.BytesIO()
    with rc_context({"font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(wide * _INCHES, high * _INCHES))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), axisbelow=False)
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(high, 0))
        for x, y, drawing in placed:
            # All of one kind and colour at once: a bar each would take several times as long.
            for (_, colour), group in groupby(drawing.shapes, _kind):
                _draw(axes, (x + _MARGIN, y + _MARGIN), list(group), palette[colour])
        figure.savefig(file, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def _kind(shape: Shape) -> tuple[str, str]:
    if isinstance(shape, Text):
        return shape.tag, "ink" if shape.strong else "faint"
    return shape.tag, shape.colour


def _draw(axes: Any, corner: tuple[float, float], shapes: Sequence[Any], colour: str) -> None:
    """Shapes of one kind and colour, upon what is there already."""
    from matplotlib.collections import LineCollection, PolyCollection

    right, down = corner
    points, order = 72 * _INCHES, len(axes.get_children())
    if isinstance(shapes[0], Line):
        ends = [[(line.x1 + right, line.y1 + down), (line.x2 + right, line.y2 + down)] for line in shapes]
        axes.add_collection(LineCollection(ends, colors=colour, linewidths=points, zorder=order))
    elif isinstance(shapes[0], Bar):
        boxes = [(bar.x + right, bar.y + down, bar.wide, bar.high) for bar in shapes]
        corners = [[(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)] for x, y, wide, high in boxes]
        axes.add_collection(PolyCollection(corners, facecolors=colour, linewidths=0, zorder=order))
    elif isinstance(shapes[0], Dot):
        places = [[dot.x + right for dot in shapes], [dot.y + down for dot in shapes]]
        axes.scatter(*places, s=(2 * Dot.RADIUS * points) ** 2, color=colour, linewidths=0, zorder=order)
    else:
        for text in shapes:
            style = {"color": colour, "fontsize": text.size * points, "zorder": order, "parse_math": False}
            style |= {"ha": _ALIGNED[text.anchor], "fontweight": "bold" if text.strong else "normal"}
            axes.text(text.x + right, text.y + down, text.words, va="baseline", **style)
