"""A folder of the file system."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from ...tasks.core.outside import open_regular
from ...tasks.core.paths import local_path
from .atomic import (
    HashingFile,
    atomic_file,
    is_ours,
    known,
    lock,
    lock_owner,
    move_file,
    plain_errors,
    remove_temporary_files,
    sha256_of,
)
from .fence import Fence


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

    def read_known(self, path: str, start: int, stop: int, digest: bytes) -> bytes | None:
        return known(self.read_range(path, start, stop), digest)

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
        paths: list[str] = []
        with plain_errors(self.root / below):
            for folder, _, files in os.walk(self.root / below):
                inside = Path(folder).relative_to(self.root)
                paths += [(inside / name).as_posix() for name in files]
        return sorted(name for name in paths if is_ours(name))

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
                for entry in (self.root / below).iterdir():
                    if entry != self.root / self._fence.path:  # last: until then no other begins here
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
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
