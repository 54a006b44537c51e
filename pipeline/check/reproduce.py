"""`reproduce`: the manifest against the tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ...tasks.errors import OstracaError, check_integer
from ..build.jobs.engine import EngineSettings, open_engine
from ..build.shards.shard import shard_content
from ..build.shards.warm import warm_kernels
from ..corpus.changes import Changes
from ..corpus.manifest import part_of, read_manifest, spec_in
from ..corpus.manifest_checks import check_records
from ..corpus.records import records_of
from ..spec.shards import Shard, plan
from ..spec.versions import require_versions


def reproduce(
    root: Path | str,
    *,
    shards: int | None = None,
    seed: int = 0,
    on_shard: Callable[[str, bool], None] = lambda path, same: None,
    **settings: Unpack[EngineSettings],
) -> tuple[int, list[str]]:
    """Make shards again from the manifest alone and compare content digests.

    shards: how many, drawn at random by `seed` (None: all). Returns how many were made and the problems.
    No shard is read: what is tested is that the manifest is enough.
    """
    manifest = read_manifest(root, parts=True, versions=require_versions)
    spec = spec_in(root, manifest)
    if shards is not None:
        check_integer("shards", shards, 1)
    check_integer("seed", seed, 0)
    problems = check_records(manifest)
    if problems:
        raise OstracaError(f"{root}/{problems[0]}")
    wanted = {record["path"]: record["content_digest"] for _, record in records_of(manifest)}
    changes = {r["path"]: r["changes"] for _, r in records_of(manifest) if r.get("changes")}
    chosen = list(plan(spec, part_of(manifest)))
    if shards is not None and shards < len(chosen):
        order = np.random.default_rng(seed).permutation(len(chosen))[:shards]
        chosen = [chosen[place] for place in sorted(order)]
    where: EngineSettings = {"engine": "local", **settings}
    job = functools.partial(_content_job, spec, changes)
    with open_engine(functools.partial(warm_kernels, spec), **where) as runner:
        for path, digest in runner.map(job, chosen):
            same = digest == wanted[path]
            if not same:
                problems.append(
                    f"{path}: regenerated, its content digest is {digest}, the manifest says {wanted[path]}"
                )
            on_shard(path, same)
    return len(chosen), problems


def _content_job(spec: Mapping[str, Any], changes: Mapping[str, str], shard: Shard) -> tuple[str, str]:
    own = Changes.parse(changes.get(shard.path, ""), shard.count)
    return shard.path, str(shard_content(spec, shard, own))
