"""A chart as a few shapes in one coordinate system: all that the page (as SVG) and the PNGs need to draw it.

x grows to the right and y downwards, from the upper left corner; units are those of a chart `WIDTH` wide.
Colours are names in the style sheet: bar, read, lost, line, faint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

WIDTH = 340.0
LEFT, RIGHT = 42.0, 12.0  # beside what is plotted: room for numbers
FOOT = 36.0  # below it: numbers, and what they count
SIZE, LARGE, TITLE = 11.0, 12.0, 14.0  # of texts; TITLE only where no HTML has the title
_CHARACTER, _STRONG = 0.58, 0.68  # about the width of one, by its text's size


@dataclass(frozen=True)
class Line:
    """A thin line from one point to another."""

    tag: ClassVar = "line"
    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = "line"


@dataclass(frozen=True)
class Bar:
    """A filled rectangle; tip: what it says to whoever points at it."""

    tag: ClassVar = "rect"
    x: float
    y: float
    wide: float
    high: float
    colour: str = "bar"
    tip: str = ""


@dataclass(frozen=True)
class Dot:
    """A filled circle round a point."""

    tag: ClassVar = "circle"
    RADIUS: ClassVar = 2.5
    x: float
    y: float
    colour: str = "bar"
    tip: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text, its base at y; anchor: which part of it is at x. Strong: bold, and in ink."""

    tag: ClassVar = "text"
    x: float
    y: float
    words: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: float = SIZE
    strong: bool = False


Shape = Line | Bar | Dot | Text


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Shapes, the later ones upon the earlier; label: what they show, for those who cannot see it."""

    title: str
    note: str = ""
    label: str
    wide: float = WIDTH
    high: float
    shapes: Sequence[Shape]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Where values lie in a chart: (least, most) from left to right, and from bottom to top."""

    across: tuple[float, float]
    upwards: tuple[float, float]
    top: float
    bottom: float

    def x(self, value: float) -> float:
        """The place of a value across."""
        low, high = self.across
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """The height of a value."""
        low, high = self.upwards
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def level(self, value: float, colour: str = "line") -> Line:
        """A line from side to side."""
        return Line(LEFT, self.y(value), WIDTH - RIGHT, self.y(value), colour)

    def levels(self, ticks: Sequence[float], written: Callable[[float], str]) -> Iterator[Shape]:
        """A line for each value, and its number beside it."""
        yield from map(self.level, ticks)
        for tick in ticks:
            yield Text(LEFT - 6, self.y(tick) + 3.5, written(tick), "end")

    def below(self, value: float, words: str) -> Text:
        """What a value across is called."""
        return Text(self.x(value), self.bottom + 15, words, "middle")

    def unit(self, words: str) -> Text:
        """What all values across count."""
        return Text((LEFT + WIDTH - RIGHT) / 2, self.bottom + 31, words, "middle")


def width_of(words: str, size: float = SIZE, strong: bool = False) -> float:
    """About how wide a text is: no font is asked, since the page's reader brings it."""
    return (_STRONG if strong else _CHARACTER) * size * len(words)
