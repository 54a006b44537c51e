"""`merge`: the parts of a corpus, built apart with `part=1/4` and so on, become one corpus."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...tasks.errors import ConfigError, OstracaError, shown
from ...tasks.vocabulary import tokenizer_files
from ..corpus import manifest as manifests
from ..corpus.layout import LOCK, STATE
from ..corpus.manifest_checks import require_records
from ..corpus.progress import Progress, Silent
from ..corpus.records import ShardRecord, records_of
from ..corpus.totals import Totals, read_totals, write_totals
from ..report.write import write_reports
from ..spec.shards import Part, plan
from ..store.atomic import plain_errors
from ..store.fence import Fence
from ..store.folder import Folder, read_json, write_bytes, write_json
from ..store.local import LocalFolder
from ..store.open import open_folder
from .jobs.engine import available_cores

_BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class _Opened:
    folder: Folder
    manifest: Mapping[str, Any]
    part: Part


def merge(
    parts: Sequence[Path | str],
    out: Path | str,
    *,
    report: bool = False,
    progress: type[Progress] = Silent,
) -> dict[str, Any]:
    """Join all parts of one corpus in the new folder `out` and return the manifest: that of a single build.

    Every byte is checked on its way (sha256); on one file system the files are linked, not copied. The parts
    stay as they are. Called again after a kill it goes on. OstracaError where the parts do not belong
    together, where one is missing or given twice, or where a shard is not what its manifest says.
    """
    opened = [_open(path) for path in parts]
    spec = _check_parts(opened)
    folder = open_folder(out)
    digest = opened[0].manifest["spec_digest"]
    _refuse_other(folder, digest)  # before a lock is put into a folder of somebody else
    with folder.lock(LOCK) as owner:
        folder = folder.fenced(Fence(path=LOCK, owner=owner))
        _refuse_other(folder, digest)
        folder.remove_unfinished()
        write_json(folder, f"{STATE}/merge.json", {"spec_digest": digest})
        sources: dict[str, tuple[Folder, ShardRecord]] = {}
        totals = Totals()
        for part in opened:
            for split, plain in records_of(part.manifest):
                sources[plain["path"]] = (part.folder, ShardRecord(split=split, **plain))
            totals.add_all(read_totals(part.folder, part.manifest))
        records = [sources[shard.path] for shard in plan(spec)]
        bar = progress(f"merge {spec['name']}", len(records), sum(record.rows for _, record in records))
        with bar, ThreadPoolExecutor(available_cores()) as pool:
            for record in pool.map(lambda source: _bring(folder, *source), records):
                bar.advance(record.rows, record.tokens)
        files = []
        for path, content in tokenizer_files(manifests.spec_in(opened[0].folder, opened[0].manifest)):
            written = write_bytes(folder, path, content)
            files.append({"path": path, "bytes": written.size, "sha256": written.sha256})
        files.append(write_totals(folder, totals))
        manifest = manifests.make_manifest(spec, (record for _, record in records), files)
        if report:
            write_reports(folder, manifest, totals)
        manifests.write_manifest(folder, manifest, new=True)
        folder.remove_all(STATE)
    return manifest


def _open(path: Path | str) -> _Opened:
    folder = open_folder(path)
    manifest = manifests.read_manifest(folder, parts=True)
    require_records(folder, manifest)
    manifests.spec_in(folder, manifest)  # refused before anything is written
    return _Opened(folder=folder, manifest=manifest, part=manifests.part_of(manifest))


def _check_parts(opened: Sequence[_Opened]) -> dict[str, Any]:
    """The spec of the whole corpus; ConfigError where these are not all its parts, once each."""
    if not opened:
        raise ConfigError("merge: parts is empty; name the folders of all parts of a corpus")
    first = opened[0]
    seen: dict[int, Folder] = {}
    for part in opened:
        if part.manifest["part"] is None:
            raise ConfigError(f"merge: {part.folder} is a complete corpus, not a part; leave it out")
        for name in ("spec_digest", "tasks"):
            if part.manifest[name] != first.manifest[name]:
                raise ConfigError(
                    f"merge: {first.folder} and {part.folder} are parts of different corpora: their {name} "
                    f"is {shown(first.manifest[name])} and {shown(part.manifest[name])}"
                )
        versions = [each.manifest["format_version"] for each in (first, part)]
        if versions[0] != versions[1]:
            raise ConfigError(
                f"merge: the manifest of {first.folder} is of format {versions[0]}, that of {part.folder} of "
                f"format {versions[1]}, and their shards differ in form; build all parts with one release"
            )
        if part.part[1] != first.part[1]:
            raise ConfigError(
                f"merge: {first.folder} is one of {first.part[1]} parts, {part.folder} one of "
                f"{part.part[1]}; build all parts with the same number of them"
            )
        other = seen.setdefault(part.part[0], part.folder)
        if other is not part.folder:
            raise ConfigError(
                f"merge: {other} and {part.folder} are both part {part.part[0]}; give each once"
            )
    missing = [number for number in range(1, first.part[1] + 1) if number not in seen]
    if missing:
        raise ConfigError(
            f"merge: part {missing[0]}/{first.part[1]} is missing ({len(missing)} in all); build it with "
            f"part={missing[0]}/{first.part[1]}"
        )
    spec: dict[str, Any] = first.manifest["spec"]
    return spec


def _refuse_other(folder: Folder, digest: str) -> None:
    """OstracaError where the folder holds anything but what an earlier call for the same corpus left."""
    names = [name for name in folder.names() if name != LOCK]
    if not names:
        return
    if f"{STATE}/merge.json" in names:
        if read_json(folder, f"{STATE}/merge.json").get("spec_digest") == digest:
            return
    raise ConfigError(f"{folder}: is not empty ({names[0]} is there); choose another out=")


def _bring(folder: Folder, source: Folder, record: ShardRecord) -> ShardRecord:
    """A shard of a part, checked, in the whole corpus."""
    if folder.size(record.path) == record.bytes and folder.sha256(record.path) == record.sha256:
        return record
    damaged = OstracaError(
        f"{source}/{record.path}: is not what its manifest says; run `ostraca verify path={source}`"
    )
    if isinstance(folder, LocalFolder) and isinstance(source, LocalFolder):
        if source.size(record.path) != record.bytes or source.sha256(record.path) != record.sha256:
            raise damaged
        target = folder.root / record.path
        with plain_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
        try:
            os.link(source.root / record.path, target)
            return record
        except OSError:  # another file system: a copy
            pass
    with folder.create(record.path) as file:
        with closing(source.open(record.path)) as given:
            while block := given.read(_BLOCK):
                file.write(block)
        if (file.size, file.sha256) != (record.bytes, record.sha256):
            raise damaged
    return record
