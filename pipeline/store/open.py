"""The folder at a path or a URL."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ...tasks.core.paths import is_local
from .folder import Folder
from .local import LocalFolder

MANIFEST = "manifest.json"  # its name in every corpus


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
        from .remote import RemoteFolder  # a local corpus needs none of what speaks to stores

        return RemoteFolder(str(where))
    return LocalFolder(where)


def manifest_at(where: str) -> tuple[Folder, str]:
    """The folder of a manifest and its name there: of a corpus at a path or URL, or of any .json file."""
    name = PurePosixPath(where).name
    if name != MANIFEST and name.endswith(".json"):
        return open_folder(folder_of(where)), name
    return open_folder(where), MANIFEST
