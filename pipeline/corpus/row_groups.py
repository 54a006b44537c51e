"""The row groups of a shard's file, each with a digest, below one digest in the manifest.

A file is cut where its row groups end; what comes after the last is its tail. The tail holds a table of the
row groups: where each ends, its rows, its tokens (not below a manifest of format 3), and the first
16 bytes of its sha256. The manifest's record holds where the tail begins and the digest of the tail. So every
byte is below the manifest, which stays small however many row groups there are; a reader compares before it
parses, and reads a row group with one request.

The table stands in the key-value metadata of a Parquet footer; in a tar behind the end of the archive, where
no reader of tars looks, and in a .tar.zst in a frame that zstd skips.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from .numbers import decode_numbers, encode_numbers

DIGEST_BYTES = 16
TABLE = "ostraca_row_groups"  # the table's name in a file
_WRONG = "its table of row groups is not as ostraca writes it"


@dataclass(frozen=True, kw_only=True)
class RowGroups:
    """The table of a file's row groups."""

    ends: NDArray[np.int64]  # [groups]: where in the file each ends; the first begins at 0
    rows: NDArray[np.int64]  # [groups]
    tokens: NDArray[np.int64] | None  # [groups], of texts bytes; None in files of manifests of format 3
    digests: NDArray[np.uint8]  # [groups, 16]

    @staticmethod
    def none() -> RowGroups:
        """Of a file that has no table."""
        return RowGroups(
            ends=np.zeros(0, np.int64),
            rows=np.zeros(0, np.int64),
            tokens=None,
            digests=np.zeros((0, DIGEST_BYTES), np.uint8),
        )

    def span(self, group: int) -> tuple[int, int]:
        """The bytes [start, stop) of a row group."""
        return (int(self.ends[group - 1]) if group else 0), int(self.ends[group])

    def __str__(self) -> str:
        """As it stands in a file."""
        digests = base64.b85encode(self.digests.tobytes()).decode()
        lists = [each for each in (self.ends, self.rows, self.tokens) if each is not None]
        return " ".join([*map(encode_numbers, lists), digests])

    @staticmethod
    def parse(text: str, tail: int) -> RowGroups:
        """What `str` wrote, of a file whose tail begins at `tail`; OstracaError where it is not one."""
        try:
            *texts, digests = text.split(" ")
            listed = np.frombuffer(base64.b85decode(digests), np.uint8).reshape(-1, DIGEST_BYTES)
            ends, rows, *tokens = [decode_numbers(each, len(listed)) for each in texts]
            if len(tokens) > 1 or any(len(each) != len(listed) for each in (ends, rows, *tokens)):
                raise ValueError("not as many")
            groups = RowGroups(ends=ends, rows=rows, tokens=tokens[0] if tokens else None, digests=listed)
        except (ValueError, binascii.Error):
            raise OstracaError(_WRONG) from None
        steps = np.diff(groups.ends, prepend=np.int64(0), append=np.int64(tail))
        if (steps < 0).any() or steps[-1]:
            raise OstracaError(_WRONG)
        return groups


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What the manifest says of a file's tail."""

    start: int
    digest: bytes  # [16]

    def __str__(self) -> str:
        return f"{self.start}:{self.digest.hex()}"

    @staticmethod
    def parse(text: str) -> Tail:
        """What `str` wrote; OstracaError where it is not one."""
        start, _, digest = text.partition(":")
        try:
            tail = Tail(start=int(start), digest=bytes.fromhex(digest))
        except ValueError:
            tail = Tail(start=0, digest=b"")
        if str(tail) != text or tail.start < 0 or len(tail.digest) != DIGEST_BYTES:
            raise OstracaError("the manifest's tail of it is not as ostraca writes it")
        return tail


class GroupedFile:
    """A binary file to write, whose row groups are hashed one by one."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._ends: list[int] = []
        self._rows: list[int] = []
        self._tokens: list[int] = []
        self._digests: list[bytes] = []
        self._sha256 = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        written: int = self._file.write(data)
        return written

    def end_group(self, rows: int, tokens: int) -> None:
        """What was written since the last one is a row group of so many rows and tokens (of texts, bytes)."""
        self._rows.append(rows)
        self._tokens.append(tokens)
        self._ends.append(self.tell())
        self._digests.append(self._take())

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Of each row group so far: int64 [groups]."""
        return np.array(self._tokens, np.int64)

    @property
    def row_groups(self) -> RowGroups:
        """The table of the row groups so far."""
        return RowGroups(
            ends=np.array(self._ends, np.int64),
            rows=np.array(self._rows, np.int64),
            tokens=self.tokens,
            digests=np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, DIGEST_BYTES),
        )

    def end(self) -> Tail:
        """What was written since the last row group is the tail."""
        return Tail(start=self._ends[-1] if self._ends else 0, digest=self._take())

    def _take(self) -> bytes:
        digest, self._sha256 = self._sha256.digest()[:DIGEST_BYTES], hashlib.sha256()
        return digest

    def tell(self) -> int:
        place: int = self._file.tell()
        return place

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
