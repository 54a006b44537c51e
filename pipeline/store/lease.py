"""A lock where no system frees it: a small file that its holder renews and that runs out without him.

A holder that is held up for long (stopped, suspended, cut off) loses it to another, and may wake up when that
one has finished: see `pipeline.store.fence` for what keeps it from harm then. Others take a lease over that
looks old and has then not changed for a third of its term by a clock of their own, whatever the time of day
is here or there.

Where the store makes a file only if there is none (S3, GCS), one of many gets it, whenever they come. Where
it cannot, a lease is written, and read back after a while: of two that come within the same moment, one held
up between looking and writing for longer than that while, both may go on.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ...tasks.core.outside import parse_json
from ...tasks.errors import OstracaError, check_integer
from .clock import now
from .errors import is_missing
from .process import is_gone, started_at, this_machine

if TYPE_CHECKING:
    from .folder import Folder


@dataclass(frozen=True, kw_only=True)
class Term:
    """Times of a lease, in seconds.

    `expires`: unrenewed for so long, it is of a dead process (renewed four times as often).
    `settle`: how long a writer waits before it reads whether another wrote over its lease.
    """

    expires: float = 60.0
    settle: float = 2.0


TERM = Term()


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What stands in the file: who holds it, and when it was renewed (seconds since 1970)."""

    owner: str
    machine: str
    pid: int
    started: str
    renewed: float


@contextmanager
def hold(
    folder: Folder, path: str, create_new: Callable[[str, bytes], bool | None], term: Term
) -> Iterator[str]:
    """Hold the lease at `path` for the body, renewed by a thread; OstracaError where a living process has it.

    Yields its owner, a name that no other lease has.

    `create_new(path, content)`: whether the file was made, False where it was there; None where the store
    cannot tell.
    """
    holder = _Holder(folder, path, term)
    holder.take(create_new)
    _HOLDERS[holder.owner] = holder
    over = threading.Event()
    renewing = threading.Thread(target=holder.renew_until, args=(over,), daemon=True)
    renewing.start()
    try:
        yield holder.owner
    finally:
        over.set()
        renewing.join(timeout=term.expires)
        del _HOLDERS[holder.owner]
        holder.release()


class _Holder:
    """A lease of this process, until it is lost."""

    def __init__(self, folder: Folder, path: str, term: Term) -> None:
        self._folder, self._path, self._term = folder, path, term
        self.owner = secrets.token_hex(16)
        self._mutex = threading.Lock()
        self._lost = False
        self._renewed = now()

    def take(self, create_new: Callable[[str, bytes], bool | None]) -> None:
        """Get hold of it; OstracaError where a living process has it."""
        created = create_new(self._path, self._content())
        if created:
            return
        present = _read(self._folder, self._path)
        if present is not None:
            if created is False and present.owner == self.owner:  # made at a first try whose answer was lost
                return
            if self._lives(present):
                raise self._refusal(present)
        # Several may write now: who finds his own lease after a while has it.
        self._write()
        time.sleep(self._term.settle)
        present = _read(self._folder, self._path)
        if present is None or present.owner != self.owner:
            raise self._refusal(present)

    def renew_until(self, over: threading.Event) -> None:
        """Renew it four times a term, until it is over or lost."""
        while not over.wait(self._term.expires / 4):
            with suppress(OstracaError):  # the store does not answer: the next time is soon
                if not self.renew():
                    return

    def renew(self) -> bool:
        """Renew it; whether it is still held."""
        with self._mutex:
            if self._lost:
                return False
            began = now()
            self._lost = not self._is_mine()
            if not self._lost:
                self._write()
                # Held up between looking and writing, it may have written over the lease of another.
                self._lost = now() - began > self._term.expires / 2
                self._renewed = began
                if self._lost:
                    self.release()
            return not self._lost

    def holds(self) -> bool:
        """Whether it is still held: looks where the last renewal is so long ago that it may be lost."""
        if now() - self._renewed > self._term.expires / 3:
            return self.renew()
        return not self._lost

    def release(self) -> None:
        """Let others have it."""
        with suppress(OstracaError):  # it runs out by itself
            if self._is_mine():
                self._folder.remove(self._path)

    def _is_mine(self) -> bool:
        present = _read(self._folder, self._path)
        return present is not None and present.owner == self.owner

    def _content(self) -> bytes:
        pid = os.getpid()
        lease = Lease(
            owner=self.owner, machine=this_machine(), pid=pid, started=started_at(pid), renewed=time.time()
        )
        return (json.dumps(asdict(lease)) + "\n").encode()

    def _write(self) -> None:
        with self._folder.create(self._path) as file:
            file.write(self._content())

    def _lives(self, other: Lease) -> bool:
        """Whether its holder lives. Clocks may differ: one who looks dead is watched for a renewal."""
        if other.machine and other.machine == this_machine() and is_gone(other.pid, other.started):
            return False
        if abs(time.time() - other.renewed) < self._term.expires:
            return True
        time.sleep(self._term.expires / 3)
        later = _read(self._folder, self._path)
        return later is not None and later != other

    def _refusal(self, other: Lease | None) -> OstracaError:
        here = other is not None and other.machine == this_machine()
        process = f" (process {other.pid})" if other is not None and here else ""
        return OstracaError(
            f"{self._folder}: another build is running in this folder{process}; wait for it, stop it, or "
            "choose another out= (the lock of one that was killed on another machine runs out within two "
            "minutes)"
        )


_HOLDERS: dict[str, _Holder] = {}  # owner -> holder, of the leases of this process


def owner_of(folder: Folder, path: str) -> str | None:
    """Who holds the lease at a path; None where nobody does, or this process has lost it."""
    present = _read(folder, path)
    if present is None:
        return None
    holder = _HOLDERS.get(present.owner)
    return present.owner if holder is None or holder.holds() else None


def _read(folder: Folder, path: str) -> Lease | None:
    """The lease at a path; None where there is none, or nothing that can be read as one."""
    try:
        data = folder.read(path)
    except OstracaError as error:
        if error.__cause__ is not None and is_missing(error.__cause__):
            return None
        raise
    try:
        fields = parse_json(path, data)
        return Lease(
            owner=str(fields["owner"]),
            machine=str(fields["machine"]),
            pid=check_integer("pid", fields["pid"], 1, 2**31 - 1),
            started=str(fields["started"]),
            renewed=float(fields["renewed"]),
        )
    except (OstracaError, ValueError, KeyError, TypeError, OverflowError):
        return None
