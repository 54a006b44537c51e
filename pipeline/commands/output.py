"""What is printed never decides how a command ends: standard output and error that take anything."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Raw(io.RawIOBase):
    """Writes to a descriptor; once that fails (its reader has gone, a disk is full), what follows is lost.

    tolerant: else the first failure is raised too.
    """

    def __init__(self, descriptor: int, tolerant: bool) -> None:
        self._descriptor, self._tolerant = descriptor, tolerant
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.error = error
                if not self._tolerant:
                    raise
        return len(data)


def output_failed() -> bool:
    """Whether standard output takes no more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Raw) and raw.error is not None


def lost_output() -> str | None:
    """Why something that was printed is lost, if it is; not where its reader has gone, who wants no more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Raw):
        sys.stdout.flush()
        if raw.error is not None and not isinstance(raw.error, BrokenPipeError):
            return f"standard output: {raw.error.strerror}; what was printed from there on is lost"
    return None


def steady_streams(*, stops_with_reader: bool) -> None:
    """Make `sys.stdout` and `sys.stderr` take all that is printed: with no encoding for it, closed, or full.

    stops_with_reader: standard output still raises BrokenPipeError, for a command that only prints.
    """
    sys.stdout = _steady(sys.stdout, 1, tolerant=not stops_with_reader)
    sys.stderr = _steady(sys.stderr, 2, tolerant=True)


def _steady(stream: TextIO | None, descriptor: int, *, tolerant: bool) -> TextIO:
    if stream is None:  # closed by whoever started us; this descriptor stays, as that of any such stream does
        return _over(_Raw(os.open(os.devnull, os.O_WRONLY), tolerant=True), "utf-8", line_buffering=False)
    own = sys.__stdout__ if descriptor == 1 else sys.__stderr__
    if not isinstance(stream, io.TextIOWrapper) or stream is not own:
        return stream  # somebody else's
    stream.reconfigure(errors="replace")
    stream.flush()
    raw = _Raw(descriptor, tolerant)
    lines = stream.line_buffering or raw.isatty() or descriptor == 2
    return _over(raw, stream.encoding, line_buffering=lines)


def to_nowhere() -> None:
    """Lose what is printed from now on, what is buffered too: Python would complain of it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != 1:  # else it was closed, and this is it
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _over(raw: _Raw, encoding: str, *, line_buffering: bool) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="replace", line_buffering=line_buffering
    )
