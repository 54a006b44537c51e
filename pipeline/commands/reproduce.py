"""`ostraca reproduce`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.errors import check_path
from ..check.reproduce import reproduce as reproduce_shards
from ..corpus.manifest import read_manifest
from ..spec.versions import require_versions
from .progress import ShardProgress
from .ray_settings import ray_settings


def run(config: Mapping[str, Any]) -> int:
    """`ostraca reproduce`: see conf/reproduce.yaml."""
    root = check_path("path", config["path"])
    manifest = read_manifest(root, parts=True, versions=require_versions)
    rows = {s["path"]: s["rows"] for entry in manifest["splits"].values() for s in entry["shards"]}
    wanted = config["shards"]
    count = min(wanted, len(rows)) if isinstance(wanted, int) else len(rows)
    examples = sum(rows.values()) * count // max(len(rows), 1)
    with ShardProgress("reproduce", count, examples) as progress:
        agreeing, problems = reproduce_shards(
            root,
            shards=wanted,
            seed=config["seed"],
            engine=config["engine"],
            workers=config["workers"],
            ray=ray_settings(config),
            on_shard=lambda path, same: progress.advance(rows[path]),
        )
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"{root}: {agreeing} of {len(rows)} shards regenerated from the manifest, content digests equal")
    return 0
