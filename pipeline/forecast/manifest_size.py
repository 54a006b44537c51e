"""The size of a manifest, from real ones of some made-up shards."""

from __future__ import annotations

import base64
import math
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpus.changes import Changes
from ..corpus.manifest import INLINE_BYTES, make_manifest
from ..corpus.manifest_parts import PART_BYTES, compressed_lines, record_lines
from ..corpus.numbers import encode_numbers
from ..corpus.records import ShardRecord
from ..corpus.row_groups import DIGEST_BYTES, Tail
from ..spec.formats import suffix_of
from ..spec.shards import Shard
from ..store.folder import json_bytes
from .measure import Spread
from .splits import SplitPlan

LARGE_MANIFEST = 10_000_000  # bytes: beyond, a loader's start is no longer instant
SAMPLE_RECORDS = 2048  # of each split
_SAMPLE_NUMBERS = 1 << 18  # in the lists of their records together
_TRACED = 64  # records whose memory is looked at
_LONGEST_LIST = 1 << 14  # numbers that are drawn; what is beyond is drawn as text
_RUNS = 8  # of records one after the other


@dataclass(frozen=True, kw_only=True)
class ManifestSize:
    """What a manifest takes."""

    bytes: int  # of all its files
    files: int  # 1: all stands in manifest.json
    lines: int  # bytes of the shards' records as text
    memory: int  # bytes of whoever makes it


def manifest_size(
    spec: Mapping[str, Any],
    splits: Sequence[SplitPlan],
    side_files: Sequence[tuple[str, int]],
    duplicates: Mapping[tuple[str, str], float],
) -> ManifestSize:
    """Of a complete spec. duplicates: how many are listed in the records of each split."""
    files = [{"path": path, "bytes": size, "sha256": "0" * 64} for path, size in side_files]
    counts = {"asked": 0, "redrawn": 0, "dropped": 0, "exhausted": False}
    look = spec["dedup"]["mode"] != "off"
    dedup = {f"{each.dataset}/{each.split}": counts for each in splits} if look else None
    # Of each split of the manifest: its shards, bytes of their lines as they are and compressed.
    shards: dict[str, int] = {}
    text: dict[str, float] = {}
    packed: dict[str, float] = {}
    some: list[ShardRecord] = []
    largest: list[ShardRecord] = []
    for each in splits:
        records = _sample(spec, each, duplicates.get((each.dataset, each.split), 0.0))
        lines = record_lines({k: v for k, v in own.as_dict().items() if k != "split"} for own in records)
        size = sum(map(len, lines)) / len(lines)
        compressed = _compressed_line(lines, min(each.shards, PART_BYTES / size))
        shards[each.split] = shards.get(each.split, 0) + each.shards
        text[each.split] = text.get(each.split, 0.0) + each.shards * size
        packed[each.split] = packed.get(each.split, 0.0) + each.shards * compressed
        largest = max(largest, records, key=len)
        some.append(records[0])
    manifest = make_manifest(spec, some, files, dedup=dedup)
    inline = sum(text.values()) <= INLINE_BYTES
    total, parts = 0.0, 0
    for name, entry in manifest["splits"].items():
        entry["shards"] = []
        if inline:
            total += text[name] + len("\n    ") + len(",\n    ") * (shards[name] - 1) + len("\n   ")
            continue
        number = max(1, -(-int(text[name]) // PART_BYTES))
        file = {"path": f"manifest/{name}-00000.jsonl.zst", "bytes": PART_BYTES, "sha256": "0" * 64}
        entry["shards"] = {"count": shards[name], "files": [file] * number}
        total += packed[name]
        parts += number
    total += len(json_bytes(_with_sums(manifest, splits)))
    return ManifestSize(
        bytes=round(total),
        files=1 + parts,
        lines=round(sum(text.values())),
        memory=round(sum(shards.values()) * _memory(spec, largest[:_TRACED])),
    )


def _memory(spec: Mapping[str, Any], records: Sequence[ShardRecord]) -> float:
    """Bytes that whoever writes the manifest holds for each of these records."""
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = [ShardRecord(**vars(record)) for record in records]
    manifest = make_manifest(spec, held)
    lines = [record_lines(entry["shards"]) for entry in manifest["splits"].values()]
    size = tracemalloc.get_traced_memory()[0] - before
    if not tracing:
        tracemalloc.stop()
    return size / sum(map(len, lines))


def _compressed_line(lines: Sequence[str], count: float) -> float:
    """Compressed bytes of each of `count` lines like these.

    What is alike in them is told by how far back it stands, which takes more of the same bits for each
    doubling of the lines: so much as for the last one here.
    """
    half = lines[: len(lines) // 2]
    whole = len(compressed_lines(lines)) / len(lines)
    if len(lines) < _RUNS or count <= len(lines):
        return whole
    return whole + max(0.0, whole - len(compressed_lines(half)) / len(half)) * math.log2(count / len(lines))


def _with_sums(manifest: dict[str, Any], splits: Sequence[SplitPlan]) -> dict[str, Any]:
    """A manifest with the sums of all shards in place of those of the records that it was made of."""
    for name, entry in [*manifest["splits"].items(), (None, manifest["totals"])]:
        chosen = [each for each in splits if name in (None, each.split)]
        entry["rows"] = sum(each.examples for each in chosen)
        entry["tokens"] = sum(each.tokens for each in chosen)
        entry["bytes"] = sum(each.bytes for each in chosen)
    manifest["totals"]["shards"] = sum(each.shards for each in splits)
    return manifest


def _sample(spec: Mapping[str, Any], split: SplitPlan, duplicates: float) -> list[ShardRecord]:
    """Records of shards in runs that are spread evenly over a split; what is not known of them is drawn."""
    packed = spec["pack"] is not None
    lists = packed * split.shard_groups + round(duplicates / split.shards)
    count = max(2 * _RUNS, min(SAMPLE_RECORDS, _SAMPLE_NUMBERS // max(1, lists)))
    numbers = _numbers(split.shards, count)
    rng = np.random.default_rng(split.shards)
    noise = rng.normal(0.0, 1.0, (len(numbers), 2))
    made = []
    for number, (more_tokens, more_bytes) in zip(numbers, noise.tolist(), strict=True):
        first = number * split.shard_examples
        rows = min(split.shard_examples, split.examples - first)
        groups = -(-rows // split.group_examples)
        share = rows / split.shard_examples
        group_rows = ""
        if packed:
            group_rows = _list(rng, _drawn(rng, split.rows, min(groups, _LONGEST_LIST)), groups)
        shard = Shard(
            dataset=split.dataset,
            split=split.split,
            number=number,
            total=split.shards,
            first_index=first,
            count=rows,
            suffix=suffix_of(spec["format"], spec["compression"]),
        )
        tokens = share * split.shard_tokens + more_tokens * split.token_deviation * groups**0.5
        size = share * split.shard_bytes + more_bytes * split.group_size.deviation * groups**0.5
        made.append(
            ShardRecord(
                dataset=split.dataset,
                split=split.split,
                path=shard.path,
                rows=max(1, round(groups * split.rows.mean)) if packed else rows,
                tokens=max(1, round(tokens)),
                bytes=max(1, round(size)),
                sha256=rng.bytes(32).hex(),
                content_digest=rng.bytes(16).hex(),
                first_index=first,
                count=rows,
                changes=_changes(rng, spec, rows, duplicates / split.shards) if duplicates else "",
                group_rows=group_rows,
                tail=str(Tail(start=max(1, round(size)), digest=rng.bytes(DIGEST_BYTES))),
            )
        )
    return made


def _numbers(shards: int, wanted: int) -> list[int]:
    """Shards' numbers: all, or some in runs."""
    if shards <= wanted:
        return list(range(shards))
    run = wanted // _RUNS
    starts = [(shards - run) * each // (_RUNS - 1) for each in range(_RUNS)]
    return [start + step for start in starts for step in range(run)]


def _drawn(rng: np.random.Generator, like: Spread, count: int) -> NDArray[np.int64]:
    """Numbers [count] of this spread, at least 1."""
    return np.maximum(1, np.rint(rng.normal(like.mean, like.deviation, count))).astype(np.int64)


def _list(rng: np.random.Generator, numbers: NDArray[np.int64], count: int) -> str:
    """As a record lists `count` numbers of which these are the first."""
    text = encode_numbers(numbers)
    beyond = len(text) * (count - len(numbers)) // len(numbers)
    return text + base64.b85encode(rng.bytes(4 * beyond // 5)).decode()


def _changes(rng: np.random.Generator, spec: Mapping[str, Any], rows: int, mean: float) -> str:
    """As the record of a shard with so many duplicates on average lists them."""
    count = min(int(rng.poisson(mean)), rows)
    places = np.sort(rng.choice(rows, count, replace=False)).astype(np.int64)
    attempts = np.full(count, int(spec["dedup"]["mode"] == "redraw"), np.int64)
    return str(Changes(places=places, attempts=attempts))
