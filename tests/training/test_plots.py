"""`ostraca plot`: same colours and axes, readable labels, clear refusals."""

import itertools
import math
from pathlib import Path

import matplotlib.image
import pytest
from harness.words import over
from hypothesis import given
from hypothesis import strategies as st

from ostraca.cli import compose
from ostraca.tasks.errors import OstracaError
from ostraca.training import plots
from ostraca.training.record import read_metrics


def write(folder: Path, hops: list[int], header: str = "step,examples_seen,hop,accuracy") -> Path:
    folder.mkdir()
    lines = [header, *(f"{step},{8 * step},{hop},{step / 100}" for step in (0, 50, 90) for hop in hops)]
    (folder / "depo_hop_metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_draws_two_runs_from_the_first_four_columns(tmp_path: Path) -> None:
    runs = [write(tmp_path / "a", [1, 2]), write(tmp_path / "b", [1, 2, 16])]
    out = tmp_path / "deep" / "picture.png"
    plots.run(compose("plot", [f"runs=[{runs[0]},{runs[1]}]", f"out={out}", "labels=[one,two]"]))
    assert matplotlib.image.imread(out).shape[:2] == (500, 1200)
    assert out.stat().st_size < 100_000


def test_curves_are_read_by_hop(tmp_path: Path) -> None:
    read = plots.read_curve(write(tmp_path / "a", [2, 1]))
    assert read.label == "a"
    assert list(read.hops) == [1, 2]
    assert [point[:2] for point in read.hops[2]] == [(0, 0.0), (50, 0.5), (90, 0.9)]
    assert math.isnan(read.chance)
    assert (read.last_step, read.last_examples) == (90, 720)


def test_colours_are_distinct() -> None:
    for count in range(1, 9):
        assert len(set(plots.hop_colours(count))) == count


@given(st.lists(st.floats(0, 100), max_size=12))
def test_labels_keep_their_order_and_distance(places: list[float]) -> None:
    spaced = plots.spread(places, 5.0)
    order = sorted(range(len(places)), key=lambda each: places[each])
    for low, high in itertools.pairwise(order):
        assert spaced[high] - spaced[low] >= 5.0 - 1e-9
    if all(places[b] - places[a] >= 5.0 for a, b in itertools.pairwise(order)):
        assert spaced == pytest.approx(places)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: write(path, [1], header="a,b,c,d"), "not a hop curve"),
        (lambda path: write(path, []), "no rows yet"),
    ],
)
def test_what_is_no_curve_is_refused(make: object, line: str, tmp_path: Path) -> None:
    make(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(OstracaError, match=line):
        read_metrics(tmp_path / "run" / "depo_hop_metrics.csv")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["runs=[]"], "runs must be folders"),
        (["labels=[x,y]"], "a list of 1 titles"),
        (["out=x.foo"], "cannot be drawn"),
    ],
)
def test_wrong_calls_are_refused(overrides: list[str], line: str, tmp_path: Path) -> None:
    run = write(tmp_path / "a", [1])
    with pytest.raises(OstracaError, match=line):
        plots.run(compose("plot", over(f"runs=[{run}]", *overrides)))
