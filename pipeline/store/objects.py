"""Files of stores: what a store says of one (fsspec's info), and one as a file to read."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Callable
from typing import Any


class ReadingFile(io.RawIOBase):
    """A file of a store as Python's raw reading file, to be buffered.

    `exactly(start, stop)`: the bytes start..stop-1 of the file, which has `size` bytes.
    """

    def __init__(self, exactly: Callable[[int, int], bytes], size: int) -> None:
        self._exactly = exactly
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is before the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        count = max(0, stop - self._position)
        if count:
            buffer[:count] = self._exactly(self._position, stop)
            self._position = stop
        return count


def md5_of(info: dict[str, Any]) -> str | None:
    """The MD5 of a file, in hexadecimal, where the store tells it: GCS, and S3's ETag of a single upload."""
    if "md5Hash" in info:
        return base64.b64decode(info["md5Hash"]).hex()
    etag = str(info.get("ETag", "")).strip('"')
    return etag if re.fullmatch("[0-9a-f]{32}", etag) else None


def stamp_of(info: dict[str, Any] | None) -> tuple[int, str] | None:
    """Size and what changes with the content: ETag, generation, time; else all that the store says."""
    if info is None:
        return None
    mark = next((info[name] for name in ("ETag", "etag", "generation", "mtime") if info.get(name)), None)
    if mark is None:
        mark = hashlib.sha256(str(sorted(info.items())).encode()).hexdigest()
    return int(info["size"]), str(mark).strip('"')
