"""Files of records in sections, any run of which is read with two requests: offsets, then records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.errors import OstracaError
from ...store.folder import Folder, write_bytes


def write_sections(folder: Folder, path: str, offsets: NDArray[np.int64], records: NDArray[Any]) -> None:
    """Write records [n, ...], little-endian: section s is records[offsets[s]:offsets[s + 1]].

    offsets: int64 [sections + 1], from 0 to n.
    """
    write_bytes(folder, path, offsets.astype("<i8").tobytes() + records.tobytes())


def read_offsets(folder: Folder, path: str, first: int, last: int) -> NDArray[np.int64]:
    """int64 [last - first + 1]: where sections first..last-1 begin, and the last ends. As `read_records`."""
    offsets = np.frombuffer(folder.read_range(path, 8 * first, 8 * (last + 1)), "<i8")
    if len(offsets) != last - first + 1:
        raise _cut(folder, path)
    return offsets


def read_records(
    folder: Folder, path: str, sections: int, offsets: NDArray[np.int64], kind: np.dtype[Any]
) -> NDArray[Any]:
    """The records, each a `kind`, of the sections between the first and the last of some `offsets`.

    sections: how many the file has. OstracaError where it is cut.
    """
    header = 8 * (sections + 1)
    start, stop = (header + int(offset) * kind.itemsize for offset in (offsets[0], offsets[-1]))
    data = folder.read_range(path, start, stop) if stop > start else b""
    if len(data) != stop - start:
        raise _cut(folder, path)
    return np.frombuffer(data, kind)


def sections_size(sections: int, records: int, kind: np.dtype[Any]) -> int:
    """Bytes of a file of so many."""
    return 8 * (sections + 1) + records * kind.itemsize


def _cut(folder: Folder, path: str) -> OstracaError:
    return OstracaError(f"{folder}/{path}: is truncated; remove it and run the same build again")
