"""The manifest: written last, atomically; where it stands, the corpus is whole."""

from __future__ import annotations

import copy
import datetime
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...tasks.core.outside import parse_json
from ...tasks.errors import ConfigError, OstracaError, shown
from ...tasks.vocabulary import TOKENIZER_FILES, tokenizer_folder
from ..spec.check import configs_of, spec_digest
from ..spec.form import has_tokenizers, through_the_door
from ..spec.shards import WHOLE, Part
from ..spec.versions import tell_versions, versions_in
from ..store.folder import Folder, json_bytes
from ..store.open import MANIFEST, open_folder
from .fingerprint import ContentDigest
from .layout import STATE
from .manifest_form import SUMS, check_form
from .manifest_parts import record_lines, write_parts
from .records import READABLE, ShardRecord, format_of, records_of, sums_of_changes
from .tokenizer_copies import own_tokenizer

NAME = MANIFEST
_LIBRARIES = ("ostraca", "numpy", "numba", "pyarrow", "zstandard", "ray")
INLINE_BYTES = 4 << 20  # of shards' records in manifest.json itself; of more, they stand in files beside it
MOST_BYTES = 1 << 28  # of a manifest.json that is read


def make_manifest(
    spec: Mapping[str, Any],
    records: Iterable[ShardRecord],
    files: Iterable[Mapping[str, Any]] = (),
    *,
    part: Part = WHOLE,
    dedup: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a complete spec from the records of all its shards, or a part's, in the plan's order.

    files: path, bytes and sha256 of everything else that belongs to the corpus. dedup: of each
    "dataset/split", how many examples were asked for, redrawn and dropped, and whether there are no more;
    left out with mode=disjoint, where it follows from the records. Its format is that of the records.
    """
    records = list(records)
    splits: dict[str, Any] = {}
    contents: dict[str, ContentDigest] = {}
    totals: dict[str, int] = dict.fromkeys(("shards", *SUMS), 0)
    for record in records:
        entry = splits.setdefault(record.split, {**dict.fromkeys(SUMS, 0), "shards": []})
        entry["shards"].append({k: v for k, v in record.as_dict().items() if k != "split"})
        before = contents.get(record.split, ContentDigest())
        contents[record.split] = before + ContentDigest.parse(record.content_digest)
        totals["shards"] += 1
        for name in SUMS:
            entry[name] += getattr(record, name)
            totals[name] += getattr(record, name)
    for split, digest in contents.items():
        splits[split]["content_digest"] = str(digest)
    content = sum(contents.values(), ContentDigest())
    if dedup is None and spec["dedup"]["mode"] == "disjoint":
        dedup = sums_of_changes(records_of({"splits": splits}))
    return {
        "format_version": format_of(records),
        "name": spec["name"],
        "content_digest": str(content),
        "spec_digest": spec_digest(spec),
        "tasks": versions_in(spec),
        "totals": totals,
        "spec": spec,
        "part": None if part == WHOLE else list(part),
        "dedup": None if dedup is None else dict(dedup),
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


def write_manifest(root: Path | str | Folder, manifest: Mapping[str, Any], *, new: bool = False) -> None:
    """Write the manifest of the corpus in `root`, atomically; `new`: see `Folder.create`.

    One line a shard; where these lines are many they go, compressed, to files that the manifest lists.
    """
    folder = open_folder(root)
    lines = {split: record_lines(entry["shards"]) for split, entry in manifest["splits"].items()}
    inline = sum(len(line) for part in lines.values() for line in part) <= INLINE_BYTES
    head = {**manifest, "splits": {}}
    for split, entry in manifest["splits"].items():
        shards = _mark(split) if inline else write_parts(folder, split, lines[split])
        head["splits"][split] = {**entry, "shards": shards}
    text = json_bytes(head).decode()
    for split, own in lines.items() if inline else ():
        text = text.replace(json.dumps(_mark(split)), "[\n    " + ",\n    ".join(own) + "\n   ]")
    with folder.create(NAME, new=new) as file:
        file.write(text.encode())


def _mark(split: str) -> str:
    """Stands for a split's records in the text; no other value is like it."""
    return f"\x00{split}"


def read_manifest(
    root: Path | str | Folder,
    *,
    parts: bool = False,
    name: str = NAME,
    versions: Callable[[str, Mapping[str, Any]], None] = tell_versions,
) -> dict[str, Any]:
    """The manifest of the corpus in `root`; OstracaError where there is none that can be believed.

    Its spec is what the door for specs makes of it; of datasets with a tokenizer of their own `spec_in` is.
    parts: a part of a corpus will do too. name: of the file, where somebody gave it another. versions: what
    becomes of a corpus of other versions of the tasks than those here, see `pipeline.spec.versions`.
    """
    folder = open_folder(root)
    path = f"{folder}/{name}"
    size = folder.size(name)
    if size is None:
        if not folder.exists():
            raise ConfigError(f"{root}: no such folder")
        if folder.size(f"{STATE}/spec.json") is None and folder.size(f"{STATE}/lock") is None:
            raise ConfigError(f"{root}: this folder holds no corpus: it has no {name}")
        raise OstracaError(
            f"{root}: this build was begun and not finished; run the same `ostraca build` again to finish it"
        )
    if size > MOST_BYTES:
        raise OstracaError(f"{path}: has {size:,} bytes, no manifest has over {MOST_BYTES:,}; restore it")
    data = folder.read(name)
    try:
        manifest = parse_json(f"{path}:", data)
    except OstracaError as error:
        raise OstracaError(f"{error}; restore the manifest or build the corpus again") from None
    if "format_version" not in manifest:
        raise OstracaError(f"{path}: is not a manifest (it has no format_version); restore it")
    version = manifest["format_version"]
    if type(version) is not int or version not in READABLE:
        raise OstracaError(
            f"{path}: format version {shown(version)}, but this ostraca reads versions "
            f"{' and '.join(map(str, READABLE))}; install the release that wrote it"
        )
    check_form(folder, path, manifest)
    if manifest["part"] is not None and not parts:
        number, of = manifest["part"]
        raise ConfigError(
            f"{root}: is part {number} of {of} of a corpus; join the parts first: "
            "ostraca merge 'parts=[DIR,DIR,...]' out=DIR"
        )
    if manifest["tasks"] == versions_in(manifest["spec"]):  # else one was edited: `check_records` tells that
        versions(str(root), manifest["spec"])
    return manifest


def part_of(manifest: Mapping[str, Any]) -> Part:
    """The part of its corpus that a manifest is of."""
    return WHOLE if manifest["part"] is None else (manifest["part"][0], manifest["part"][1])


def spec_in(root: Path | str | Folder, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a corpus with the tokenizers that lie in its own folder, wherever they once came from.

    OstracaError where one is gone, or is not the one that the spec is of: no other is ever loaded.
    """
    spec: dict[str, Any] = copy.deepcopy(manifest["spec"])
    if not has_tokenizers(spec):
        return spec
    for name, entry in spec["datasets"].items():
        configs = [split["config"] for split in entry["splits"].values()]
        configs = [config for config in configs if config.get("tokenizer_name_or_path") is not None]
        if not configs:
            continue
        own = own_tokenizer(open_folder(root), name)
        if own is None:
            raise OstracaError(
                f"{root}: {tokenizer_folder(name)}/{TOKENIZER_FILES[0]} is missing; no other tokenizer may "
                f"stand in for it: copy the file there from the corpus, or build the corpus again"
            )
        for config in configs:
            config["tokenizer_name_or_path"] = own
    try:
        return through_the_door(spec, str(root))
    except OstracaError as error:
        raise OstracaError(f"{error} (its tokenizer is its own: restore that file or the manifest)") from None


def with_own_tokenizers(root: Path | str | Folder, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as given, with the copies of tokenizers in `root` where those it names are gone."""
    spec_here: dict[str, Any] = copy.deepcopy(dict(spec))
    datasets = spec_here.get("datasets")
    for name, entry in datasets.items() if isinstance(datasets, dict) else ():
        for config in configs_of({"datasets": {name: entry}}):
            path = config.get("tokenizer_name_or_path")
            if isinstance(path, str) and not Path(path).expanduser().exists():
                config["tokenizer_name_or_path"] = own_tokenizer(open_folder(root), str(name)) or path
    return spec_here
