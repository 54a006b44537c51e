"""What the tests of whole corpora share: small crowded specs, and readers of our files that are not ours."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import zstandard

from ostraca.pipeline.spec.shards import plan

Part = tuple[str, str]  # dataset, split
Rows = dict[Part, dict[Any, dict[str, Any]]]
FORMATS = [("parquet", "zstd"), ("webdataset", "none"), ("webdataset", "zstd")]
PACKS = ["left_aligned", "whole", "best_fit", "concat"]


def crowded(
    datasets: Mapping[str, tuple[str, dict[str, Any]]], splits: Mapping[str, Any], **extra: Any
) -> dict[str, Any]:
    """A spec of these datasets (name -> task, config), all with the same splits, in small shards."""
    return {
        "name": "crowded",
        "shard_tokens": 4_000,
        "row_group_tokens": 1_000,
        "datasets": {
            name: {
                "task": task,
                "config": config,
                "splits": {each: dict(own) for each, own in splits.items()},
            }
            for name, (task, config) in datasets.items()
        },
        **extra,
    }


def decoded(root: Path, spec: Mapping[str, Any]) -> Rows:
    """Every row of a corpus by its index, read with pyarrow, tarfile, json and NumPy alone."""
    found: Rows = {}
    for shard in plan(spec):
        own = found.setdefault((shard.dataset, shard.split), {})
        path = root / shard.path
        rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else tar_rows(path)
        for row in rows:
            if "loss_mask" in row:
                row["loss_mask"] = list(row["loss_mask"])  # in Parquet it is bytes
            name = (row["index"], row["offset"]) if "offset" in row else row["index"]
            assert name not in own
            own[name] = row
    return found


def tar_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a WebDataset shard, in its order."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            data = reader.read()
    rows: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            key, _, name = member.name.partition(".")
            row = rows.setdefault(key, {})
            file = archive.extractfile(member)
            assert file is not None
            content = file.read()
            if name.endswith(".npy"):
                row[name.removesuffix(".npy")] = np.load(io.BytesIO(content)).tolist()
            elif name.endswith("txt"):
                row["text" if name == "txt" else name.removesuffix(".txt")] = content.decode()
            else:
                row |= json.loads(content)
    for row in rows.values():
        if row.get("loss_mask") == 1 or ("input_ids" in row and "loss_mask" not in row):
            row["loss_mask"] = [1] * len(row["input_ids"])
    return list(rows.values())


def files_below(root: Path) -> dict[str, bytes]:
    """Every file of a folder but the manifest, which tells the time."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
