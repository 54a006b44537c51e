"""The table on the screen at the end of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .figures import Figures, figures_of, megabytes, told_mode, total


def screen_table(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> Table:
    """A line for every split of every dataset, and their sum."""
    figures = figures_of(manifest, statistics)
    mode, packed = told_mode(manifest, figures), bool(manifest["spec"].get("pack"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    headings = ["examples", *(["packed rows"] if packed else []), "tokens", "mean", "in loss"]
    headings += [] if mode == "off" else ["dropped" if mode == "drop" else "redrawn"]
    for heading in [*headings, "shards", "size", "bytes/token"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for (dataset, split), each in figures.items():
        table.add_row(f"{dataset}/{split}", *_cells(each, mode, packed))
    if len(figures) > 1:
        table.add_section()
        table.add_row("all", *_cells(total(figures.values()), mode, packed), style="bold")
    return table


def _cells(each: Figures, mode: str, packed: bool) -> list[str]:
    cells = [f"{each.examples:,}", *([f"{each.rows:,}"] if packed else []), f"{each.tokens:,}"]
    cells += [f"{each.mean:,.1f}", f"{100 * each.learned_share:.1f}%"]
    cells += [] if mode == "off" else [f"{each.dropped if mode == 'drop' else each.redrawn:,}"]
    return [*cells, f"{each.shards:,}", megabytes(each.bytes), f"{each.bytes_per_token:.2f}"]
