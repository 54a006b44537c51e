"""Readers of the formats that `ostraca export` writes, from their definitions alone."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Read:
    """What a reader finds: documents, their dtype, and their masks where the format has them."""

    documents: list[list[int]]
    dtype: str
    masks: list[list[int]] | None = None
    starts: list[list[int]] | None = None  # of packed rows: where each document begins
    indices: list[int] | None = None  # Megatron's: which sequence is the first of each document, and the end


def cut(flat: Any, ends: Any) -> list[list[int]]:
    """Documents of a flat array from where each ends."""
    starts = [0, *ends[:-1]]
    return [list(map(int, flat[start:end])) for start, end in zip(starts, ends, strict=True)]


def read_megatron(folder: Path, split: str) -> Read:
    with open(folder / f"{split}.idx", "rb") as file:
        assert file.read(9) == b"MMIDIDX\x00\x00"
        assert struct.unpack("<Q", file.read(8)) == (1,)
        dtype = {8: np.dtype("<u2"), 4: np.dtype("<i4")}[file.read(1)[0]]
        sequences, documents = struct.unpack("<QQ", file.read(16))
        lengths = np.frombuffer(file.read(4 * sequences), dtype="<i4")
        pointers = np.frombuffer(file.read(8 * sequences), dtype="<i8")
        indices = np.frombuffer(file.read(8 * documents), dtype="<i8")
        assert file.read() == b""
    content = (folder / f"{split}.bin").read_bytes()
    assert len(content) == lengths.sum() * dtype.itemsize
    found = [
        np.frombuffer(content, dtype=dtype, count=length, offset=pointer).tolist()
        for length, pointer in zip(lengths, pointers, strict=True)
    ]
    return Read(found, dtype.name, indices=indices.tolist())


def read_olmo(folder: Path, split: str) -> Read:
    dtype = dtype_of(folder)
    ids = np.fromfile(folder / split / "token_ids.npy", dtype=dtype)
    mask = np.fromfile(folder / split / "labels_mask.npy", dtype=np.bool_)
    with gzip.open(folder / split / "token_ids.csv.gz", "rt") as file:
        lines = [line.rstrip("\n").split(",") for line in file]
    starts, ends = [int(line[0]) for line in lines], [int(line[1]) for line in lines]
    assert starts == [0, *ends[:-1]]
    assert [line[2:] for line in lines] == [
        [str(i), f"{folder.name}-{split}", str(i)] for i in range(len(lines))
    ]
    assert len(ids) == len(mask) == ends[-1]
    return Read(cut(ids, ends), dtype, cut(mask, ends))


def read_datatrove(folder: Path, split: str) -> Read:
    name, count, _ = (folder / f"{split}.ds.metadata").read_text().split("\n")
    size = int(name.removeprefix(f"{folder.name}|"))
    dtype = {2: "<u2", 4: "<u4"}[size]
    ids = np.fromfile(folder / f"{split}.ds", dtype=dtype)
    mask = np.fromfile(folder / f"{split}.ds.loss", dtype=np.bool_)
    ends = np.fromfile(folder / f"{split}.ds.index", dtype="<u8").astype(int).tolist()
    assert len(ids) == len(mask) == ends[-1] == int(count)
    return Read(cut(ids, ends), np.dtype(dtype).name, cut(mask, ends))


def dtype_of(folder: Path) -> str:
    """The dtype that export.json gives a dataset, for formats whose files do not say."""
    found: str = json.loads((folder.parent / "export.json").read_text())["datasets"][folder.name]["dtype"]
    return found


def read_table(path: Path, samples: int) -> tuple[bytes, list[tuple[int, int]]]:
    """A file whose first bytes say how many samples it has and where each begins and ends."""
    content = path.read_bytes()
    assert struct.unpack_from("<I", content) == (samples,)
    bounds = struct.unpack_from(f"<{samples + 1}I", content, 4)
    assert bounds[-1] == len(content)
    return content, list(pairwise(bounds))


def read_mds(folder: Path, split: str) -> Read:
    """Shards as MosaicML's description of the format has them."""
    index = json.loads((folder / split / "index.json").read_text())
    assert index["version"] == 2
    columns: dict[str, list[list[int]]] = {}
    dtypes: dict[str, str] = {}
    for number, shard in enumerate(index["shards"]):
        raw, zipped = shard.pop("raw_data"), shard.pop("zip_data")
        path = folder / split / raw["basename"]
        content, samples = read_table(path, shard.pop("samples"))
        assert path.name == f"shard.{number:05d}.mds"
        assert raw["bytes"] == len(content)
        assert raw["hashes"] == {"sha256": hashlib.sha256(content).hexdigest()}
        assert [zipped, shard["compression"], shard["format"]] == [None, None, "mds"]
        assert json.loads(content[8 + 4 * len(samples) : samples[0][0]]) == shard
        names = shard["column_names"]
        assert names in (["loss_mask", "tokens"], ["loss_mask", "starts", "tokens"])
        for begin, end in samples:
            sizes = struct.unpack_from(f"<{len(names)}I", content, begin)
            at = begin + 4 * len(names)
            for name, encoding, size in zip(names, shard["column_encodings"], sizes, strict=True):
                dtypes[name] = encoding.removeprefix("ndarray:")
                columns.setdefault(name, []).append(mds_array(content[at : at + size], dtypes[name]))
                at += size
            assert at == end
    assert dtypes["loss_mask"] == "uint8"
    assert dtypes.get("starts") in (None, "int32")
    return Read(columns["tokens"], dtypes["tokens"], columns["loss_mask"], columns.get("starts"))


def mds_array(data: bytes, dtype: str) -> list[int]:
    """An array whose dtype is known and whose shape is not."""
    dimensions, power = divmod(data[0], 4)
    width = 2**power
    assert dimensions == 1
    length = int.from_bytes(data[1 : 1 + width], "little")
    assert power == 0 or length >= 256 ** (width // 2)  # no wider than it needs
    found = np.frombuffer(data[1 + width :], np.dtype(dtype).newbyteorder("<"))
    assert len(found) == length
    found_list: list[int] = found.tolist()
    return found_list


def read_litdata(folder: Path, split: str) -> Read:
    """Items of two arrays or three; litData's numbers of NumPy's types are places in this list."""
    types = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    index = json.loads((folder / split / "index.json").read_text())
    config = index["config"]
    kinds, codes = zip(*(each.split(":") for each in config["data_format"]), strict=True)
    assert set(kinds) == {"no_header_numpy"}
    dtypes = [types[int(code)] for code in codes]
    protocol, tree = json.loads(config["data_spec"])
    names = json.loads(tree["context"])
    assert [protocol, tree["type"]] == [1, "builtins.dict"]
    assert names in (["input_ids", "loss_mask"], ["input_ids", "loss_mask", "starts"])
    assert len(tree["children_spec"]) == len(names) == len(dtypes)
    columns: list[list[list[int]]] = [[] for _ in names]
    for number, chunk in enumerate(index["chunks"]):
        assert chunk["filename"] == f"chunk-0-{number}.bin"
        content, items = read_table(folder / split / chunk["filename"], chunk["chunk_size"])
        assert [chunk["chunk_bytes"], chunk["dim"]] == [len(content), None]
        assert items[0][0] == 4 * (len(items) + 2)
        for begin, end in items:
            sizes = struct.unpack_from(f"<{len(names)}I", content, begin)
            at = begin + 4 * len(names)
            assert at + sum(sizes) == end
            for column, dtype, size in zip(columns, dtypes, sizes, strict=True):
                column.append(np.frombuffer(content[at : at + size], dtype=dtype).tolist())
                at += size
    assert dtypes[1:] in (["uint8"], ["uint8", "int32"])
    return Read(columns[0], dtypes[0], columns[1], columns[2] if len(columns) > 2 else None)


def read_litgpt(folder: Path, split: str) -> Read:
    """Items of ids alone, end to end behind the table."""
    index = json.loads((folder / split / "index.json").read_text())
    (kind,) = index["config"]["data_format"]
    dtype = np.dtype({"no_header_tensor:20": "<u2", "no_header_tensor:16": "<i4"}[kind])
    assert index["config"]["item_loader"] == "TokensLoader"
    documents = []
    for chunk in index["chunks"]:
        content, items = read_table(folder / split / chunk["filename"], chunk["chunk_size"])
        assert chunk["dim"] * dtype.itemsize == len(content) - 4 * (len(items) + 2)
        documents += [np.frombuffer(content[begin:end], dtype=dtype).tolist() for begin, end in items]
    return Read(documents, dtype.name)


READERS = {
    "megatron": read_megatron,
    "olmo": read_olmo,
    "datatrove": read_datatrove,
    "mds": read_mds,
    "litdata": read_litdata,
    "litgpt": read_litgpt,
}
# Those that carry the loss mask.
MASKED = {"olmo", "datatrove", "mds", "litdata"}
