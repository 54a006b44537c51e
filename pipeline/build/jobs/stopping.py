"""SIGTERM and SIGHUP stop a command as Ctrl-C does: what is begun is left in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.status = 128 + number  # as a shell says it


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the main thread at SIGINT, SIGTERM and SIGHUP; what is ignored stays so (nohup)."""
    with _restored(None) as before:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _stop)
        yield


class Held:
    """Whether a signal waits; see `held_back`."""

    def __init__(self) -> None:
        self.number: int | None = None

    def let_go(self) -> None:
        """Raise `Stopped` where one waits."""
        if self.number is not None:
            _stop(self.number, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:  # a second Ctrl-C waits for nothing
            _stop(number, frame)
        self.number = number


@contextmanager
def held_back() -> Iterator[Held]:
    """In this block what `stoppable` raises waits until `let_go` is called: what must not be torn goes on."""
    held = Held()
    with _restored(None) as before:
        for number, handler in before.items():
            if handler is _stop:
                signal.signal(number, held._take)
        yield held


@contextmanager
def kept_signals() -> Iterator[None]:
    """Put the handlers back that a library sets in this block (Ray does, and then exits on its own).

    What is started in it never sees SIGHUP: a closed terminal sends it to all, and Ray's processes would die
    with a trace each before we stop them. One for this process waits for the end of the block.
    """
    # Where there was none of ours nobody minds: Ray's is the better one.
    with _restored(None, signal.SIG_DFL) as before:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP} if before else ())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _restored(*but: Any) -> Iterator[dict[signal.Signals, Any]]:
    """The handlers of our signals, which are put back at the end; not those in `but`.

    Only the main thread may set any: in another there are none.
    """
    ours = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in ours}
    try:
        yield before
    finally:
        for number, handler in before.items():
            if handler not in but:
                signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    # Once: a second SIGTERM must not break off the clearing away. A second Ctrl-C may.
    for wanted in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(wanted, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise Stopped(number)
