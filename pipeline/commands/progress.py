"""A progress bar on a terminal; in a pipe or a log a plain line every half a minute."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_SECONDS = 30.0  # between two lines where there is no terminal, unless OSTRACA_PROGRESS_SECONDS says


class ShardProgress:
    """Examples, tokens a second, shards and time left, on standard error."""

    def __init__(self, title: str, shards: int, examples: int) -> None:
        console = Console(stderr=True)
        self._drawn = console.is_terminal and not console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shards]}/{task.fields[all_shards]} shards"),
            TextColumn("{task.completed:,.0f} examples"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self._drawn,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=examples, shards=0, all_shards=shards, rate="")
        self._title = self._what = title
        self._all_shards = shards
        self._shards = self._tokens = self._made_shards = 0
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._speaker: threading.Thread | None = None

    def __enter__(self) -> ShardProgress:
        self._begun = time.monotonic()
        self._bar.start()
        if not self._drawn:
            self._speaker = threading.Thread(target=self._speak, name="progress", daemon=True)
            self._speaker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._speaker is not None:
            self._speaker.join()
        self._bar.stop()

    def step(self, what: str, done: int, of: int) -> None:
        """Say what goes on beside the making of shards."""
        self._what = f"{what} ({done}/{of})"
        self._bar.update(self._task, description=self._what)

    def advance(self, examples: int, tokens: int = 0) -> None:
        """Count one more shard; tokens: those made now, not found."""
        self._shards += 1
        self._made_shards += tokens > 0
        self._tokens += tokens
        self._what = self._title  # the step before it is over
        self._bar.update(
            self._task, description=self._what, advance=examples, shards=self._shards, rate=self._rate()
        )

    def _rate(self) -> str:
        elapsed = time.monotonic() - self._begun
        return f"{self._tokens / elapsed / 1e6:.1f} Mtok/s" if self._tokens and elapsed else ""

    def _speak(self) -> None:
        while not self._over.wait(_seconds()):
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        """Where it stands, for a log."""
        elapsed = time.monotonic() - self._begun
        parts = [f"{self._what}: {self._shards:,} of {self._all_shards:,} shards", f"{elapsed:,.0f} s"]
        if self._tokens:
            parts.append(self._rate())
        done = self._made_shards or self._shards  # those that were found already took no time
        if done > 0 and self._shards < self._all_shards:
            parts.append(f"about {elapsed / done * (self._all_shards - self._shards):,.0f} s left")
        return ", ".join(parts)


def _seconds() -> float:
    try:
        return max(float(os.environ.get("OSTRACA_PROGRESS_SECONDS", "")), 0.01)
    except ValueError:
        return EVERY_SECONDS
