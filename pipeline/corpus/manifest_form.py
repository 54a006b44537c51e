"""The form of a manifest: what must hold of it before any of its fields is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import zstandard

from ...tasks.errors import OstracaError, shown
from ..spec.check import spec_digest
from ..spec.form import has_tokenizers, is_spec, through_the_door
from ..spec.versions import versions_in
from ..store.folder import Folder
from .manifest_parts import read_parts
from .records import FORMAT_VERSION, ShardRecord, records_of

SUMS = ("rows", "tokens", "bytes")
_TEXTS = ("name", "spec_digest", "content_digest", "python", "created")
_OTHERS = ("spec", "tasks", "splits", "totals", "files", "part", "dedup", "libraries")
_SHA256, _CONTENT = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{32}")
_CHANGED = {"asked": int, "redrawn": int, "dropped": int, "exhausted": bool}
_RECORD: list[tuple[str, type]] = [
    (field.name, int if field.type == "int" else str) for field in fields(ShardRecord)
]


def check_form(folder: Folder, path: str, manifest: dict[str, Any]) -> None:
    """OstracaError unless all of a manifest is there and of the right form; takes in its files of records.

    The spec becomes what the door makes of it, where that needs no tokenizer.
    """
    missing = [key for key in (*_TEXTS, *_OTHERS) if key not in manifest]
    if missing:
        raise OstracaError(f"{path}: the manifest lacks {', '.join(missing)}; it was edited or truncated")
    spec = manifest["spec"]
    if not is_spec(spec):
        raise OstracaError(f"{path}: its spec is not one that ostraca writes; restore the manifest")
    if spec_digest(spec) != manifest["spec_digest"]:
        raise OstracaError(
            f"{path}: spec_digest is {shown(manifest['spec_digest'])}, but that of the spec in it is "
            "another: one of them was edited; restore the manifest"
        )
    if not has_tokenizers(spec):
        spec = manifest["spec"] = through_the_door(spec, path)
    try:
        part = manifest["part"]
        if part is not None and (
            [*map(type, part)] != [int, int] or not 1 <= part[0] <= part[1] or part[1] == 1
        ):
            raise TypeError("part")
        known = {split for entry in spec["datasets"].values() for split in entry["splits"]}
        for split, entry in manifest["splits"].items():
            if split not in known:
                raise OstracaError(f"{path}: the split {shown(split)} is none of its spec's; it was edited")
            if isinstance(entry["shards"], dict):
                entry["shards"] = read_parts(folder, split, entry["shards"])
        for split, record in records_of(manifest):
            _check_record(ShardRecord(split=split, **record), manifest["format_version"])
        if type(manifest["files"]) is not list:
            raise TypeError("files")
        for file in manifest["files"]:
            _typed("files", file, {"path": str, "bytes": int, "sha256": str})
            if not _SHA256.fullmatch(file["sha256"]):
                raise ValueError("files")
        _check_rest(manifest)
    except (TypeError, KeyError, AttributeError, ValueError, zstandard.ZstdError) as error:
        reason = shown(error.args[0]) if error.args else type(error).__name__
        raise OstracaError(
            f"{path}: not all of it is as ostraca writes it ({reason}); restore the manifest"
        ) from None


def _check_rest(manifest: Mapping[str, Any]) -> None:
    """TypeError or KeyError where what stands beside spec and records is of another type."""
    for name in _TEXTS:
        if type(manifest[name]) is not str:
            raise TypeError(name)
    _typed("totals", manifest["totals"], dict.fromkeys(("shards", *SUMS), int))
    for entry in manifest["splits"].values():
        sums = {name: value for name, value in entry.items() if name != "shards"}
        _typed("splits", sums, {**dict.fromkeys(SUMS, int), "content_digest": str})
    _typed("tasks", manifest["tasks"], dict.fromkeys(versions_in(manifest["spec"]), int))
    if manifest["dedup"] is not None:
        _typed("dedup", manifest["dedup"], dict.fromkeys(manifest["dedup"], dict))
        for counts in manifest["dedup"].values():
            _typed("dedup", counts, _CHANGED)
    libraries = {name: "" if version is None else version for name, version in manifest["libraries"].items()}
    _typed("libraries", libraries, dict.fromkeys(libraries, str))


def _typed(field: str, values: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """TypeError where something else is found than there must be, or of another type; no count is below 0."""
    if type(values) is not dict or {name: type(value) for name, value in values.items()} != types:
        raise TypeError(field)
    if any(type(value) is int and value < 0 for value in values.values()):
        raise ValueError(field)


def _check_record(record: ShardRecord, version: int) -> None:
    """TypeError or ValueError where a record is not one of a manifest of this format."""
    for name, kind in _RECORD:
        value: Any = getattr(record, name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 2**63):
            raise TypeError(name)
    if not _SHA256.fullmatch(record.sha256) or not _CONTENT.fullmatch(record.content_digest):
        raise ValueError("digests")
    if record.format != version:
        raise ValueError("group_tokens")
    if version == FORMAT_VERSION and (not record.tail or record.group_ends):
        raise ValueError("tail")
