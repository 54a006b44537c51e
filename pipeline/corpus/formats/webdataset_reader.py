"""Row groups of WebDataset shards back as batches, every byte of them checked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from ....tasks.base import INT32_MAX
from ....tasks.core.batch import dtype_of
from ....tasks.errors import ConfigError, OstracaError, shown
from ..numbers import decode_numbers
from ..row_groups import TABLE, RowGroups
from . import OTHER_SIZE, ShardFile, tar
from .json_columns import Form
from .webdataset import COMPRESSIONS, Layout, Scratch, encode_group, table_of


@dataclass(frozen=True, kw_only=True)
class _Footer:
    """See `Footer`: the table behind the end of the archive."""

    groups: RowGroups

    def check(self, file: ShardFile) -> None:
        """Nothing: of which spec it is stands in each of its samples."""

    def read(self, file: ShardFile, group: int, data: bytes, columns: list[str], rows: int) -> pa.RecordBatch:
        split = file.split
        most = most_bytes(split.schema, rows, split.longest)
        return read_group(data, split.schema, split.compression, file.digest, most).select(columns)


class _Shards:
    """See `ShardReader`."""

    def footer(self, tail: bytes, start: int) -> _Footer:
        return _Footer(groups=RowGroups.parse(table_of(tail, TABLE), start))

    def read_old(self, file: ShardFile, group: int, columns: list[str], rows: int) -> pa.RecordBatch:
        path, record = file.record["path"], file.record
        if file.folder.size(path) != record["bytes"]:
            raise OstracaError(OTHER_SIZE)
        ends = decode_numbers(record.get("group_ends", ""), file.groups)
        if len(ends) != file.groups or (np.diff(ends, prepend=np.int64(0)) < 0).any():
            raise OstracaError("the manifest's group_ends are not those of its row groups")
        start = int(ends[group - 1]) if group else 0
        data = file.folder.read_range(path, start, int(ends[group]))
        return _Footer(groups=RowGroups.none()).read(file, group, data, columns, rows)

    def old_rows(self, file: ShardFile) -> None:
        """None: only reading tells."""


SHARDS = _Shards()


class _Scratches(threading.local):
    """A scratch for every thread."""

    def __init__(self) -> None:
        self.scratch = Scratch()


_SCRATCHES = _Scratches()


def read_group(
    data: bytes,
    schema: pa.Schema,
    compression: str | None,
    spec_digest: str | None = None,
    most: int | None = None,
) -> pa.RecordBatch:
    """The batch that a row group was made of: `data` is file[group_ends[g - 1]:group_ends[g]].

    spec_digest: of the spec that it must be of (None: of any). most: bytes that it may unfold to (None: any).

    What is found is written again and must give the same bytes, all sums included. OstracaError names the
    first member that does not. How many rows there must be only the caller knows: where the last samples
    are cut off cleanly, the rest is a row group of its own.
    """
    layout = Layout.of(schema)
    archive = np.frombuffer(_decompressed(data, compression, most), dtype=np.uint8)
    if not len(archive):
        return pa.RecordBatch.from_pylist([], schema=schema)
    places, sizes = _members(archive)
    batch, id_type = _decode(archive, places, sizes, layout)
    group, scratch = tar.owners_group(archive), _SCRATCHES.scratch
    if spec_digest is not None and group != tar.group_name(spec_digest):
        raise OstracaError("belongs to another spec")
    again, places_again = encode_group(batch, layout, id_type, group, scratch)
    if not np.array_equal(again, archive):
        length = min(len(again), len(archive))
        unequal = np.flatnonzero(again[:length] != archive[:length])
        first = int(unequal[0]) if len(unequal) else length
        member = np.searchsorted(places_again, min(first, len(again) - 1), side="right") - 1
        _refuse(again, int(places_again[member]), "is damaged or not where it was")
    return batch


def most_bytes(schema: pa.Schema, rows: int, longest: int) -> int:
    """No row group of so many rows takes more as a tar; longest: tokens, or bytes of text, of a row."""
    layout = Layout.of(schema)
    members = len(layout.members(layout.has_mask))
    # A member's header, what fills its last block, and heads or short texts; a number is up to 21 characters.
    return rows * (members * 4 * tar.BLOCK + longest * (8 + 21 * len(layout.numbers)))


def _decompressed(data: bytes, compression: str | None, most: int | None) -> bytes:
    if compression not in COMPRESSIONS:
        raise ConfigError(f"format=webdataset: compression={shown(compression)} must be null or 'zstd'")
    if compression is None or not data:
        return data
    try:
        size = zstandard.get_frame_parameters(data).content_size
        if most is not None and most < size != zstandard.CONTENTSIZE_UNKNOWN:
            raise OstracaError(f"a row group would unfold to {size:,} bytes; its rows take {most:,} at most")
        # A frame that does not say its size may take so much, and is damaged where it is not whole by then.
        unfolding = zstandard.ZstdDecompressor()
        archive: bytes = unfolding.decompress(data, max_output_size=most or 0, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError, OverflowError) as error:
        raise OstracaError(f"a row group is damaged: it is not a whole zstd frame ({error})") from None
    return archive


def _members(archive: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the headers and the sizes of the contents of all members; all lie in the archive."""
    room = len(archive) // tar.BLOCK
    places, sizes = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    members, end = tar.find_members(archive, places, sizes)
    if end != len(archive):
        _refuse(archive, end, "is damaged or cut off")
    return places[:members], sizes[:members]


def _decode(
    archive: NDArray[np.uint8], places: NDArray[np.int64], sizes: NDArray[np.int64], layout: Layout
) -> tuple[pa.RecordBatch, np.dtype[Any]]:
    """The batch that the members hold where they are sound, else any other; and the type of its ids."""
    with_mask = layout.has_mask and b".loss_mask.npy\0" in _name(
        archive, int(places[min(1, len(places) - 1)])
    )
    members = layout.members(with_mask)
    if len(places) % len(members):
        _refuse(archive, int(places[-1]), f"is the last of {len(places)}, but a sample has {len(members)}")
    starts = (places + tar.BLOCK).reshape(-1, len(members)).T.copy()
    lengths = sizes.reshape(-1, len(members)).T.copy()

    id_type = np.dtype(np.uint16 if b"'<u2'" in archive[tar.BLOCK : 2 * tar.BLOCK].tobytes() else np.int32)
    heads = {"input_ids.npy": tar.npy_head(id_type), "loss_mask.npy": tar.npy_head(np.dtype(np.uint8))}
    ragged = {}
    for place, name in enumerate(members[:-1]):
        head, item = len(heads.get(name, b"")), id_type.itemsize if name == "input_ids.npy" else 1
        wrong = np.flatnonzero((lengths[place] < head) | ((lengths[place] - head) % item != 0))
        if len(wrong):
            _refuse(archive, int(starts[place, wrong[0]]) - tar.BLOCK, "has an impossible size")
        counts = lengths[place] - head
        values = np.empty(int(counts.sum()), dtype=np.uint8)
        tar.gather(archive, starts[place] + head, counts, values)
        ragged[name] = values, counts // item

    columns_read: dict[str, tuple[NDArray[Any], NDArray[np.int64]]] = {}
    if layout.has_tokens:
        values, counts = ragged["input_ids.npy"]
        columns_read["input_ids"] = values.view(id_type), counts
        if layout.has_mask:
            columns_read["loss_mask"] = ragged["loss_mask.npy"] if with_mask else _ones(counts)
            other = np.flatnonzero(columns_read["loss_mask"][1] != counts)
            if len(other):
                _refuse(archive, int(starts[1, other[0]]) - tar.BLOCK, "is not as long as its tokens")
    for name in layout.texts:
        columns_read[name] = ragged["txt" if name == "text" else f"{name}.txt"]
    form: Form = layout.form(layout.has_mask and not with_mask)
    columns_read.update(form.read(archive, starts[-1], lengths[-1]))
    arrays = [_array(field.type, *columns_read[field.name]) for field in layout.schema]
    return pa.RecordBatch.from_arrays(arrays, schema=layout.schema), id_type


def _ones(counts: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.ones(int(counts.sum()), dtype=np.uint8), counts


def _array(data_type: pa.DataType, values: NDArray[Any], counts: NDArray[np.int64]) -> pa.Array:
    """A column of integers, of lists of them or of texts (values are their UTF-8 bytes)."""
    rows = len(counts)
    if not pa.types.is_list(data_type) and not pa.types.is_string(data_type):
        return pa.array(values.astype(dtype_of(data_type), copy=False), type=data_type)
    if len(values) > INT32_MAX:
        raise OstracaError(
            f"a row group has {len(values)} values in a column, at most {INT32_MAX} are allowed"
        )
    offsets = pa.py_buffer(np.cumsum(np.concatenate([[0], counts]), dtype=np.int32))
    if pa.types.is_string(data_type):
        return pa.StringArray.from_buffers(rows, offsets, pa.py_buffer(values))
    flat = values.astype(dtype_of(data_type.value_type), copy=False)
    child = pa.Array.from_buffers(data_type.value_type, len(flat), [None, pa.py_buffer(flat)])
    return pa.Array.from_buffers(data_type, rows, [None, offsets], children=[child])


def _name(archive: NDArray[np.uint8], place: int) -> bytes:
    """The field of a member's name, with the zeros that end it."""
    return archive[place : place + 100].tobytes() + b"\0"


def _refuse(archive: NDArray[np.uint8], place: int, what: str) -> NoReturn:
    """OstracaError about the member whose header is at `place`."""
    name = _name(archive, place).partition(b"\0")[0].decode("ascii", "replace")
    raise OstracaError(
        f"a row group is damaged: its member {shown(name)} {what}; run `ostraca verify`, and build or fetch "
        "the shard again"
    )
