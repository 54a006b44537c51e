"""`ostraca diff`: where two corpora differ, on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...tasks.errors import check_integer, check_path, shown
from ..check.compare import SHORT, Comparison, Example, compare
from ..spec.differences import NONE


def run(config: Mapping[str, Any]) -> int:
    """`ostraca diff`: see conf/diff.yaml."""
    path, other = (check_path(f"diff: {key}", config[key]) for key in ("path", "other"))
    context = check_integer("diff: context", config["context"], -1)
    comparison = compare(path, other)
    console = Console(highlight=False)
    for line in _report(path, other, comparison, context, console.is_terminal):
        console.print(line)
    return 0 if comparison.same else 1


def _report(
    path: str, other: str, comparison: Comparison, context: int, color: bool
) -> Iterator[str | Text | Table]:
    if comparison.differences:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("differs in", "", "path", "other"):
            table.add_column(heading, overflow="fold")
        for difference in comparison.differences:
            table.add_row(
                *(
                    Text(cell)
                    for cell in (difference.what, difference.where, difference.path, difference.other)
                )
            )
        yield table
        yield ""
    yield from (Text(note) for note in comparison.notes)
    if comparison.example is not None:
        yield from _show(comparison.example, context, color)
        yield ""
    if comparison.same:
        apart = sorted({difference.what for difference in comparison.differences} - {"content"})
        also = f"; they differ in {', '.join(apart)} alone" if apart else ", and so is all else"
        yield Text(f"the examples of {path} and {other} are the same{also}")
        yield Text(f"content digest {comparison.content_digest}")
    else:
        yield Text(f"the examples of {path} and {other} are not the same")


def _show(example: Example, context: int, color: bool) -> Iterator[Text | Table]:
    """Both sides of an example: the tokens or texts around the first that differs, and the other columns."""
    yield Text(
        f"first example that differs: {example.dataset}/{example.split}, example {example.index:,}", "bold"
    )
    sides = (example.path, example.other)
    if not all(sides):
        has, lacks = ("path", "other") if sides[0] else ("other", "path")
        yield Text(f"it is in {has} alone: {lacks} has dropped it as a duplicate")
    content = next((name for name in ("input_ids", "text") if all(name in side for side in sides)), None)
    if content is not None:
        a, b = (side[content] for side in sides)
        place = _parting(a, b)
        unit = "token" if content == "input_ids" else "character"
        if place is None:
            yield Text(f"its {len(a):,} {unit}s are equal")
        else:
            yield Text(f"{len(a):,} and {len(b):,} {unit}s; {unit} {place:,} is the first that differs")
            for label, values, names in (
                ("path", a, example.path_names),
                ("other", b, example.other_names),
            ):
                yield _around(label, values, names, place, context, color)
            if content == "input_ids":
                marked = [_token(a, place, example.path_names), _token(b, place, example.other_names)]
                yield Text(f"token {place:,}: {marked[0]} | {marked[1]}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("column", "path", "other"):
        table.add_column(heading, overflow="fold")
    for name in (*example.path, *(name for name in example.other if name not in example.path)):
        if name != content and (name not in example.path or example.path[name] != example.other.get(name)):
            table.add_row(*(Text(cell) for cell in (name, *_cells(name, *sides))))
    if table.row_count:
        yield table


def _parting(left: Sequence[Any], right: Sequence[Any]) -> int | None:
    """The first place in which two lists or texts differ, the end of the shorter one too."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return None if len(left) == len(right) else min(len(left), len(right))


def _around(
    label: str, values: Sequence[Any], names: Mapping[int, str], place: int, context: int, color: bool
) -> Text:
    """The tokens (or the text) around a place, which is red, or between angles where there is no colour."""
    words = isinstance(values, str)
    if words and context >= 0:
        context *= 4  # letters of a token, or so
    first = 0 if context < 0 else max(0, place - context)
    last = len(values) if context < 0 else min(len(values), place + context + 1)
    gap = "" if words else " "
    text = Text(f"{label:<6}{'…' if first else ''}")
    for at in range(first, max(last, place + 1)):
        name = (values[at] if words else names.get(values[at], str(values[at]))) if at < last else "(end)"
        text.append(gap)
        if at == place:
            text.append(name if color else f">>{name}<<", "bold red")
        else:
            text.append(name)
    if last < len(values):
        text.append(f"{gap}…")
    return text


def _token(values: Sequence[int], place: int, names: Mapping[int, str]) -> str:
    if place >= len(values):
        return "(end)"
    return f"{names.get(values[place], 'no name')} (id {values[place]})"


def _cells(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """What both sides have in a column that differs; of a long list its length and where it differs."""
    values = [side.get(name, NONE) for side in (left, right)]
    if not all(isinstance(value, list) for value in values) or max(map(len, values)) <= SHORT:
        return [shown(value) if isinstance(value, list) else str(value)[:200] for value in values]
    place = _parting(*values)
    assert place is not None
    return [
        f"{value[place] if place < len(value) else '(end)'} at {place:,} of {len(value):,}"
        for value in values
    ]
