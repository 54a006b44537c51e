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
from pathlib import Path
from typing import TYPE_CHECKING

from ...tasks.core.outside import parse_json
from ...tasks.errors import OstracaError, check_integer
from .clock import now
from .errors import is_missing

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
    me = Lease(
        owner=secrets.token_hex(16),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        renewed=time.time(),
    )
    _take(folder, path, create_new, term, me)
    holder = _Holder(folder, path, term, me)
    _HOLDERS[me.owner] = holder
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(holder, over), daemon=True)
    renewing.start()
    try:
        yield me.owner
    finally:
        over.set()
        renewing.join(timeout=term.expires)
        del _HOLDERS[me.owner]
        holder.release()


class _Holder:
    """The lease that this process holds, until it is lost."""

    def __init__(self, folder: Folder, path: str, term: Term, me: Lease) -> None:
        self._folder, self._path, self.term, self._me = folder, path, term, me
        self._mutex = threading.Lock()
        self._lost = False
        self._renewed = now()

    def renew(self) -> bool:
        """Renew it; whether it is still held."""
        with self._mutex:
            if self._lost:
                return False
            began = now()
            self._lost = not _holds(self._folder, self._path, self._me)
            if not self._lost:
                _write(self._folder, self._path, self._me)
                # Held up between looking and writing, it may have written over the lease of another.
                self._lost = now() - began > self.term.expires / 2
                self._renewed = began
                if self._lost:
                    self.release()
            return not self._lost

    def holds(self) -> bool:
        """Whether it is still held: looks where the last renewal is so long ago that it may be lost."""
        if now() - self._renewed > self.term.expires / 3:
            return self.renew()
        return not self._lost

    def release(self) -> None:
        """Let others have it."""
        with suppress(OstracaError):  # it runs out by itself
            if _holds(self._folder, self._path, self._me):
                self._folder.remove(self._path)


_HOLDERS: dict[str, _Holder] = {}  # owner -> holder, of the leases of this process


def _take(
    folder: Folder, path: str, create_new: Callable[[str, bytes], bool | None], term: Term, me: Lease
) -> None:
    made = create_new(path, _bytes(me))
    if made:
        return
    found = _read(folder, path)
    if found is not None:
        if made is False and found.owner == me.owner:  # made at a first try whose answer was lost
            return
        if _alive(folder, path, term, found):
            raise _refusal(folder, found)
    # Several may write now: who finds his own lease after a while has it.
    _write(folder, path, me)
    time.sleep(term.settle)
    if not _holds(folder, path, me):
        raise _refusal(folder, _read(folder, path))


def _renew(holder: _Holder, over: threading.Event) -> None:
    while not over.wait(holder.term.expires / 4):
        with suppress(OstracaError):  # the store does not answer: the next time is soon
            if not holder.renew():
                return


def _alive(folder: Folder, path: str, term: Term, found: Lease) -> bool:
    """Whether the holder of a lease lives. Clocks may differ: one who looks dead is watched for a renewal."""
    if found.machine and found.machine == _machine() and _is_gone(found.pid, found.started):
        return False
    if abs(time.time() - found.renewed) < term.expires:
        return True
    time.sleep(term.expires / 3)
    now = _read(folder, path)
    return now is not None and now != found


def _refusal(folder: Folder, found: Lease | None) -> OstracaError:
    process = f" (process {found.pid})" if found is not None and found.machine == _machine() else ""
    return OstracaError(
        f"{folder}: another build is running in this folder{process}; wait for it, stop it, or choose "
        "another out= (the lock of one that was killed on another machine runs out within two minutes)"
    )


def _bytes(lease: Lease) -> bytes:
    return (json.dumps(asdict(lease)) + "\n").encode()


def _write(folder: Folder, path: str, lease: Lease) -> None:
    with folder.create(path) as file:
        file.write(_bytes(Lease(**{**asdict(lease), "renewed": time.time()})))


def _read(folder: Folder, path: str) -> Lease | None:
    """The lease at a path; None where there is none, or nothing that can be read as one."""
    try:
        data = folder.read(path)
    except OstracaError as error:
        if error.__cause__ is not None and is_missing(error.__cause__):
            return None
        raise
    try:
        found = parse_json(path, data)
        return Lease(
            owner=str(found["owner"]),
            machine=str(found["machine"]),
            pid=check_integer("pid", found["pid"], 1, 2**31 - 1),
            started=str(found["started"]),
            renewed=float(found["renewed"]),
        )
    except (OstracaError, ValueError, KeyError, TypeError, OverflowError):
        return None


def owner_of(folder: Folder, path: str) -> str | None:
    """Who holds the lease at a path; None where nobody does, or this process has lost it."""
    found = _read(folder, path)
    if found is None:
        return None
    holder = _HOLDERS.get(found.owner)
    return found.owner if holder is None or holder.holds() else None


def _holds(folder: Folder, path: str, me: Lease) -> bool:
    found = _read(folder, path)
    return found is not None and found.owner == me.owner


def _machine() -> str:
    """This boot of this machine and its numbering of processes (containers have their own); '' if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in ticks since boot; 'gone' for one that has ended, '' where none can be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if fields[0] in "ZX" else fields[19]


def _is_gone(pid: int, started: str) -> bool:
    """Whether the process that began then has ended; its number may be another's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    now = _started(pid)
    return now not in ("", started)
