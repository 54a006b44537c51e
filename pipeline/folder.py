"""The folder of a corpus, on a local disk or in a store: its files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from ..tasks.errors import OstracaError
from ..tasks.outside import open_regular, parse_json
from ..tasks.paths import is_local, local_path
from .fence import Fence
from .remote import RemoteFolder
from .storage import (
    HashingFile,
    atomic_file,
    is_ours,
    lock,
    lock_owner,
    move_file,
    plain_errors,
    remove_temporary_files,
    sha256_of,
)

MANIFEST = "manifest.json"  # its name in every corpus


class Folder(Protocol):
    """Files by their paths below the folder, parts joined by '/'.

    Whatever fails raises OstracaError with one line that names the file and says what to do. `url` opens the
    same folder again, in another process too.
    """

    @property
    def url(self) -> str: ...

    def fenced(self, fence: Fence) -> Folder:
        """This folder for the holder of a lock: once that is lost, to write or remove is a LostLockError."""

    def create(self, path: str, *, new: bool = False) -> AbstractContextManager[HashingFile]:
        """Write a file that takes its name, whole and durable, at a clean end; else nothing is left.

        new: no other should stand there, and none that another build has made is written over.
        """

    def move(self, source: str, target: str) -> None:
        """Give a file another name, at which it appears whole."""

    def open(self, path: str) -> IO[bytes]:
        """A file to read, seekable."""

    def read(self, path: str) -> bytes:
        """All bytes of a file."""

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """The bytes start..stop-1 of a file."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def stamp(self, path: str) -> tuple[int, str] | None:
        """Bytes of a file and what changes whenever it is written again; None where there is none."""

    def sha256(self, path: str) -> str:
        """sha256 of a file, in hexadecimal."""

    def names(self, below: str = "") -> list[str]:
        """The paths of all files in the folder or in one below it, sorted.

        Those being written are left out, and what systems leave anywhere (`tasks.litter`).
        """

    def exists(self) -> bool:
        """Whether the folder is there; in a store: whether anything is in it."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    def remove_all(self, below: str) -> None:
        """Remove a folder below this one and all that is in it."""

    def remove_unfinished(self) -> None:
        """Remove what a killed process left half-written. Only for the holder of the lock."""

    def lock(self, path: str) -> AbstractContextManager[str]:
        """Hold a lock for this process alone; OstracaError where another holds it. A dead one holds none.

        Yields the `owner` of a `Fence`.
        """


class LocalFolder:
    """A folder of the file system, the same one wherever the process goes. See `Folder`."""

    def __init__(self, root: Path | str, fence: Fence | None = None) -> None:
        self.root = local_path(root)
        self._fence = fence

    def __str__(self) -> str:
        return str(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalFolder, (self.url, self._fence)

    @property
    def url(self) -> str:
        return str(self.root.resolve())

    def fenced(self, fence: Fence) -> LocalFolder:
        return LocalFolder(self.root, fence)

    def _allowed(self) -> None:
        if self._fence is not None:
            self._fence.require(str(self), lambda path: lock_owner(self.root / path))

    def create(self, path: str, *, new: bool = False) -> AbstractContextManager[HashingFile]:
        return atomic_file(self.root / path, allowed=self._allowed, new=new)

    def move(self, source: str, target: str) -> None:
        self._allowed()
        move_file(self.root / source, self.root / target)

    def open(self, path: str) -> IO[bytes]:
        with plain_errors(self.root / path):
            return open_regular(self.root / path)

    def read(self, path: str) -> bytes:
        with plain_errors(self.root / path), open_regular(self.root / path) as file:
            return file.read()

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        with plain_errors(self.root / path), open_regular(self.root / path) as file:
            file.seek(start)
            return file.read(stop - start)

    def size(self, path: str) -> int | None:
        stamp = self.stamp(path)
        return None if stamp is None else stamp[0]

    def stamp(self, path: str) -> tuple[int, str] | None:
        try:
            with plain_errors(self.root / path):
                try:
                    status = (self.root / path).stat()
                except (FileNotFoundError, NotADirectoryError):
                    return None
        except ValueError:  # a NUL in the name
            return None
        return status.st_size, str(status.st_mtime_ns)

    def sha256(self, path: str) -> str:
        with plain_errors(self.root / path):
            return sha256_of(self.root / path)

    def names(self, below: str = "") -> list[str]:
        found: list[str] = []
        with plain_errors(self.root / below):
            for folder, _, files in os.walk(self.root / below):
                inside = Path(folder).relative_to(self.root)
                found += [(inside / name).as_posix() for name in files]
        return sorted(name for name in found if is_ours(name))

    def exists(self) -> bool:
        with plain_errors(self.root):
            return self.root.exists()

    def remove(self, path: str) -> None:
        self._allowed()
        with plain_errors(self.root / path):
            (self.root / path).unlink(missing_ok=True)

    def remove_all(self, below: str) -> None:
        self._allowed()
        with plain_errors(self.root / below):
            if self._fence is not None and (self.root / below).is_dir():
                for each in (self.root / below).iterdir():
                    if each != self.root / self._fence.path:  # last: until then no other begins here
                        shutil.rmtree(each) if each.is_dir() else each.unlink()
                self._allowed()
            while (self.root / below).exists():
                try:
                    shutil.rmtree(self.root / below)
                except FileNotFoundError:  # another process removes it too
                    continue
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    return  # another process has begun to use it again

    def remove_unfinished(self) -> None:
        self._allowed()
        with plain_errors(self.root):
            remove_temporary_files(self.root)

    def lock(self, path: str) -> AbstractContextManager[str]:
        return lock(self.root / path)


def folder_of(file: str) -> str:
    """The folder, or the URL of one, in which a file lies."""
    above, slash, _ = file.rstrip("/").rpartition("/")
    return above or slash or "."


def open_folder(where: Path | str | Folder) -> Folder:
    """The folder at a path or at a URL of fsspec, e.g. s3://bucket/corpus or memory://corpus.

    The path of a manifest.json stands for the folder in which it lies.
    """
    if not isinstance(where, Path | str):
        return where
    if PurePosixPath(where).name == MANIFEST:
        where = folder_of(str(where))
    if not is_local(where):
        return RemoteFolder(str(where))
    return LocalFolder(where)


def write_bytes(folder: Folder, path: str, content: bytes) -> HashingFile:
    """Write a file; returns its size and sha256."""
    with folder.create(path) as file:
        file.write(content)
    return file


def write_json(folder: Folder, path: str, value: Any) -> None:
    """Write a value as JSON."""
    write_bytes(folder, path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A value as JSON, as it is written."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(folder: Folder, path: str) -> dict[str, Any]:
    """The object in a JSON file; OstracaError where there is none, see `parse_json`."""
    data = folder.read(path)
    try:
        return parse_json(f"{folder}/{path}:", data)
    except OstracaError as error:
        raise OstracaError(f"{error}; remove it or restore it") from None
