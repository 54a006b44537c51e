"""WebDataset shards: POSIX tars of plain .npy, .json and .txt members, as they are or with zstd.

A row is a sample. Its key is its index with 12 digits, of packed rows (with a column `offset`) followed by
`-` and the offset with 10 digits. Its members, in this order:

    KEY.input_ids.npy   uint16 where all ids of the split fit, else int32
    KEY.loss_mask.npy   uint8; left out where every token of the row group counts
    KEY.txt             UTF-8: the column `text`; KEY.NAME.txt for another column of texts
    KEY.meta.json       the other columns, integers and lists of them, sorted by name, the index too; and
                        "loss_mask":1 where the row group's masks are left out

So the webdataset library reads a shard, and a sample's arrays are

    samples = webdataset.WebDataset("train-00000.tar", shardshuffle=False).decode()
    samples = webdataset.WebDataset("pipe:zstd -dc train-00000.tar.zst", shardshuffle=False).decode()
    tokens = sample["input_ids.npy"].astype("int64")
    mask = sample.get("loss_mask.npy", np.ones_like(tokens))

(Hugging Face's load_dataset("webdataset", data_files="train-*.tar") reads them too, but not .tar.zst.)
With zstd every row group is a frame of its own, and the end of the archive is one more: a row group can be
read alone, and `zstd -dc` gives the tar. Behind the end of the archive stands a table of the row groups (see
`pipeline.corpus.row_groups`), in whole blocks of 512 bytes, with zstd in a frame that is skipped. Files hold
nothing of the day, the user or the machine; as the group of their owner they have the beginning of the spec's
digest.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from ....tasks.core.batch import unragged
from ....tasks.errors import ConfigError, OstracaError, shown
from ..split import Split
from . import tar
from .json_columns import Form

COMPRESSIONS = (None, "zstd")
# Depo1, one core, rows of 2,048 and examples: level 3 is 6% and 4% smaller and writes 71 and 44 Mtok/s
# instead of 119 and 67.
_ZSTD_LEVEL = 1
_SKIPPED_MAGIC = 0x184D2A50  # RFC 8878, 3.1.2: skippable frames
_SKIPPED_FRAME = struct.Struct("<II")
_INDICES = 10 ** tar.KEY_WIDTHS[0]
_NAME = re.compile(r"[a-z0-9_-]{1,60}")  # the webdataset library turns names into lower case
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())
_TOKENS, _MASK = pa.int32(), pa.uint8()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which members the columns of a schema become."""

    schema: pa.Schema
    keys: tuple[str, ...]  # the columns of the key
    has_tokens: bool
    has_mask: bool
    texts: tuple[str, ...]
    numbers: tuple[pa.Field, ...]

    @staticmethod
    def of(schema: pa.Schema) -> Layout:
        """ConfigError where a column is of no kind that a sample can hold."""
        types = {field.name: field.type for field in schema}
        has_tokens = _is_list_of(types.get("input_ids"), _TOKENS)
        has_mask = has_tokens and _is_list_of(types.get("loss_mask"), _MASK)
        if types.get("index") != pa.int64() or len(types) != len(schema):
            raise ConfigError(
                "format=webdataset needs a column index of int64 and a name of its own for every column, "
                f"not {shown(schema.names)}; use format=parquet"
            )
        arrays = ("input_ids",) * has_tokens + ("loss_mask",) * has_mask
        texts = tuple(name for name, kind in types.items() if pa.types.is_string(kind))
        numbers = tuple(field for field in schema if field.name not in (*arrays, *texts))
        for field in numbers:
            value = field.type.value_type if pa.types.is_list(field.type) else field.type
            if value not in _INTEGERS:
                raise ConfigError(
                    f"format=webdataset cannot hold the column {shown(field.name)} of {field.type}: only "
                    "integers to 64 bits (unsigned: 32), lists of them and texts; use format=parquet"
                )
        for name in texts:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"format=webdataset cannot hold texts in a column {shown(name)}: its name must be "
                    "1 to 60 of a-z 0-9 _ -; use format=parquet"
                )
        return Layout(
            schema=schema,
            keys=("index", "offset") if types.get("offset") == pa.int32() else ("index",),
            has_tokens=has_tokens,
            has_mask=has_mask,
            texts=texts,
            numbers=numbers,
        )

    def form(self, mask_left_out: bool) -> Form:
        """The form of meta.json."""
        return Form.of(list(self.numbers), {"loss_mask": 1} if mask_left_out else {})

    def members(self, with_mask: bool) -> list[str]:
        """What stands after the key and its dot in the names of a sample's members, in their order."""
        arrays = ["input_ids.npy"] * self.has_tokens + ["loss_mask.npy"] * with_mask
        return [*arrays, *("txt" if name == "text" else f"{name}.txt" for name in self.texts), "meta.json"]


def _is_list_of(kind: pa.DataType | None, value: pa.DataType) -> bool:
    return kind is not None and pa.types.is_list(kind) and kind.value_type == value


@dataclass(frozen=True, kw_only=True)
class _Content:
    """The contents of one member of every row: row r's are head and payload[offsets[r]:offsets[r + 1]]."""

    payload: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    head: NDArray[np.uint8]
    item: int  # bytes

    @staticmethod
    def of(values: NDArray[Any], offsets: NDArray[Any], npy: bool = False) -> _Content:
        """Of a ragged column; with the head of an npy file where it is to be one."""
        item = values.dtype.itemsize
        payload = np.ascontiguousarray(values).view(np.uint8)
        payload.flags.writeable = False  # whatever it was: Numba would compile kernels once for each kind
        return _Content(
            payload=payload,
            offsets=offsets.astype(np.int64) * item,
            head=tar.npy_head(values.dtype.newbyteorder("<")) if npy else np.frombuffer(b"", dtype=np.uint8),
            item=item,
        )


class Scratch:
    """Memory that is used again: fresh pages cost as much time as what is written to them."""

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes, whatever is in them, until the next call."""
        if size > len(self._memory):
            self._memory = np.empty(size + size // 8, dtype=np.uint8)
        return self._memory[:size]


def encode_group(
    batch: pa.RecordBatch, layout: Layout, id_type: np.dtype[Any], group: bytes, scratch: Scratch
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The members of a batch's rows, as in a tar, in `scratch`; and the places of their headers [members]."""
    contents, with_mask = [], False
    if layout.has_tokens:
        tokens, offsets = unragged(batch.column("input_ids"))
        ids = tokens[offsets[0] : offsets[-1]].astype(id_type, copy=False)
        contents.append(_Content.of(ids, offsets - offsets[0], npy=True))
    if layout.has_mask:
        mask, offsets = unragged(batch.column("loss_mask"))
        with_mask = bool((mask[offsets[0] : offsets[-1]] != 1).any())
        if with_mask:
            contents.append(_Content.of(mask, offsets, npy=True))
    contents += [_Content.of(*unragged(batch.column(name))) for name in layout.texts]
    contents.append(_Content.of(*layout.form(layout.has_mask and not with_mask).write(batch)))

    sizes = np.stack([np.diff(content.offsets) + len(content.head) for content in contents], axis=1)
    spans = tar.BLOCK + sizes + -sizes % tar.BLOCK  # [rows, members of a row]
    ends = np.cumsum(spans.ravel())
    places = (ends - spans.ravel()).reshape(spans.shape)
    out = scratch.of(int(ends[-1]) if len(ends) else 0)
    keys = np.stack([batch.column(name).to_numpy().astype(np.int64) for name in layout.keys], axis=1)
    for member, (suffix, content) in enumerate(zip(layout.members(with_mask), contents, strict=True)):
        tar.lay_members(
            out,
            places[:, member].copy(),
            keys,
            np.array(tar.KEY_WIDTHS),
            tar.member_header(suffix, len(layout.keys), group),
            content.head,
            content.item,
            content.payload,
            content.offsets,
        )
    tar.seal_members(out, places.ravel(), sizes.ravel(), tar.CRC_TABLES)
    return out, places.ravel()


class WebDatasetShardWriter:
    """Writes batches to a binary file; every batch becomes a row group.

    compression: None or "zstd". vocab_size: the largest id of the split plus 1, which decides whether ids are
    written as uint16; None: they are int32. `group_ends` are the offsets in the file after each row group.
    """

    def __init__(
        self,
        sink: Any,
        schema: pa.Schema,
        metadata: dict[str, str],
        *,
        compression: str | None,
        vocab_size: int | None = None,
    ) -> None:
        self.group_ends: list[int] = []
        self._layout = Layout.of(schema)
        self._sink = sink
        self._written = 0
        self._vocab_size = vocab_size
        self._id_type = np.dtype(np.uint16 if vocab_size is not None and vocab_size <= 1 << 16 else np.int32)
        self._group = tar.group_name(metadata.get("ostraca_spec_digest", ""))
        self._compressor = _compressor(compression)
        self._scratch = Scratch()
        self._table = b""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a row group; OstracaError where its rows cannot be samples."""
        self._check(batch)
        members, _ = encode_group(batch, self._layout, self._id_type, self._group, self._scratch)
        self._append(members.data)
        self.group_ends.append(self._written)

    def add_table(self, name: str, table: str) -> None:
        """Put a line about the row groups behind the end of the archive."""
        self._table = f"{name}:{table}".encode("ascii")

    def _append(self, data: Any) -> None:
        if self._compressor is not None and len(data):
            data = self._compressor.compress(data)
        self._sink.write(data)
        self._written += len(data)

    def _check(self, batch: pa.RecordBatch) -> None:
        """OstracaError where a key or an id cannot be written as it is."""
        assert batch.schema.equals(self._layout.schema), "the batch is of another schema"
        assert not any(column.null_count for column in batch.columns), "no column has nulls"
        for name, limit in zip(self._layout.keys, (_INDICES, 1 << 31), strict=False):
            values = batch.column(name).to_numpy()
            if len(values) and not (values.min() >= 0 and values.max() < limit):
                raise OstracaError(
                    f"format=webdataset: the column {name} must be from 0 to {limit - 1}, but goes from "
                    f"{values.min()} to {values.max()}; use format=parquet"
                )
        if self._layout.has_tokens:
            tokens, offsets = unragged(batch.column("input_ids"))
            tokens = tokens[offsets[0] : offsets[-1]]
            self._check_ids(tokens)
        if self._layout.has_mask:
            _, mask_offsets = unragged(batch.column("loss_mask"))
            assert np.array_equal(np.diff(mask_offsets), np.diff(offsets)), "a mask is as long as its tokens"

    def _check_ids(self, tokens: NDArray[np.int32]) -> None:
        limit = self._vocab_size
        if limit is not None and len(tokens) and not (tokens.min() >= 0 and tokens.max() < limit):
            raise OstracaError(
                f"format=webdataset: ids from {tokens.min()} to {tokens.max()}, but the vocabulary has only "
                f"0 to {limit - 1}: this is a bug in ostraca, please report it with the spec"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the end of the archive; after an error nothing, since the file is thrown away."""
        if kind is None:
            self._append(tar.END_OF_ARCHIVE)
            if self._table and self._compressor is None:
                self._sink.write(self._table + bytes(-len(self._table) % tar.BLOCK))
            elif self._table:
                self._sink.write(_SKIPPED_FRAME.pack(_SKIPPED_MAGIC, len(self._table)) + self._table)


def open_writer(split: Split, sink: Any, metadata: dict[str, str]) -> WebDatasetShardWriter:
    """A writer of a shard of a split to a binary file."""
    return WebDatasetShardWriter(
        sink, split.schema, metadata, compression=split.compression, vocab_size=split.vocab_size
    )


def table_of(tail: bytes, name: str) -> str:
    """The line that `add_table` put into a file that ends with `tail`; empty where there is none."""
    _, name_there, table = tail.rpartition(f"{name}:".encode("ascii"))
    return table.rstrip(b"\0").decode("ascii", "replace") if name_there else ""


def _compressor(compression: str | None) -> Any:
    """What compresses row groups, each to a frame with its length and a checksum; None where nothing does."""
    if compression not in COMPRESSIONS:
        raise ConfigError(f"format=webdataset: compression={shown(compression)} must be null or 'zstd'")
    if compression is None:
        return None
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
