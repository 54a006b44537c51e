"""What an earlier call has left in a folder: finished shards, a whole corpus, or what is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...tasks.errors import ConfigError, OstracaError
from ..corpus import manifest as manifests
from ..corpus.layout import LOCK, SPEC, STATE, record_path
from ..corpus.manifest_checks import require_records
from ..corpus.records import FORMAT_VERSION, ShardRecord, records_of
from ..spec.check import spec_digest
from ..spec.differences import first_difference
from ..spec.form import is_spec
from ..spec.shards import Part, Shard
from ..spec.versions import take_versions
from ..store.folder import Folder, read_json
from ..store.local import LocalFolder
from .jobs.engine import available_cores
from .shards.shard import ShardResult


def refuse_other(
    folder: Folder, spec: Mapping[str, Any], part: Part, *, locked: bool
) -> dict[str, Any] | None:
    """The manifest of the whole corpus in `folder`, or None where this build may begin or resume there.

    Refuses a folder that holds, or was begun as, the corpus of another spec, or anything of the user's.
    """
    if folder.size(manifests.NAME) is not None:
        manifest = manifests.read_manifest(folder, parts=True, versions=take_versions)
        _refuse_spec(folder, manifest["spec"], spec, "holds")
        require_records(folder, manifest)
        if manifests.part_of(manifest) != part:
            held = manifests.part_of(manifest)
            raise OstracaError(
                f"{folder}: holds part {held[0]}/{held[1]} of this corpus, not part {part[0]}/{part[1]}; "
                "choose another out="
            )
        return manifest
    if folder.size(SPEC) is not None:
        try:
            other = read_json(folder, SPEC)["spec"]
            if not is_spec(other):
                raise TypeError("spec")
        except (OstracaError, KeyError, TypeError):
            raise OstracaError(
                f"{folder}/{SPEC}: cannot be read; remove {folder} or choose another out="
            ) from None
        if any(name.startswith(f"{STATE}/shards/") for name in folder.names(f"{STATE}/shards")):
            _refuse_spec(folder, other, spec, "was begun as")
        return None
    # A build that has not got to spec.json leaves its lock alone.
    names = (name for name in folder.names() if name != LOCK)
    # Another may be clearing away this very moment, its manifest written since we looked.
    stranger = next((name for name in names if locked or not name.startswith(f"{STATE}/")), None)
    if stranger is not None:
        raise ConfigError(
            f"{folder}: is not empty ({stranger.split('/')[0]} is there) and holds no corpus; "
            "choose another out="
        )
    return None


def _refuse_spec(folder: Folder, other: Mapping[str, Any], spec: Mapping[str, Any], how: str) -> None:
    digests = spec_digest(other), spec_digest(spec)
    if digests[0] != digests[1]:
        difference = first_difference(other, spec)
        where = "" if difference is None else f" ({f'{difference.what} {difference.where}'.strip()}"
        sides = "" if difference is None else f": {difference.path} there, {difference.other} here)"
        raise ConfigError(
            f"{folder}: {how} the corpus with spec digest {digests[0]}, not the one asked for, {digests[1]}"
            f"{where}{sides}; choose another out= or remove that folder"
        )


def missing_files(folder: Folder, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of a whole corpus's files that are gone or of another size than when it was built."""
    records = [*(record for _, record in records_of(manifest)), *manifest["files"]]
    with ThreadPoolExecutor(4 * available_cores()) as pool:  # asking a store mostly waits
        sizes = pool.map(folder.size, (record["path"] for record in records))
        return [record for record, size in zip(records, sizes, strict=True) if size != record["bytes"]]


def left_behind(folder: Folder) -> bool:
    """Whether a build that wrote its manifest was killed before it had cleared away."""
    if isinstance(folder, LocalFolder):
        state = folder.root / STATE
        if state.is_dir() and not any(state.iterdir()):  # killed when only the folder itself was left
            return True
    return any(name != LOCK for name in folder.names(STATE))


def finished_shard(folder: Folder, shard: Shard, digest: str) -> ShardResult | None:
    """The record of a shard that an earlier call finished, if it did."""
    try:
        if folder.size(record_path(shard)) is None:
            return None
        plain = read_json(folder, record_path(shard))
        result = ShardResult.from_dict(plain)
        given = (plain["spec_digest"], result.record.path, result.record.first_index, result.record.count)
        wanted = (digest, shard.path, shard.first_index, shard.count)
        # One of an older release lacks what a manifest says today: that shard is made again.
        return result if given == wanted and result.record.format == FORMAT_VERSION else None
    except (OstracaError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_intact(folder: Folder, record: ShardRecord, path: str) -> bool:
    """Whether the shard's file stands at `path` with every byte that the record counts and hashes."""
    try:
        return folder.size(path) == record.bytes and folder.sha256(path) == record.sha256
    except OstracaError:
        return False
