"""The folder of a corpus, on a local disk or in a store: its files are whole or not there."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import IO, Any, Protocol

from ...tasks.core.outside import parse_json
from ...tasks.errors import OstracaError
from .atomic import HashingFile
from .fence import Fence


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

    def read_known(self, path: str, start: int, stop: int, digest: bytes) -> bytes | None:
        """The bytes start..stop-1 of a file, whose sha256 begins with `digest`; None where others stand.

        Such bytes never change, so they may come from a cache: see `pipeline.store.cache`.
        """

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def stamp(self, path: str) -> tuple[int, str] | None:
        """Bytes of a file and what changes whenever it is written again; None where there is none."""

    def sha256(self, path: str) -> str:
        """sha256 of a file, in hexadecimal."""

    def names(self, below: str = "") -> list[str]:
        """The paths of all files in the folder or in one below it, sorted.

        Those being written are left out, and what systems leave anywhere (`tasks.core.litter`).
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
