"""The records of a manifest's shards, where they stand in compressed files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import zstandard

from ...tasks.core.outside import parse_json
from ...tasks.errors import OstracaError, shown
from ..spec.check import MAX_SHARDS
from ..store.folder import Folder, write_bytes

PART_BYTES = 8 << 20  # of records in a file, before compression; its last record may go beyond
# A record is mostly digests, which no compressor makes much smaller; only the changes of a shard can be long.
_MOST_BYTES = 1 << 28  # of a file
_MOST_UNFOLDED = 32  # times its size, or two files' worth


def record_lines(shards: Iterable[Mapping[str, Any]]) -> list[str]:
    """The records of shards as they stand in the manifest, a line each."""
    return [json.dumps(shard, ensure_ascii=False) for shard in shards]


def write_parts(folder: Folder, split: str, lines: list[str]) -> dict[str, Any]:
    """Write records, a line each, to files of their own; what the manifest says of these."""
    files: list[dict[str, Any]] = []
    waiting: list[str] = []
    size = 0
    for number, line in enumerate(lines, 1):
        waiting.append(line)
        size += len(line)
        if size >= PART_BYTES or number == len(lines):
            path = f"manifest/{split}-{len(files):05d}.jsonl.zst"
            written = write_bytes(folder, path, compressed_lines(waiting))
            files.append({"path": path, "bytes": written.size, "sha256": written.sha256})
            waiting, size = [], 0
    return {"count": len(lines), "files": files}


def compressed_lines(lines: Iterable[str]) -> bytes:
    """What a file of records holds."""
    return zstandard.compress("".join(f"{line}\n" for line in lines).encode(), 9)


def read_parts(folder: Folder, split: str, listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records that `write_parts` wrote; OstracaError, or what a manifest of another form raises."""
    records: list[dict[str, Any]] = []
    for number, file in enumerate(listed["files"]):
        if file["path"] != f"manifest/{split}-{number:05d}.jsonl.zst":
            raise OstracaError(
                f"{folder}: {shown(file['path'])} is not a file of records; the manifest was edited"
            )
        where = f"{folder}/{file['path']}"
        size = folder.size(file["path"])
        if size is not None and (size != file["bytes"] or size > _MOST_BYTES):
            raise OstracaError(
                f"{where}: has {size:,} bytes, not what the manifest says, {shown(file['bytes'])}; restore it"
            )
        data = folder.read(file["path"])
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise OstracaError(f"{where}: its sha256 is not what the manifest says; restore the file")
        most = max(2 * PART_BYTES, _MOST_UNFOLDED * len(data))
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            unfolded = reader.read(most + 1)
        if len(unfolded) > most:
            raise OstracaError(
                f"{where}: unfolds to over {most:,} bytes, which no records do; restore the file"
            )
        lines = unfolded.splitlines()
        if len(records) + len(lines) > MAX_SHARDS:
            raise OstracaError(f"{where}: lists over {MAX_SHARDS:,} shards, the most there are; restore it")
        records += [parse_json(f"{where}, line {number}:", line) for number, line in enumerate(lines, 1)]
    return records
