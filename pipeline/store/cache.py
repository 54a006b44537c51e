"""A folder read through a cache on a local disk, which any number of processes may share.

Kept is what `Folder.read_known` reads, under its digest: so what is kept can be of no other corpus, whatever
stands at a URL today, and two corpora with the same bytes share them. Bytes that are not those of their
digest (torn, damaged) are dropped and fetched again. Whatever goes wrong with the cache, reading goes on
without it.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ...tasks.core.outside import NotRegularError, open_regular
from ...tasks.core.paths import local_path
from ...tasks.errors import check_integer
from .atomic import HashingFile, known
from .fence import Fence
from .folder import Folder

_FORM = "ostraca-cache-1"  # the folder below `cache_dir`: nothing else there is looked at
_ENTRY = re.compile(r"[0-9a-f]{32,64}-[0-9]+")  # digest and size
_INCOMING = (
    "incoming"  # the one file that is not whole; of a process that was killed: the next writes over it
)
_LOCK = "lock"  # held by who writes or removes; holds how many bytes are kept, or more
_PATIENCE = 1.0  # seconds that a lock is waited for before something is not kept
_ROOM = 7 / 8  # of what may be kept is left where room is made, so that it is seldom made


class CacheWarning(UserWarning):
    """A cache cannot be used; what is read is fetched each time."""


def cached(folder: Folder, cache_dir: Path | str, cache_bytes: int) -> Folder:
    """`folder`, of which what is read by its digest is kept in `cache_dir`, on a local disk.

    cache_bytes: no more is kept, of all folders that share `cache_dir`; what was not read for longest goes
    first. ConfigError where `cache_dir` is in a store or `cache_bytes` is no positive integer.
    """
    most = check_integer("cache_bytes", cache_bytes, 1)
    return CachedFolder(folder, Cache(local_path(cache_dir) / _FORM, most))


class Cache:
    """Bytes by their digest in the folder `root`, no more than `most` in all. Threads may share it."""

    def __init__(self, root: Path, most: int) -> None:
        self.root, self.most = root, most
        self._broken = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self.root, self.most)

    def get(self, digest: bytes, size: int) -> bytes | None:
        """What is kept of so many bytes with this digest; None where nothing is that can be believed."""
        path = self._path(digest, size)
        try:
            with open_regular(path) as file:
                data = known(file.read(size + 1), digest)
            if data is not None:
                with suppress(OSError):  # of another user, or on a disk that is read-only
                    os.utime(path)  # used now
                return data
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, NotRegularError) as error:
            self._tell(error)
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep bytes with this digest, if they may be; others go for them."""
        if self._broken or len(data) > self.most:
            return
        try:
            with self._locked() as total:
                path = self._path(digest, len(data))
                if total is None or path.exists():
                    return
                held = _read_total(total)
                if held is None or held + len(data) > self.most:
                    held = self._make_room(len(data))
                if held + len(data) > self.most:
                    return
                # First: of a process that is killed here it says too much, never too little.
                total.seek(0)
                total.truncate()
                total.write(str(held + len(data)).encode())
                total.flush()
                path.parent.mkdir(exist_ok=True)
                incoming = self.root / _INCOMING
                try:
                    incoming.write_bytes(data)
                    os.replace(incoming, path)
                except OSError:
                    with suppress(OSError):
                        incoming.unlink()
                    raise
        except OSError as error:
            self._broken = True
            self._tell(error)

    def _path(self, digest: bytes, size: int) -> Path:
        name = digest.hex()
        return self.root / name[:2] / f"{name}-{size}"

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes] | None]:
        """The lock's file, held; None where another holds it for long (a process that was stopped may)."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / _LOCK, "r+b", opener=_create, buffering=0) as file:
            give_up, wait = time.monotonic() + _PATIENCE, 0.001
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        yield None
                        return
                time.sleep(wait)
                wait = min(2 * wait, 0.05)
            yield file

    def _make_room(self, size: int) -> int:
        """Remove what was not used for longest, until so many bytes more may be kept; how many are."""
        entries = []
        for folder in self.root.iterdir():
            if len(folder.name) == 2 and folder.is_dir():
                for path in folder.iterdir():
                    if _ENTRY.fullmatch(path.name):
                        with suppress(FileNotFoundError):
                            status = path.lstat()
                            entries.append((status.st_mtime_ns, status.st_size, path))
        held = sum(own for _, own, _ in entries)
        aim = min(self.most - size, int(self.most * _ROOM))
        for _, own, path in sorted(entries):
            if held <= aim:
                break
            path.unlink(missing_ok=True)
            held -= own
        return held

    def _tell(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        if self.root in _TOLD:
            return
        _TOLD.add(self.root)
        warnings.warn(
            f"{self.root}: this cache cannot be used ({reason}); reading goes on without it",
            CacheWarning,
            stacklevel=4,
        )


_TOLD: set[Path] = set()  # of this process: caches of which it was said


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NONBLOCK, 0o666)


def _read_total(file: IO[bytes]) -> int | None:
    """How many bytes are kept, as the lock's file says; None where it says nothing that is a number."""
    said = file.read(32)
    return int(said) if re.fullmatch(rb"[0-9]{1,18}", said) else None


class CachedFolder:
    """See `cached`. It writes, and reads all else, as the folder below it does."""

    def __init__(self, below: Folder, cache: Cache) -> None:
        self._below, self._cache = below, cache

    def __str__(self) -> str:
        return str(self._below)

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedFolder, (self._below, self._cache)

    def read_known(self, path: str, start: int, stop: int, digest: bytes) -> bytes | None:
        data = self._cache.get(digest, stop - start)
        if data is None:
            data = self._below.read_known(path, start, stop, digest)
            if data is not None and len(data) == stop - start:
                self._cache.put(digest, data)
        return data

    @property
    def url(self) -> str:
        return self._below.url

    def fenced(self, fence: Fence) -> Folder:
        return self._below.fenced(fence)

    def create(self, path: str, *, new: bool = False) -> AbstractContextManager[HashingFile]:
        return self._below.create(path, new=new)

    def move(self, source: str, target: str) -> None:
        self._below.move(source, target)

    def open(self, path: str) -> IO[bytes]:
        return self._below.open(path)

    def read(self, path: str) -> bytes:
        return self._below.read(path)

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        return self._below.read_range(path, start, stop)

    def size(self, path: str) -> int | None:
        return self._below.size(path)

    def stamp(self, path: str) -> tuple[int, str] | None:
        return self._below.stamp(path)

    def sha256(self, path: str) -> str:
        return self._below.sha256(path)

    def names(self, below: str = "") -> list[str]:
        return self._below.names(below)

    def exists(self) -> bool:
        return self._below.exists()

    def remove(self, path: str) -> None:
        self._below.remove(path)

    def remove_all(self, below: str) -> None:
        self._below.remove_all(below)

    def remove_unfinished(self) -> None:
        self._below.remove_unfinished()

    def lock(self, path: str) -> AbstractContextManager[str]:
        return self._below.lock(path)
