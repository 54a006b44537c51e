"""`verify` and `reproduce`: the corpus against its manifest, the manifest against the tasks."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...tasks import TASKS, get_task
from ...tasks.errors import OstracaError
from ...tasks.vocabulary import TOKENIZER_FILES
from ..build.jobs.engine import available_cores
from ..corpus.changes import Changes
from ..corpus.fingerprint import ContentDigest, content_digest
from ..corpus.layout import STATE, STATISTICS
from ..corpus.manifest import NAME, read_manifest, spec_in
from ..corpus.manifest_checks import check_records
from ..corpus.reader import SplitReader
from ..corpus.records import records_of
from ..corpus.split import Split
from ..corpus.tokenizer_copies import listed_files, places
from ..spec.formats import SUFFIXES
from ..store.folder import Folder
from ..store.open import open_folder


def verify(
    root: Path | str,
    *,
    content: bool = False,
    on_shard: Callable[[str], None] = lambda path: None,
) -> list[str]:
    """Compare a corpus with its manifest; the problems found, one line each (none: it is whole).

    Every byte of every shard (sha256), where its row groups end and how many rows they have, the sums, and
    that no other shard lies around. With `content` every shard is also decoded, its values checked and its
    content digest computed again.
    """
    folder = open_folder(root)
    manifest = read_manifest(folder, parts=True)
    problems = check_records(manifest)
    if problems:  # the records cannot be believed, so no file is opened by them
        return problems
    records = records_of(manifest)
    try:
        spec, told = spec_in(folder, manifest), []
    except OstracaError as error:  # a tokenizer is gone or another, which is told below if its file tells it
        spec, told = None, [f"{NAME}: {error}"]
    with ThreadPoolExecutor(available_cores()) as pool:
        check = functools.partial(_check_shard, folder, manifest, spec, content)
        for (_, record), problem in zip(records, pool.map(check, records), strict=True):
            problems += problem
            on_shard(record["path"])
    problems += _check_files(folder, manifest)
    listed = {record["path"] for _, record in records}
    suffixes = tuple(f".{suffix}" for suffix in SUFFIXES)
    for path in folder.names():
        if path.endswith(suffixes) and path not in listed and not path.startswith(f"{STATE}/"):
            problems.append(f"{folder}/{path}: is not in the manifest; remove it")
    return problems or told


def _check_files(folder: Folder, manifest: Mapping[str, Any]) -> list[str]:
    """The files beside the shards: the vocabulary's as the spec makes them, no others of it, the totals."""
    folders = ["", *(f"{place}/" for name in manifest["spec"]["datasets"] for place in places(name))]
    own = {f"{folder}{name}" for folder in folders for name in TOKENIZER_FILES}
    listed = [file["path"] for file in manifest["files"]]
    strange = [path for path in listed if path not in {*own, STATISTICS} or listed.count(path) > 1]
    if strange:
        return [f"{NAME}: files lists {strange[0]!r}, which is not a file of the spec, or lists it twice"]
    problems = [
        f"{folder}/{path}: is not in the manifest; remove it"
        for path in sorted(own - set(listed))
        if folder.size(path) is not None
    ]
    for file in manifest["files"]:
        problems += _check_file(folder, file)
    if problems or not _is_installed(manifest["spec"]):
        return problems  # other versions of the tasks may name their tokens in another way
    try:
        files_here = listed_files(spec_in(folder, manifest), manifest["files"])
    except OstracaError as error:
        return [f"{NAME}: its vocabulary cannot be regenerated: {error}"]
    vocabulary = {file["path"]: file["sha256"] for file in manifest["files"] if file["path"] != STATISTICS}
    if set(files_here) != set(vocabulary):
        odd = sorted(set(files_here) ^ set(vocabulary))[0]
        return [f"{NAME}: files and the spec disagree on {odd!r}; the manifest was edited"]
    for path, sha256 in vocabulary.items():
        if hashlib.sha256(files_here[path]).hexdigest() != sha256:
            problems.append(f"{NAME}: {path} is listed with a sha256 that the spec does not make")
    return problems


def _is_installed(spec: Mapping[str, Any]) -> bool:
    """Whether the tasks here are the versions that the spec was made for."""
    entries = spec["datasets"].values()
    return all(
        entry["task"] in TASKS and get_task(entry["task"]).version == entry["version"] for entry in entries
    )


def _check_file(folder: Folder, record: Mapping[str, Any]) -> list[str]:
    """Size and sha256 of a file against what the manifest says."""
    path = f"{folder}/{record['path']}"
    try:
        size = folder.size(record["path"])
        if size is None:
            return [f"{path}: is missing"]
        if size != record["bytes"]:
            how = "truncated" if size < record["bytes"] else "too long"
            return [f"{path}: {how}: {size} bytes, the manifest says {record['bytes']}"]
        actual = folder.sha256(record["path"])
    except OstracaError as error:
        return [str(error)]
    if actual != record["sha256"]:
        return [f"{path}: corrupt: its sha256 is {actual}, the manifest says {record['sha256']}"]
    return []


def _check_shard(
    folder: Folder,
    manifest: Mapping[str, Any],
    spec: Mapping[str, Any] | None,
    content: bool,
    entry: tuple[str, Mapping[str, Any]],
) -> list[str]:
    """What is wrong with a shard: its bytes, what the manifest says of its row groups, its rows."""
    split, record = entry
    problems = _check_file(folder, record)
    if problems or spec is None:
        return problems
    try:
        reader = SplitReader(
            folder, Split.of(spec, record["dataset"], split), manifest["spec_digest"], [record]
        )
        reader.check(0)
        digest = _content_of(reader) if content else None
    except OstracaError as error:
        return [str(error).removesuffix(f"; run `ostraca verify path={folder}`")]
    if digest is not None and str(digest) != record["content_digest"]:
        return [
            f"{folder}/{record['path']}: its content digest is {digest}, "
            f"the manifest says {record['content_digest']}"
        ]
    return []


def _content_of(reader: SplitReader) -> ContentDigest:
    """The content digest of the only shard of a reader, from its rows."""
    (record,) = reader.records
    changes = Changes.parse(record.get("changes", ""), record["count"])
    digest = ContentDigest()
    for _, batch in reader.batches():
        attempts = np.zeros(batch.num_rows, np.int64)
        if len(changes) and reader.split.pack is None:
            places = batch.column("index").to_numpy() - record["first_index"]
            nearest = np.minimum(np.searchsorted(changes.places, places), len(changes) - 1)
            attempts = np.where(changes.places[nearest] == places, changes.attempts[nearest], 0)
        for attempt in np.unique(attempts).tolist():
            rows = batch if not attempts.any() else batch.filter(pa.array(attempts == attempt))
            digest += content_digest(rows, reader.split.key(attempt))
    return digest
