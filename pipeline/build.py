"""`build`: from a spec to a whole corpus; killed at any moment, the same call goes on."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline import manifest as manifests
from pipeline.engine import available_cores, check_engine, map_shards
from pipeline.plan import Shard, plan
from pipeline.shard import STATE, ShardRecord, make_shard, record_path
from pipeline.spec import check_spec, spec_digest
from pipeline.storage import (
    is_temporary,
    lock,
    plain_errors,
    remove_temporary_files,
    sha256_of,
    write_bytes,
    write_json,
)
from tasks.errors import OstracaError
from tasks.vocabulary import tokenizer_files


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

    A folder in which the same build was begun is finished, its intact shards (sha256) kept. In one that
    holds the corpus already, shards that are gone or of another size are made again; else it is left as
    it is. Any other folder that is not empty is refused. `on_shard(record, kept)` is called for
    every shard, in any order; kept: it was there already.
    """
    root = Path(out)
    complete = check_spec(manifests.with_own_tokenizers(root, spec))
    check_engine(engine, workers, ray_address)
    digest = spec_digest(complete)
    with plain_errors(root):
        whole = _refuse_other(root, digest)
    if whole is not None and not _missing(root, whole):
        return whole
    with lock(root / STATE / "lock"):
        # Since the lock is ours: another build may have finished a moment ago.
        whole = _refuse_other(root, digest)
        manifest = _finish(complete, digest, root, engine, workers, ray_address, on_shard, whole)
        with plain_errors(root):
            shutil.rmtree(root / STATE)
    return manifest


def _missing(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files of a whole corpus that are gone or of another size than when it was built."""
    return [
        record["path"]
        for record in [*(record for _, record in manifests.records_of(manifest)), *manifest["files"]]
        if not _has_size(root / record["path"], record["bytes"])
    ]


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _finish(
    spec: dict[str, Any],
    digest: str,
    root: Path,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    on_shard: Callable[[ShardRecord, bool], None],
    whole: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Make what is missing and write the manifest; `whole`: the manifest that stood there already."""
    with plain_errors(root):
        remove_temporary_files(root, [root / STATE, *(root / name for name in spec["datasets"])])
    write_json(root / STATE / "spec.json", {"spec_digest": digest, "spec": spec})
    files = []
    for path, content in tokenizer_files(spec):  # first: whoever goes on with the build has the tokenizers
        written = write_bytes(root / path, content)
        files.append({"path": path, "bytes": written.size, "sha256": written.sha256})
    if whole is None:
        known = {shard.path: _record(root, shard, digest) for shard in plan(spec)}
    else:
        known = {r["path"]: ShardRecord(split=split, **r) for split, r in manifests.records_of(whole)}
    records: dict[str, ShardRecord] = {}
    with ThreadPoolExecutor(available_cores()) as pool:
        found = [record for record in known.values() if record is not None]
        for record, intact in zip(found, pool.map(functools.partial(_is_intact, root), found), strict=True):
            if intact:
                records[record.path] = record
                on_shard(record, True)
    job = functools.partial(make_shard, spec, digest, root=str(root.resolve()))
    missing = (shard for shard in plan(spec) if shard.path not in records)
    results = map_shards(job, missing, spec, engine=engine, workers=workers, ray_address=ray_address)
    for record in results:
        if not _has_size(root / record.path, record.bytes):
            raise OstracaError(
                f"{root / record.path}: was made by a worker but is not here; "
                "out= must be a folder that all nodes share"
            )
        before = known.get(record.path)
        if before is not None and before.content_digest != record.content_digest:
            raise OstracaError(
                f"{root / record.path}: made again its content digest is {record.content_digest}, not "
                f"{before.content_digest} as before; the manifest is left as it was: run `ostraca verify`"
            )
        records[record.path] = record
        on_shard(record, False)
    manifest = manifests.make_manifest(spec, (records[shard.path] for shard in plan(spec)), files)
    manifests.write_manifest(root, manifest)
    return manifest


def _record(root: Path, shard: Shard, digest: str) -> ShardRecord | None:
    """The record of a shard that an earlier call finished, if it did."""
    try:
        record = json.loads(record_path(str(root), shard).read_text())
        given = (record.pop("spec_digest"), record["path"], record["first_index"], record["count"])
        wanted = (digest, shard.path, shard.first_index, shard.count)
        return ShardRecord(**record) if given == wanted else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_intact(root: Path, record: ShardRecord) -> bool:
    """Whether the shard's file is there with every byte that the record counts and hashes."""
    path = root / record.path
    try:
        return _has_size(path, record.bytes) and sha256_of(path) == record.sha256
    except OSError:
        return False


def _refuse_other(root: Path, digest: str) -> dict[str, Any] | None:
    """The manifest of the whole corpus in `root`, or None where this build may begin or go on there.

    Refuses a folder that holds, or was begun as, the corpus of another spec, or anything of the user's.
    """
    if not root.exists():
        return None
    if (root / manifests.NAME).exists():
        manifest = manifests.read_manifest(root)
        _refuse_digest(root, manifest["spec_digest"], digest, "holds")
        return manifest
    begun = root / STATE / "spec.json"
    if begun.exists():
        try:
            other = json.loads(begun.read_text())["spec_digest"]
        except (ValueError, KeyError, TypeError):
            raise OstracaError(f"{begun}: cannot be read; remove {root} or choose another out=") from None
        if any((root / STATE / "shards").rglob("*.json")):
            _refuse_digest(root, other, digest, "was begun as")
        return None
    found = [path for path in root.iterdir() if path.name != STATE]
    if (root / STATE).is_dir():  # a build that has not got to spec.json leaves its lock alone
        found += [path for path in (root / STATE).iterdir() if path.name != "lock" and not is_temporary(path)]
    stranger = next(iter(found), None)
    if stranger is not None:
        raise OstracaError(
            f"{root}: is not empty ({stranger.name} is there) and holds no corpus; choose another out="
        )
    return None


def _refuse_digest(root: Path, other: str, digest: str, how: str) -> None:
    if other != digest:
        raise OstracaError(
            f"{root}: {how} the corpus with spec digest {other}, not the one asked for, {digest}; "
            "choose another out= or remove that folder"
        )
