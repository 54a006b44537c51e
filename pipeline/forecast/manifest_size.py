"""The size of a manifest, from the bytes of a few records like those that it will hold; within 15 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..corpus.changes import Changes
from ..corpus.manifest import INLINE_BYTES, make_manifest
from ..corpus.manifest_parts import PART_BYTES, compressed_lines, record_lines
from ..corpus.numbers import encode_numbers
from ..corpus.records import ShardRecord
from ..corpus.row_groups import DIGEST_BYTES, Tail
from ..spec.formats import suffix_of
from ..spec.shards import Shard
from ..store.folder import json_bytes
from .splits import SplitPlan

# Bytes beyond which a loader starts slowly. A trillion tokens take 11 MB (2.5 bytes a row group, for
# its tokens), and are read and checked in 2 s, nearly all of it for the 15,000 shards.
LARGE_MANIFEST = 50_000_000
_RECORDS = 256  # of each split that are made up
_NUMBERS = 1 << 16  # in the lists of their records together
_HELD = 2500  # bytes that a record takes in memory, beside three copies of its line


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
    # Of each split of the manifest: its shards, bytes of their lines as they are and compressed.
    shards: dict[str, int] = {}
    text: dict[str, float] = {}
    packed: dict[str, float] = {}
    some: list[ShardRecord] = []
    for split in splits:
        records = _sample(spec, split, duplicates.get((split.dataset, split.split), 0.0))
        lines = record_lines({k: v for k, v in own.as_dict().items() if k != "split"} for own in records)
        scale = split.shards / len(lines)
        shards[split.split] = shards.get(split.split, 0) + split.shards
        text[split.split] = text.get(split.split, 0.0) + scale * sum(map(len, lines))
        packed[split.split] = packed.get(split.split, 0.0) + scale * len(compressed_lines(lines))
        some.append(records[0])
    counts = {"asked": 0, "redrawn": 0, "dropped": 0, "exhausted": False}
    look = spec["dedup"]["mode"] != "off"
    manifest = make_manifest(
        spec,
        some,
        [{"path": path, "bytes": size, "sha256": "0" * 64} for path, size in side_files],
        dedup={f"{split.dataset}/{split.split}": counts for split in splits} if look else None,
    )
    lines_size, all_shards = sum(text.values()), sum(shards.values())
    inline = lines_size <= INLINE_BYTES
    parts = 0
    for name, entry in manifest["splits"].items():
        entry["shards"] = []
        if not inline:
            number = max(1, -(-int(text[name]) // PART_BYTES))
            file = {"path": f"manifest/{name}-00000.jsonl.zst", "bytes": PART_BYTES, "sha256": "0" * 64}
            entry["shards"] = {"count": shards[name], "files": [file] * number}
            parts += number
    beside = len(",\n    ") * all_shards if inline else 0
    records_size = lines_size + beside if inline else sum(packed.values())
    return ManifestSize(
        bytes=round(records_size) + len(json_bytes(manifest)),
        files=1 + parts,
        lines=round(lines_size),
        memory=round(all_shards * _HELD + 3 * lines_size),
    )


def _sample(spec: Mapping[str, Any], split: SplitPlan, duplicates: float) -> list[ShardRecord]:
    """Records of shards that are spread evenly over a split; what is not known of them is made up."""
    rng = np.random.default_rng(split.shards)
    packed = spec["pack"] is not None
    changed = duplicates / split.shards
    listed = (1 + packed) * split.shard_groups + changed
    count = int(max(16, min(_RECORDS, _NUMBERS / max(1.0, listed), split.shards)))
    records = []
    for number in np.unique(np.linspace(0, split.shards - 1, count).astype(np.int64)).tolist():
        first = number * split.shard_examples
        rows = min(split.shard_examples, split.examples - first)
        groups = -(-rows // split.group_examples)
        share = rows / split.shard_examples
        tokens = share * split.shard_tokens + rng.normal() * split.token_deviation * groups**0.5
        size = share * split.shard_bytes + rng.normal() * split.group_size.deviation * groups**0.5
        group_rows = np.maximum(
            1, np.rint(rng.normal(split.rows.mean, split.rows.deviation, groups * packed))
        )
        group_tokens = np.maximum(
            1, np.rint(rng.normal(tokens / groups, split.token_deviation, groups)).astype(np.int64)
        )
        places = np.sort(rng.choice(rows, min(int(rng.poisson(changed)), rows), replace=False))
        attempts = np.full(len(places), int(spec["dedup"]["mode"] == "redraw"), np.int64)
        shard = Shard(
            dataset=split.dataset,
            split=split.split,
            number=number,
            total=split.shards,
            first_index=first,
            count=rows,
            suffix=suffix_of(spec["format"], spec["compression"]),
        )
        records.append(
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
                changes=str(Changes(places=places.astype(np.int64), attempts=attempts)),
                group_rows=encode_numbers(group_rows.astype(np.int64)),
                group_tokens=encode_numbers(group_tokens),
                tail=str(Tail(start=max(1, round(size)), digest=rng.bytes(DIGEST_BYTES))),
            )
        )
    return records
