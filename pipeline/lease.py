"""A lock where no system frees it: a small file that its holder renews and that runs out without him.

To lose a lease is not dangerous: a corpus is a pure function of its spec and files appear whole, so two
builds in one folder write the same bytes under the same names. The lease spares the work of the second.

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

from tasks.errors import OstracaError

if TYPE_CHECKING:
    from pipeline.folder import Folder


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
) -> Iterator[None]:
    """Hold the lease at `path` for the body, renewed by a thread; OstracaError where a living process has it.

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
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(folder, path, term, me, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join(timeout=term.expires)
        with suppress(OstracaError):  # it runs out by itself
            if _holds(folder, path, me):
                folder.remove(path)


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


def _renew(folder: Folder, path: str, term: Term, me: Lease, over: threading.Event) -> None:
    while not over.wait(term.expires / 4):
        with suppress(OstracaError):  # the store does not answer: the next time is soon
            if not _holds(folder, path, me):
                return  # lost
            _write(folder, path, me)


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
    if folder.size(path) is None:
        return None
    try:
        found = json.loads(folder.read(path))
        return Lease(
            owner=str(found["owner"]),
            machine=str(found["machine"]),
            pid=int(found["pid"]),
            started=str(found["started"]),
            renewed=float(found["renewed"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
    except OstracaError:
        if folder.size(path) is None:  # released in between
            return None
        raise


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
