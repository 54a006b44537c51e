"""A progress bar on a terminal; silence in a pipe."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ShardProgress:
    """Examples, tokens a second, shards and time left, on standard error."""

    def __init__(self, title: str, shards: int, examples: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shards]}/{task.fields[all_shards]} shards"),
            TextColumn("{task.completed:,.0f} examples"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=examples, shards=0, all_shards=shards, rate="")
        self._shards = self._tokens = 0

    def __enter__(self) -> ShardProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, what: str, done: int, of: int) -> None:
        """Say what goes on beside the making of shards."""
        self._bar.update(self._task, description=f"{what} ({done}/{of})")

    def advance(self, examples: int, tokens: int = 0) -> None:
        """Count one more shard; tokens: those made now, not found."""
        self._shards += 1
        self._tokens += tokens
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = f"{self._tokens / elapsed / 1e6:.1f} Mtok/s" if self._tokens and elapsed else ""
        self._bar.update(self._task, advance=examples, shards=self._shards, rate=rate)
