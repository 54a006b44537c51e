"""Tables on terminals of any width: nothing is cut, and no name is dropped."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def print_table(console: Console, table: Table) -> None:
    """Print a table of texts; where it is too wide, each row as a sentence that wraps."""
    boundless = console.options.update(width=10_000)
    if Measurement.get(console, boundless, table).maximum <= console.width:
        console.print(table)
        return
    headings = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    for cells, row in zip(rows, table.rows, strict=True):
        parts = [
            f"{heading} {cell}".strip() for heading, cell in zip(headings, cells, strict=True) if str(cell)
        ]
        console.print(
            Text(": ".join((parts[0], ", ".join(parts[1:]))), style=row.style or ""), overflow="fold"
        )
