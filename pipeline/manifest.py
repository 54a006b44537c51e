"""The manifest: written last, atomically; where it stands, the corpus is whole."""

from __future__ import annotations

import copy
import datetime
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.fingerprint import ContentDigest
from pipeline.plan import plan
from pipeline.shard import STATE, ShardRecord
from pipeline.spec import VOCABULARIES, configs_of, spec_digest
from pipeline.storage import plain_errors, write_json
from tasks.errors import OstracaError, shown
from tasks.vocabulary import TOKENIZER_FILES

NAME = "manifest.json"
FORMAT_VERSION = 2
_LIBRARIES = ("ostraca", "numpy", "numba", "pyarrow", "ray")
_SIZES = ("examples", "shard_examples", "row_group_examples")
_SUMS = ("rows", "tokens", "bytes")
_FIELDS = ("name", "spec", "spec_digest", "content_digest", "tasks", "splits", "totals", "files")


def make_manifest(
    spec: Mapping[str, Any], records: Iterable[ShardRecord], files: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The manifest of a complete spec from the records of all its shards, in the plan's order.

    files: path, bytes and sha256 of everything else that belongs to the corpus.
    """
    splits: dict[str, Any] = {}
    contents: dict[str, ContentDigest] = {}
    totals: dict[str, int] = dict.fromkeys(("shards", *_SUMS), 0)
    for record in records:
        entry = splits.setdefault(record.split, {**dict.fromkeys(_SUMS, 0), "shards": []})
        entry["shards"].append({k: v for k, v in record.as_dict().items() if k != "split"})
        before = contents.get(record.split, ContentDigest())
        contents[record.split] = before + ContentDigest.parse(record.content_digest)
        totals["shards"] += 1
        for name in _SUMS:
            entry[name] += getattr(record, name)
            totals[name] += getattr(record, name)
    for split, digest in contents.items():
        splits[split]["content_digest"] = str(digest)
    content = sum(contents.values(), ContentDigest())
    return {
        "format_version": FORMAT_VERSION,
        "name": spec["name"],
        "content_digest": str(content),
        "spec_digest": spec_digest(spec),
        "tasks": {entry["task"]: entry["version"] for entry in spec["datasets"].values()},
        "totals": totals,
        "spec": spec,
        "splits": splits,
        "files": [dict(file) for file in files],
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
        if not (Path(root) / STATE).is_dir():
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
    if type(found) is not int or found != FORMAT_VERSION:
        raise OstracaError(
            f"{path}: format version {found!r}, but this ostraca reads version {FORMAT_VERSION}; "
            "install the release that wrote it"
        )
    _check(path, manifest)
    complete: dict[str, Any] = manifest
    return complete


def _check(path: Path, manifest: Mapping[str, Any]) -> None:
    """What must hold of any manifest before its fields are believed: all there, and of the right form."""
    missing = [key for key in _FIELDS if key not in manifest]
    if missing:
        raise OstracaError(f"{path}: the manifest lacks {', '.join(missing)}; it was edited or cut")
    spec = manifest["spec"]
    if not _is_spec(spec):
        raise OstracaError(f"{path}: its spec is not one that ostraca writes; restore the manifest")
    if spec_digest(spec) != manifest["spec_digest"]:
        raise OstracaError(
            f"{path}: spec_digest is {shown(manifest['spec_digest'])}, but that of the spec in it is "
            "another: one of them was edited; restore the manifest"
        )
    try:
        for split, record in records_of(manifest):
            made = ShardRecord(split=split, **record)
            for field in fields(ShardRecord):
                wanted = int if field.type == "int" else str
                if type(getattr(made, field.name)) is not wanted:
                    raise TypeError(field.name)
        if type(manifest["files"]) is not list:
            raise TypeError("files")
        for file in manifest["files"]:
            given = (file["path"], file["bytes"], file["sha256"])
            if len(file) != 3 or [*map(type, given)] != [str, int, str]:
                raise TypeError("files")
        if not all(type(manifest["totals"][name]) is int for name in ("shards", *_SUMS)):
            raise TypeError("totals")
    except (TypeError, KeyError, AttributeError) as error:
        raise OstracaError(
            f"{path}: splits, files or totals are not as ostraca writes them ({shown(error.args[0])}); "
            "restore the manifest"
        ) from None


def _is_spec(spec: Any) -> bool:
    """Whether a spec has the form of a complete one; what its configs hold is the tasks' business."""
    try:
        entries = list(spec["datasets"].items())
        splits = [(name, each) for name, entry in entries for each in entry["splits"].values()]
        names = [name for name, entry in entries if type(entry["task"]) is str]
        sizes = [each[key] for _, each in splits for key in _SIZES]
        return (
            spec["vocabulary"] in tuple(VOCABULARIES)
            and len(names) == len(entries) > 0
            and all(type(size) is int and size > 0 for size in sizes)
            and all(isinstance(each["config"], dict) for _, each in splits)
            and not any("/" in name or name in ("", ".", "..") for name in names)
        )
    except (KeyError, TypeError, AttributeError):
        return False


def spec_in(root: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a corpus with the tokenizers that lie in its own folder, wherever they once came from."""
    spec: dict[str, Any] = copy.deepcopy(manifest["spec"])
    for name, entry in spec["datasets"].items():
        if (root / name / TOKENIZER_FILES[0]).is_file():
            for split in entry["splits"].values():
                if split["config"].get("tokenizer_name_or_path") is not None:
                    split["config"]["tokenizer_name_or_path"] = str(root / name)
    return spec


def with_own_tokenizers(root: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as given, with the copies of tokenizers in `root` where those it names are gone."""
    found: dict[str, Any] = copy.deepcopy(dict(spec))
    datasets = found.get("datasets")
    for name, entry in datasets.items() if isinstance(datasets, dict) else ():
        if not (root / str(name) / TOKENIZER_FILES[0]).is_file():
            continue
        for config in configs_of({"datasets": {name: entry}}):
            path = config.get("tokenizer_name_or_path")
            if isinstance(path, str) and not Path(path).expanduser().exists():
                config["tokenizer_name_or_path"] = str(root / str(name))
    return found


def check_shards(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with the shards that a manifest lists: they must be the plan's, all and in its order."""
    wanted = {shard.path: shard for shard in plan(manifest["spec"])}
    listed: list[str] = []
    for split, record in records_of(manifest):
        shard = wanted.get(record["path"])
        if shard is None or record["path"] in listed[-1:]:
            return [f"{NAME}: {record['path']!r} is no shard of the spec, or is listed twice"]
        listed.append(record["path"])
        given = (split, *(record[k] for k in ("dataset", "first_index", "count", "rows")))
        planned = (shard.split, shard.dataset, shard.first_index, shard.count, shard.count)
        if given != planned:
            return [f"{NAME}: {shard.path} is said to be {given}, but the spec makes it {planned}"]
    seen = set(listed)
    missing = [path for path in wanted if path not in seen]
    if missing:
        return [f"{NAME}: lists no {missing[0]}, a shard of the spec ({len(missing)} missing)"]
    by_split = {path: shard.split for path, shard in wanted.items()}
    if len(listed) > len(wanted) or any(
        [path for path in listed if by_split[path] == split]
        != [path for path in wanted if by_split[path] == split]
        for split in manifest["splits"]
    ):
        return [f"{NAME}: a shard is listed twice, or the shards are not in the spec's order"]
    return []


def records_of(manifest: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All (split, shard record) of a manifest."""
    return [(split, record) for split, entry in manifest["splits"].items() for record in entry["shards"]]
