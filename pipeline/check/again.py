"""`build manifest=...`: a corpus regenerated from its manifest, and compared with it digest by digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...tasks.errors import ConfigError, check_path, shown
from ..build.dedup.against import with_against
from ..corpus.manifest import read_manifest, spec_in
from ..corpus.manifest_checks import require_records
from ..corpus.records import records_of
from ..spec.check import check_spec, spec_digest
from ..spec.versions import require_versions
from ..spec.words import key_of
from ..store.open import manifest_at

# What may be said beside manifest=: where and how it is built, never what.
_FREE = ("manifest", "out", "engine", "workers", "ray", "mend", "disk", "report")
_FREE_BELOW = ("dedup.memory", "dedup.against")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Whether every digest that can be is equal, and what to say of it."""

    same: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FromManifest:
    """A manifest to build from."""

    where: str
    manifest: Mapping[str, Any]
    spec: dict[str, Any]

    def compare(self, manifest: Mapping[str, Any]) -> Compared:
        """Every digest of a manifest regenerated with those of this one."""
        shards = _digests(self.manifest, manifest, "content_digest", others=False)
        files = _digests(self.manifest, manifest, "sha256", others=True)
        other = [path for path, (there, here) in shards.items() if there != here]
        bytes_differ = [path for path, (there, here) in files.items() if there != here]
        if not other and self.manifest["content_digest"] == manifest["content_digest"]:
            if self.manifest["format_version"] != manifest["format_version"]:
                return self._of_other_format(manifest, bytes_differ)
            if not bytes_differ:
                line = f"as in {self.where}: content digests and sha256 of {len(files):,} files are equal"
                return Compared(same=True, lines=(line,))
            line = (
                f"the examples are those of {self.where} (content digests are equal), but "
                f"{len(bytes_differ):,} of {len(files):,} files differ in bytes, "
                f"{bytes_differ[0]} first{self._libraries(manifest)}"
            )
            return Compared(same=False, lines=(line,))
        line = (
            f"not the corpus of {self.where}: content digest {self.manifest['content_digest']} there, "
            f"{manifest['content_digest']} here; {len(other):,} of {len(shards):,} shards differ"
        )
        return Compared(same=False, lines=(line, *(f"  {path}" for path in other[:10])))

    def _of_other_format(self, manifest: Mapping[str, Any], bytes_differ: Sequence[str]) -> Compared:
        """Where the content is equal and shards cannot be: what else there is must be."""
        shards = {record["path"] for _, record in records_of(manifest)}
        others = [path for path in bytes_differ if path not in shards]
        formats = self.manifest["format_version"], manifest["format_version"]
        line = (
            f"the examples are those of {self.where} (content digests are equal); that manifest is of "
            f"format {formats[0]} and this ostraca writes shards of format {formats[1]}, so their files "
            "cannot come out the same"
        )
        if not others:
            return Compared(same=True, lines=(line,))
        more = f"{len(others):,} other files differ in bytes, {others[0]} first{self._libraries(manifest)}"
        return Compared(same=False, lines=(line, more))

    def _libraries(self, manifest: Mapping[str, Any]) -> str:
        """What wrote the files there and here, where it differs."""
        there, here = self.manifest["libraries"], manifest["libraries"]
        changed = [
            f"{name} {shown(there.get(name))} there, {shown(here[name])} here"
            for name in here
            if there.get(name) != here[name]
        ]
        return f" ({'; '.join(changed)})" if changed else ""


def _digests(
    there: Mapping[str, Any], here: Mapping[str, Any], key: str, *, others: bool
) -> dict[str, tuple[str | None, str | None]]:
    """Of each shard, and with `others` of each other file, its digest in two manifests; None: not listed."""
    sides = []
    for manifest in (there, here):
        entries = [record for _, record in records_of(manifest)] + (manifest["files"] if others else [])
        sides.append({entry["path"]: entry[key] for entry in entries})
    left, right = sides
    return {path: (left.get(path), right.get(path)) for path in sorted(left.keys() | right.keys())}


def open_manifest(config: Mapping[str, Any]) -> FromManifest:
    """The manifest that a config of `build` names: a file, or the folder or URL of a corpus.

    ConfigError where the call says more of what is built; OstracaError where the manifest cannot be believed.
    """
    for word in _said_too(config):
        raise ConfigError(f"{word}: the manifest decides what is built; leave out this or manifest=")
    where = check_path("manifest", config["manifest"])
    folder, name = manifest_at(where)
    manifest = read_manifest(folder, parts=True, name=name, versions=require_versions)
    require_records(folder, manifest)
    spec = spec_in(folder, manifest)
    against = config["dedup"]["against"]
    if against is not None:  # where these corpora are today
        spec = check_spec(with_against({**spec, "dedup": {**spec["dedup"], "against": against}}))
        if spec_digest(spec) != manifest["spec_digest"]:
            named = ", ".join(other["name"] for other in manifest["spec"]["dedup"]["against"]) or "none"
            raise ConfigError(
                f"dedup.against={shown(against)}: the manifest asks for others ({named}, in this order, with "
                "their digests); give these, or leave it out"
            )
    return FromManifest(where=where, manifest=manifest, spec=spec)


def _said_too(config: Mapping[str, Any]) -> Iterator[str]:
    for override in config.get("overrides", ()):
        key = key_of(override)
        if key.split(".")[0] not in _FREE and key not in _FREE_BELOW:
            yield override
