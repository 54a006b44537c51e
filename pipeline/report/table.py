"""The table on the screen at the end of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .figures import cells_of, figures_of, told_mode, total

_NARROW = {"mean length": "mean", "in the loss": "in loss", "bytes / token": "bytes/token"}


def screen_table(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> Table:
    """A line for every split of every dataset, and their sum."""
    figures = figures_of(manifest, statistics)
    mode, packed = told_mode(manifest, figures), bool(manifest["spec"].get("pack"))
    every = cells_of(total(figures.values()), mode, packed)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for name in every:
        heading = _NARROW.get(name, name).removeprefix("duplicates ")
        table.add_column(heading, justify="right", no_wrap=True)
    for (dataset, split), row in figures.items():
        table.add_row(f"{dataset}/{split}", *cells_of(row, mode, packed).values())
    if len(figures) > 1:
        table.add_section()
        table.add_row("all", *every.values(), style="bold")
    return table
