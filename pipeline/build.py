"""`build`: from a spec to a whole corpus; killed at any moment, the same call goes on."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import manifest as manifests
from pipeline.engine import check_engine, map_shards
from pipeline.plan import Shard, plan
from pipeline.shard import ShardRecord, make_shard, record_path
from pipeline.spec import check_spec, spec_digest
from pipeline.storage import lock, plain_errors, remove_temporary_files, write_json
from tasks.base import OstracaError

_STATE = "_build"  # spec.json, lock and records of finished shards, until the manifest stands


def build(
    spec: Mapping[str, Any],
    out: Path | str,
    *,
    engine: str = "ray",
    workers: int | None = None,
    ray_address: str | None = None,
    on_shard: Callable[[ShardRecord, bool], None] = lambda record, kept: None,
) -> dict[str, Any]:
    """Build the corpus of `spec` in the folder `out` and return its manifest.

    A folder in which the same build was begun is finished, its shards kept; one that holds the whole
    corpus is left as it is; any other that is not empty is refused. `on_shard(record, kept)` is called for
    every shard, in any order; kept: it was there already.
    """
    complete = check_spec(spec)
    check_engine(engine, workers)
    digest = spec_digest(complete)
    root = Path(out)
    state = root / _STATE
    with plain_errors(root):
        _refuse_other(root, digest)
        if not (root / manifests.NAME).exists():
            _check_empty(root)
    with lock(state / "lock"):
        if (root / manifests.NAME).exists():  # whole already, maybe since a moment ago
            manifest = manifests.read_manifest(root)
        else:
            manifest = _finish(complete, digest, root, engine, workers, ray_address, on_shard)
        with plain_errors(root):
            shutil.rmtree(state)
    return manifest


def _finish(
    spec: dict[str, Any],
    digest: str,
    root: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    on_shard: Callable[[ShardRecord, bool], None],
) -> dict[str, Any]:
    with plain_errors(root):
        remove_temporary_files(root)
    write_json(root / _STATE / "spec.json", {"spec_digest": digest, "spec": spec})
    records: dict[str, ShardRecord] = {}
    for shard in plan(spec):
        found = _finished(root, shard, digest)
        if found is not None:
            records[shard.path] = found
            on_shard(found, True)
    job = functools.partial(make_shard, spec, digest, root=str(root.resolve()))
    missing = _without(plan(spec), frozenset(records))
    results = map_shards(job, missing, spec, engine=engine, workers=workers, ray_address=ray_address)
    for record in results:
        records[record.path] = record
        on_shard(record, False)
    manifest = manifests.make_manifest(spec, (records[shard.path] for shard in plan(spec)))
    manifests.write_manifest(root, manifest)
    return manifest


def _without(shards: Iterator[Shard], finished: frozenset[str]) -> Iterator[Shard]:
    return (shard for shard in shards if shard.path not in finished)


def _finished(root: Path, shard: Shard, digest: str) -> ShardRecord | None:
    """The record of a shard that was finished by an earlier call, if it was."""
    try:
        record = json.loads(record_path(str(root), shard).read_text())
        same = record.pop("spec_digest") == digest
        whole = (root / shard.path).stat().st_size == record["bytes"]
        return ShardRecord(**record) if same and whole else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _refuse_other(root: Path, digest: str) -> None:
    """Refuse a folder that holds, or was begun as, the corpus of another spec."""
    other = None
    if (root / manifests.NAME).exists():
        other = manifests.read_manifest(root)["spec_digest"]
    elif (root / _STATE / "spec.json").exists():
        try:
            other = json.loads((root / _STATE / "spec.json").read_text())["spec_digest"]
        except (ValueError, KeyError, TypeError):
            raise OstracaError(
                f"{root}/{_STATE}/spec.json cannot be read; remove the folder or choose another out="
            ) from None
    if other is not None and other != digest:
        raise OstracaError(
            f"{root}: holds the corpus with spec digest {other}, not the one asked for, {digest}; "
            "choose another out= or remove that folder"
        )


def _check_empty(root: Path) -> None:
    """A folder that no build has begun in must be empty: nothing of the user's is ever mixed in."""
    if not root.exists() or (root / _STATE).is_dir():
        return
    other = next(root.iterdir(), None)
    if other is not None:
        raise OstracaError(
            f"{root}: is not empty ({other.name} is there) and holds no corpus; choose another out="
        )
