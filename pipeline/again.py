"""`build manifest=...`: a corpus made again from its manifest, and compared with it digest by digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.dedup.against import with_against
from pipeline.folder import MANIFEST, Folder, open_folder
from pipeline.manifest import read_manifest, require_shards, spec_in
from pipeline.manifest_form import records_of
from pipeline.spec import check_spec, spec_digest
from tasks.errors import ConfigError, OstracaError, check_path, shown

# What may be said beside manifest=: where and how it is built, never what.
_FREE = ("manifest", "out", "engine", "workers", "ray", "mend", "disk", "report")
_FREE_BELOW = ("dedup.memory", "dedup.against")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Whether every digest is equal, and what to say of it."""

    same: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FromManifest:
    """A manifest to build from."""

    where: str
    manifest: Mapping[str, Any]
    spec: dict[str, Any]

    def compare(self, made: Mapping[str, Any]) -> Compared:
        """Every digest of a manifest made again with those of this one."""
        records = {record["path"]: record for _, record in records_of(self.manifest)}
        again = {record["path"]: record for _, record in records_of(made)}
        shards = sorted(set(records) | set(again))
        other = [p for p in shards if _get(records, p, "content_digest") != _get(again, p, "content_digest")]
        files = {file["path"]: file for file in self.manifest["files"]} | records
        files_again = {file["path"]: file for file in made["files"]} | again
        paths = sorted(set(files) | set(files_again))
        bytes_differ = [p for p in paths if _get(files, p, "sha256") != _get(files_again, p, "sha256")]
        if not other and self.manifest["content_digest"] == made["content_digest"]:
            if not bytes_differ:
                line = f"as in {self.where}: content digests and sha256 of {len(paths):,} files are equal"
                return Compared(same=True, lines=(line,))
            line = (
                f"the examples are those of {self.where} (content digests are equal), but "
                f"{len(bytes_differ):,} of {len(paths):,} files differ in bytes, "
                f"{bytes_differ[0]} first{self._libraries(made)}"
            )
            return Compared(same=False, lines=(line,))
        line = (
            f"not the corpus of {self.where}: content digest {self.manifest['content_digest']} there, "
            f"{made['content_digest']} here; {len(other):,} of {len(shards):,} shards differ"
        )
        return Compared(same=False, lines=(line, *(f"  {path}" for path in other[:10])))

    def _libraries(self, made: Mapping[str, Any]) -> str:
        """What wrote the files there and here, where it differs."""
        there, here = self.manifest.get("libraries"), made["libraries"]
        if not isinstance(there, Mapping):
            return ""
        changed = [
            f"{name} {shown(there.get(name))} there, {shown(here[name])} here"
            for name in here
            if there.get(name) != here[name]
        ]
        return f" ({'; '.join(changed)})" if changed else ""


def _get(records: Mapping[str, Mapping[str, Any]], path: str, key: str) -> Any:
    return records[path][key] if path in records else None


def open_manifest(config: Mapping[str, Any]) -> FromManifest:
    """The manifest that a config of `build` names: a file, or the folder or URL of a corpus.

    ConfigError where the call says more of what is built; OstracaError where the manifest cannot be believed.
    """
    for each in _said_too(config):
        raise ConfigError(f"{each}: the manifest decides what is built; leave out this or manifest=")
    where = check_path("manifest", config["manifest"])
    folder, name = _placed(where)
    manifest = read_manifest(folder, parts=True, name=name)
    require_shards(folder, manifest)
    spec = spec_in(folder, manifest)
    if config["dedup"]["against"] is not None:  # where these corpora are today
        spec["dedup"] = {**spec["dedup"], "against": config["dedup"]["against"]}
        spec = with_against(spec)
    complete = check_spec(spec)
    if spec_digest(complete) != manifest["spec_digest"]:
        raise OstracaError(
            f"{where}: its spec is not one that this release would make; install the release that made it "
            f"({shown((manifest.get('libraries') or {}).get('ostraca'))})"
        )
    return FromManifest(where=where, manifest=manifest, spec=complete)


def _said_too(config: Mapping[str, Any]) -> Iterator[str]:
    for override in config.get("overrides", ()):
        key = override.partition("=")[0].lstrip("+")
        if key.split(".")[0] not in _FREE and key not in _FREE_BELOW:
            yield override


def _placed(where: str) -> tuple[Folder, str]:
    """The folder of a manifest and its name there."""
    name = PurePosixPath(where).name
    if name != MANIFEST and name.endswith(".json"):
        return open_folder(where[: -len(name)].rstrip("/") or "."), name
    return open_folder(where), MANIFEST
