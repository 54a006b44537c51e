"""The manifest: written last, atomically; where it stands, the corpus is whole."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.fingerprint import ContentDigest
from pipeline.shard import ShardRecord
from pipeline.spec import check_spec, spec_digest
from pipeline.storage import plain_errors, write_json
from tasks.base import OstracaError

NAME = "manifest.json"
FORMAT_VERSION = 1
_LIBRARIES = ("ostraca", "numpy", "numba", "pyarrow", "ray")
_SUMS = ("rows", "tokens", "bytes")


def make_manifest(spec: Mapping[str, Any], records: Iterable[ShardRecord]) -> dict[str, Any]:
    """The manifest of a complete spec from the records of all its shards, in the plan's order."""
    splits: dict[str, Any] = {}
    totals: dict[str, int] = dict.fromkeys(("shards", *_SUMS), 0)
    content = ContentDigest()
    for record in records:
        empty = {**dict.fromkeys(_SUMS, 0), "content_digest": str(ContentDigest()), "shards": []}
        entry = splits.setdefault(record.split, empty)
        entry["shards"].append({k: v for k, v in record.as_dict().items() if k != "split"})
        digest = ContentDigest.parse(record.content_digest)
        entry["content_digest"] = str(ContentDigest.parse(entry["content_digest"]) + digest)
        content += digest
        totals["shards"] += 1
        for name in _SUMS:
            entry[name] += getattr(record, name)
            totals[name] += getattr(record, name)
    return {
        "format_version": FORMAT_VERSION,
        "name": spec["name"],
        "content_digest": str(content),
        "spec_digest": spec_digest(spec),
        "tasks": {entry["task"]: entry["version"] for entry in spec["datasets"].values()},
        "totals": totals,
        "spec": spec,
        "splits": splits,
        "python": platform.python_version(),
        "libraries": {name: _library_version(name) for name in _LIBRARIES},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _library_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the corpus in `root`, atomically."""
    write_json(root / NAME, manifest)


def read_manifest(root: Path | str) -> dict[str, Any]:
    """The manifest of the corpus in `root`; OstracaError where there is none that can be read."""
    path = Path(root) / NAME
    if not path.exists():
        state = "was begun and not finished; run the same `ostraca build` again to finish it"
        if not (Path(root) / "_build").is_dir():
            state = "holds no corpus: it has no manifest.json"
        raise OstracaError(
            f"{root}: this folder {state}" if Path(root).is_dir() else f"{root}: no such folder"
        )
    with plain_errors(path):
        text = path.read_text()
    try:
        manifest = json.loads(text)
        found = manifest["format_version"]
    except (ValueError, KeyError, TypeError):
        raise OstracaError(
            f"{path}: not a manifest (it is no JSON object with a format_version); "
            "restore it or build the corpus again"
        ) from None
    if found != FORMAT_VERSION:
        raise OstracaError(
            f"{path}: format version {found!r}, but this ostraca reads version {FORMAT_VERSION}; "
            "install the release that wrote it"
        )
    _check(path, manifest)
    complete: dict[str, Any] = manifest
    return complete


def _check(path: Path, manifest: Mapping[str, Any]) -> None:
    """What must hold of any manifest before its fields are believed."""
    missing = [k for k in ("spec", "spec_digest", "content_digest", "splits", "totals") if k not in manifest]
    if missing:
        raise OstracaError(f"{path}: the manifest lacks {', '.join(missing)}; it was edited or cut")
    if spec_digest(manifest["spec"]) != manifest["spec_digest"]:
        raise OstracaError(
            f"{path}: spec_digest is {manifest['spec_digest']}, but the spec's own is "
            f"{spec_digest(manifest['spec'])}: one of them was edited; restore the manifest"
        )
    if check_spec(manifest["spec"]) != manifest["spec"]:
        raise OstracaError(f"{path}: its spec is not complete; restore the manifest")


def records_of(manifest: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All (split, shard record) of a manifest."""
    return [(split, record) for split, entry in manifest["splits"].items() for record in entry["shards"]]
