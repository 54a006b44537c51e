"""The tokenizers that lie in a corpus: the only ones its tokens are ever made or read with."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...tasks.core.temporary import folder_of_process
from ...tasks.core.tokenizer_file import MOST_BYTES
from ...tasks.errors import OstracaError
from ...tasks.vocabulary import TOKENIZER_FILES, tokenizer_files, tokenizer_folder
from ..store.folder import Folder, write_bytes
from ..store.local import LocalFolder


def own_tokenizer(folder: Folder, dataset: str) -> str | None:
    """A file of this machine: the tokenizer.json that lies in a corpus for a dataset, if one does.

    Corpora of before have it beside the shards.
    """
    below = next(
        (place for place in places(dataset) if folder.size(f"{place}/{TOKENIZER_FILES[0]}") is not None), None
    )
    if below is None:
        return None
    if isinstance(folder, LocalFolder):
        return str(Path(folder.url) / below / TOKENIZER_FILES[0])
    files = {}
    for name in TOKENIZER_FILES:
        path = f"{below}/{name}"
        if (folder.size(path) or 0) > MOST_BYTES:
            raise OstracaError(f"{folder}/{path}: has over {MOST_BYTES >> 20} MiB; ostraca did not write it")
        files[name] = folder.read(path)
    return str(private_copy(files) / TOKENIZER_FILES[0])


def places(dataset: str) -> tuple[str, str]:
    """Where the tokenizer of a dataset stands in a corpus, and where it did before."""
    return tokenizer_folder(dataset), dataset


def listed_files(spec: Mapping[str, Any], listed: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """The vocabulary's files of a spec, path -> content, in the form in which a manifest lists them."""
    known = {file["path"]: file["sha256"] for file in listed}
    contents = dict(tokenizer_files(spec))
    if known and not _are_listed(contents, known):
        before = dict(tokenizer_files(spec, old=True))
        if _are_listed(before, known):
            return before
    return contents


def _are_listed(files: Mapping[str, bytes], known: Mapping[str, str]) -> bool:
    return all(known.get(path) == hashlib.sha256(content).hexdigest() for path, content in files.items())


def private_copy(files: Mapping[str, bytes]) -> Path:
    """A folder that holds these files and that nobody else can have made or can write to.

    The same files come into the same folder; what stands there is compared byte for byte.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    copy = LocalFolder(_private_folder() / digest.hexdigest())
    for name, content in files.items():
        path = copy.root / name
        if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
            write_bytes(copy, name, content)
    return copy.root


def _private_folder() -> Path:
    """A folder of this user alone; a new one for this process where its name is taken by another's."""
    folder = Path(tempfile.gettempdir()) / f"ostraca-tokenizers-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if ours else _folder_of_process(os.getpid())


@lru_cache(maxsize=1)
def _folder_of_process(process: int) -> Path:
    return Path(folder_of_process("ostraca-tokenizers-"))
