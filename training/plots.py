"""`ostraca plot`: the hop curves of one or more runs, side by side in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..pipeline.store.atomic import plain_errors
from ..tasks.core.paths import local_path
from ..tasks.errors import ConfigError, OstracaError, check_path, shown
from .record import read_metrics

METRICS = "depo_hop_metrics.csv"
# Shallow to deep hops, dark to light: told apart by lightness alone, so also by colour-blind readers.
_COLOURS = ("#1d2671", "#1f6fb2", "#18a39b", "#79b943", "#eda31d", "#e4572e")
_INK, _FAINT, _GRID = "#22262b", "#6b737c", "#e7eaee"


class Point(NamedTuple):
    """A score, 0..1, and the band around it: 95 % of one run's error, or from the least seed to the best."""

    step: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One run, or one with several seeds: hop -> its points in order of steps."""

    label: str
    hops: Mapping[int, Sequence[Point]]
    chance: float  # NaN where the CSV does not say
    last_step: float
    last_examples: float


def run(config: Mapping[str, Any]) -> None:
    """Draw `config["runs"]` into `config["out"]`; see conf/plot.yaml."""
    runs, labels = config["runs"], config["labels"]
    runs = [runs] if isinstance(runs, str) else runs
    if not isinstance(runs, list) or not runs or not all(isinstance(run, (str, int)) for run in runs):
        raise ConfigError("runs must be folders that `ostraca curve` wrote, e.g. runs=[runs/a,runs/b]")
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(runs) or None in labels):
        raise ConfigError(f"labels={shown(labels)} must be a list of {len(runs)} titles, one a run, or null")
    draw_runs([str(run) for run in runs], check_path("out", config["out"]), labels)
    print(f"wrote {config['out']}")


def read_curve(folder: Path | str, label: str | None = None, seeds: Sequence[Path] | None = None) -> Curve:
    """Read what `ostraca curve` wrote to `folder`; OstracaError where it is not there.

    Of a run with several seeds, whose folders seed-N lie in it (or are `seeds`), points are their means, at
    the steps that all of them have.
    """
    folder = local_path(folder)
    title = label or folder.resolve().name
    if seeds is None:
        seeds = sorted(path.parent for path in folder.glob(f"seed-*/{METRICS}"))
        if (folder / METRICS).exists() or not seeds:
            return _one(folder, title)
    curves = [_one(seed, title) for seed in seeds]
    hops = {
        hop: _mean([curve.hops[hop] for curve in curves])
        for hop in curves[0].hops
        if all(hop in curve.hops for curve in curves)
    }
    if not any(hops.values()):
        raise OstracaError(
            f"{folder}: its seeds have no step and hop in common; they are no runs of one call"
        )
    last = max(points[-1].step for points in hops.values() if points)
    return replace(curves[0], label=f"{title}, {len(seeds)} seeds", hops=hops, last_step=last)


def _one(folder: Path, label: str) -> Curve:
    """The curve of one run."""
    rows = read_metrics(folder / METRICS)
    hops: dict[int, list[Point]] = {}
    for row in rows:
        wide = 1.96 * row.get("standard_error", math.nan)
        accuracy = row["accuracy"]
        point = Point(row["step"], accuracy, accuracy - wide, accuracy + wide)
        hops.setdefault(int(row["hop"]), []).append(point)
    last = rows[-1]
    return Curve(
        label=label,
        hops={hop: sorted(hops[hop]) for hop in sorted(hops)},
        chance=last.get("chance", math.nan),
        last_step=last["step"],
        last_examples=last["examples_seen"],
    )


def _mean(runs: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean of runs that differ in their seeds, and their range."""
    at = [{point.step: point.accuracy for point in points} for points in runs]
    found = []
    for step in sorted(set.intersection(*(set(one) for one in at))):
        scores = [one[step] for one in at]
        found.append(Point(step, math.fsum(scores) / len(scores), min(scores), max(scores)))
    return found


def draw_runs(folders: Sequence[Path | str], out: Path | str, labels: Sequence[str] | None = None) -> None:
    """`draw_curves` of what lies in these folders."""
    draw_curves(
        [
            read_curve(folder, str(labels[number]) if labels else None)
            for number, folder in enumerate(folders)
        ],
        out,
    )


def draw_curves(curves: Sequence[Curve], out: Path | str) -> None:
    """One panel a run: a line a hop, its colour the same in all panels, chance dashed.

    OstracaError where a run cannot be read or `out` has an ending that cannot be drawn.
    """
    # Objects of our own rather than pyplot: no window system is looked for, no global state changes.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    out = local_path(out)
    hops = sorted({hop for curve in curves for hop in curve.hops})
    colours = dict(zip(hops, hop_colours(len(hops)), strict=True))
    width = 12 if len(curves) == 2 else max(7.5, 5 * len(curves))
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12, wspace=0.03)
    figure = Figure(figsize=(width, 5), layout=layout)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves), sharey=True, sharex=True, squeeze=False)[0]
    end = max(curve.last_step for curve in curves) or 1.0
    for panel, curve in zip(panels, curves, strict=True):
        _draw_panel(panel, curve, colours, end)
    panels[0].set_ylabel("answers exactly right", color=_FAINT, fontsize=12, labelpad=8)
    try:
        with plain_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(out, dpi=100, facecolor="white")
    except ValueError as error:
        raise OstracaError(f"out={out} cannot be drawn ({error}); use .png, .svg or .pdf") from error


def hop_colours(count: int) -> list[str]:
    """`count` colours from the first to the last of the palette, evenly spread."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    if count <= 2:
        return [_COLOURS[1], _COLOURS[-1]][:count]
    scale = LinearSegmentedColormap.from_list("hops", _COLOURS)
    return [to_hex(scale(number / (count - 1))) for number in range(count)]


def _draw_panel(panel: Any, curve: Curve, colours: Mapping[int, str], end: float) -> None:
    labels: list[tuple[float, str, str]] = []  # (accuracy, text, colour)
    for hop, points in curve.hops.items():
        steps = [point.step for point in points]
        percent = [100 * point.accuracy for point in points]
        low, high = [100 * point.low for point in points], [100 * point.high for point in points]
        panel.fill_between(steps, low, high, color=colours[hop], alpha=0.13, linewidth=0)
        panel.plot(
            steps,
            percent,
            color=colours[hop],
            linewidth=2.4,
            marker="o",
            markersize=4.5 if len(steps) <= 30 else 0,
            solid_capstyle="round",
            clip_on=False,
            zorder=3,
        )
        plural = "hop" if hop == 1 else "hops"
        labels.append((percent[-1], f"{hop} {plural}  {percent[-1]:.0f}%", colours[hop]))
    if not math.isnan(curve.chance):
        panel.axhline(100 * curve.chance, color=_FAINT, linewidth=1.3, linestyle=(0, (4, 3)), zorder=2)
        percent_chance = 100 * curve.chance
        digits = 0 if percent_chance >= 2 else 1
        labels.append((percent_chance, f"chance  {percent_chance:.{digits}f}%", _FAINT))
    for place, (_, text, colour) in zip(spread([label[0] for label in labels], 5.6), labels, strict=True):
        panel.annotate(
            text,
            (curve.last_step, place),
            xytext=(11, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=12.5,
            fontweight="normal" if colour == _FAINT else "bold",
            annotation_clip=False,
        )
    panel.set_title(curve.label, loc="left", fontsize=16, fontweight="bold", color=_INK, pad=14)
    panel.set_xlim(0, end)
    panel.set_ylim(0, 100)
    panel.set_yticks(range(0, 101, 20), [f"{percentage}%" for percentage in range(0, 101, 20)])
    panel.xaxis.set_major_locator(_locator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_xlabel(
        f"training steps ({_short(curve.last_examples)} examples in all)",
        color=_FAINT,
        fontsize=12,
        labelpad=8,
    )
    panel.grid(axis="y", color=_GRID, linewidth=1)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_FAINT, length=0, labelsize=11.5, pad=6)
    for side in ("top", "left", "right"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color("#c3c9d0")


def _locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=True)


def _short(count: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The nearest places that lie `gap` apart or more, in the same order: touching ones move as a block."""
    order = sorted(range(len(places)), key=lambda name: places[name])
    blocks: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        blocks.append([index])
        centres.append(places[index])
        while len(blocks) > 1:
            room = gap * (len(blocks[-2]) + len(blocks[-1])) / 2
            if centres[-1] - centres[-2] >= room:
                break
            blocks[-2:] = [blocks[-2] + blocks[-1]]
            centres[-2:] = [sum(places[name] for name in blocks[-1]) / len(blocks[-1])]
    spaced = [0.0] * len(places)
    for block, centre in zip(blocks, centres, strict=True):
        for number, index in enumerate(block):
            spaced[index] = centre + gap * (number - (len(block) - 1) / 2)
    return spaced
