"""Files of a corpus: whole or not there. Errors of the system become one clear line."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ...tasks.core.litter import is_litter
from ...tasks.core.outside import open_regular
from ...tasks.errors import OstracaError

TEMPORARY = ".tmp-"  # part of the name of every file that is still being written
_LOCK_TRIES = 100
_LONGEST_OWNER = 4096  # bytes that are read of a lock's file
_TEMPORARY_NAME = re.compile(rf"\..+{re.escape(TEMPORARY)}[0-9a-f]{{12}}")


class HashingFile:
    """A binary file that counts and hashes (sha256) what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        written = self._file.write(data)
        self.size += written
        return written

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def _always() -> None:
    """What may be written without a lock."""


@contextmanager
def atomic_file(
    path: Path, *, allowed: Callable[[], None] = _always, new: bool = False
) -> Iterator[HashingFile]:
    """Write a file under a temporary name; it takes its own name, whole and synced, at a clean end.

    Where the body raises, nothing is left. allowed: raises where the file may not be written (any more); it
    is asked when that is about to take its name. new: none should stand there; where one does, it is asked
    again.
    """
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}{TEMPORARY}{secrets.token_hex(6)}")
        try:
            with open(temporary, "xb") as file:
                yield HashingFile(file)
                file.flush()
                os.fsync(file.fileno())
            allowed()
            if new and _linked(temporary, path):
                temporary.unlink()
            else:
                if new:
                    allowed()
                os.replace(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink()
            if isinstance(error, FileNotFoundError):  # another may have cleared it away
                allowed()
            raise
        _sync_folder(path.parent)


def _linked(temporary: Path, path: Path) -> bool:
    """Give a file the name of one that is not there; whether it could be done."""
    try:
        os.link(temporary, path)
    except OSError:  # it is there, or the file system has no links
        return False
    return True


def move_file(source: Path, target: Path) -> None:
    """Give a whole file another name, for good."""
    with plain_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        _sync_folder(target.parent)


def write_bytes(path: Path, content: bytes) -> HashingFile:
    """Write a file, atomically; returns its size and sha256."""
    with atomic_file(path) as file:
        file.write(content)
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary_files(root: Path) -> None:
    """Remove what a build that was killed left half-written in `root` and anywhere below.

    Only for the holder of `lock`.
    """
    for path in root.rglob(f".*{TEMPORARY}*"):
        if is_temporary(path) and not is_litter(path.relative_to(root).as_posix()):
            path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of one that `atomic_file` is writing."""
    return _TEMPORARY_NAME.fullmatch(path.name) is not None


def is_ours(path: str) -> bool:
    """Whether a file, by its path in a folder of ours, is no litter and not one that is being written."""
    return not is_litter(path) and not is_temporary(Path(path))


@contextmanager
def lock(path: Path, what: str = "build") -> Iterator[str]:
    """Hold a folder, whose build or run this is, for this process alone; freed when the process ends.

    what: has the folder, as it is told to another who wants it.

    Yields what stands in the file as long as it is held: no other lock's file has the same.
    """
    with plain_errors(path):
        tries = (_locked(path, what) for _ in range(_LOCK_TRIES))
        file = next((lock for lock in tries if lock is not None), None)
    if file is None:
        raise OstracaError(f"{path}: keeps being removed by others; choose another out=")
    with file:
        owner = secrets.token_hex(16)
        with plain_errors(path):
            file.truncate(0)
            file.write(owner)
            file.flush()
        yield owner


def lock_owner(path: Path) -> str | None:
    """What stands in the file of a lock; None where there is none."""
    try:
        with plain_errors(path), open_regular(path) as file:
            return file.read(_LONGEST_OWNER).decode(errors="replace")
    except OstracaError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise


def _locked(path: Path, what: str) -> IO[str] | None:
    """The file, open and locked; None where it was removed meanwhile; OstracaError where another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            # What stands there may be its holder's. Without waiting: it may be a pipe that nobody reads.
            file = stack.enter_context(
                open(path, "a", opener=lambda *how: os.open(how[0], how[1] | os.O_NONBLOCK))
            )
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OstracaError(
                f"{path.parent.parent}: another {what} is running in this folder; "
                "wait for it, stop it, or choose another out="
            ) from None
        # A build that has just ended removes the file: another may hold a new one of that name.
        if not _stands(path, file):
            return None
        stack.pop_all()
        return file


def _stands(path: Path, file: IO[str]) -> bool:
    """Whether a file that is open is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


@contextmanager
def plain_errors(path: Path | str) -> Iterator[None]:
    """Turn the system's errors about files into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise OstracaError(plain_reason(error, path)) from error


def plain_reason(error: OSError, path: Path | str) -> str:
    """What went wrong with a file and what to do, in one line."""
    advice = {
        errno.ENOSPC: "no space left on the disk; free some or choose another out=",
        errno.EDQUOT: "the disk quota is used up; free some space or choose another out=",
        errno.EACCES: "no permission; choose a folder you may write to",
        errno.EPERM: "no permission; choose a folder you may write to",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.ENOTDIR: "a part of this path is a file, not a folder; choose another folder",
        errno.EEXIST: "a file of this name is in the way; choose another folder",
        errno.ENOENT: "no such file or folder",
        errno.EISDIR: "this is a folder, not a file",
        errno.ENXIO: "this is a pipe or a socket, not a file; remove it",
    }
    reason = advice.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename or path}: {reason}"


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known(data: bytes, digest: bytes) -> bytes | None:
    """Bytes whose sha256 begins with `digest`; None for any others."""
    return data if hashlib.sha256(data).digest().startswith(digest) else None
