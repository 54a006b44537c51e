"""Other corpora whose examples are left out: their fingerprints, regenerated from their manifests alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....tasks.errors import ConfigError, OstracaError
from ...corpus.changes import Changes
from ...corpus.layout import STATE
from ...corpus.manifest import read_manifest, spec_in
from ...corpus.manifest_checks import check_records
from ...corpus.records import records_of
from ...corpus.split import Split
from ...spec.dedup import SEARCHING
from ...spec.shards import Shard, plan
from ...spec.versions import require_versions
from ...store.folder import Folder
from ...store.open import open_folder
from ..jobs.engine import Engine
from ..shards.prints import prints_size, write_prints
from ..shards.shard import shard_prints


def with_against(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as given, its dedup.against told by digests where it names folders."""
    complete = dict(spec)
    dedup = complete.get("dedup")
    if not isinstance(dedup, Mapping) or not isinstance(dedup.get("against"), list | tuple):
        return complete
    key = dedup.get("key", "tokens")
    others = [
        _described(other, key) if isinstance(other, str | Path) else other for other in dedup["against"]
    ]
    complete["dedup"] = {**dedup, "against": others}
    return complete


def _described(path: str | Path, key: Any) -> dict[str, Any]:
    """What the spec holds of another corpus."""
    try:
        manifest = read_manifest(path, versions=require_versions)
    except OstracaError as error:
        raise ConfigError(f"dedup.against: {error}") from None
    own = manifest["spec"]["dedup"]
    if own["mode"] in SEARCHING and own["key"] != key:
        raise ConfigError(
            f"dedup.against: {path} was deduplicated by {own['key']}, this corpus by {key}; "
            f"set dedup.key={own['key']}"
        )
    return {
        "path": str(open_folder(path)),
        **{name: manifest[name] for name in ("name", "spec_digest", "content_digest")},
    }


def against_prints(
    spec: Mapping[str, Any],
    folder: Folder,
    engine: Engine,
    on_step: Callable[[str, int, int], None],
) -> dict[str, int]:
    """Make the fingerprints of all examples of the corpora in `against`: files -> how many each holds."""
    examples: dict[str, int] = {}
    for number, other in enumerate(spec["dedup"]["against"]):
        if other["path"] is None:
            raise OstracaError(f"dedup.against: say where the corpus {other['name']} is")
        manifest = read_manifest(other["path"], versions=require_versions)
        if manifest["content_digest"] != other["content_digest"]:
            raise OstracaError(
                f"dedup.against: {other['path']} has content digest {manifest['content_digest']}, but the "
                f"spec asks for {other['content_digest']}; give the corpus with that digest"
            )
        problems = check_records(manifest)
        if problems:
            raise OstracaError(f"dedup.against: {other['path']}/{problems[0]}")
        theirs = spec_in(other["path"], manifest)
        theirs["dedup"] = {**theirs["dedup"], "key": spec["dedup"]["key"]}
        changes = {record["path"]: record.get("changes", "") for _, record in records_of(manifest)}
        job = functools.partial(_print_shard, theirs, changes, folder, number)
        wanted = {_path(number, shard): shard for shard in plan(theirs)}
        examples |= {
            path: shard.count - Changes.parse(changes[shard.path], shard.count).dropped
            for path, shard in wanted.items()
        }
        missing = [
            shard for path, shard in wanted.items() if folder.size(path) != prints_size(examples[path])
        ]
        for done, _ in enumerate(engine.map(job, missing), 1):
            on_step(f"against {other['name']}", done, len(missing))
    return examples


def _path(number: int, shard: Shard) -> str:
    return f"{STATE}/dedup/against/{number:04d}/{shard.path}"


def _print_shard(
    theirs: Mapping[str, Any], changes: Mapping[str, str], folder: Folder, number: int, shard: Shard
) -> None:
    """Write the fingerprints of a shard of another corpus."""
    prints = shard_prints(
        Split.of(theirs, shard.dataset, shard.split), shard, Changes.parse(changes[shard.path], shard.count)
    )
    write_prints(folder, _path(number, shard), prints, np.arange(len(prints)))
