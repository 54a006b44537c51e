"""`verify` and `reproduce`: the corpus against its manifest, the manifest against the tasks."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import available_cores, map_shards
from pipeline.fingerprint import ContentDigest, content_digest
from pipeline.manifest import NAME, check_shards, make_manifest, read_manifest, records_of, spec_in
from pipeline.plan import Shard, plan
from pipeline.shard import ShardRecord, shard_content, split_key
from pipeline.spec import check_spec
from pipeline.storage import plain_reason, sha256_of
from tasks import TASKS, get_task
from tasks.errors import OstracaError, check_integer
from tasks.vocabulary import TOKENIZER_FILES, tokenizer_files


def verify(
    root: Path | str,
    *,
    content: bool = False,
    on_shard: Callable[[str], None] = lambda path: None,
) -> list[str]:
    """Compare a corpus with its manifest; the problems found, one line each (none: it is whole).

    Every byte of every shard (sha256), rows, the sums, and that no other shard lies around. With
    `content` every shard is also decoded and its content digest computed again.
    """
    root = Path(root)
    manifest = read_manifest(root)
    problems = _check_records(manifest)
    if problems:  # the records cannot be believed, so no file is opened by them
        return problems
    records = records_of(manifest)
    with ThreadPoolExecutor(available_cores()) as pool:
        check = functools.partial(_check_shard, root, manifest["spec"], content)
        for (_, record), found in zip(records, pool.map(check, records), strict=True):
            problems += found
            on_shard(record["path"])
    problems += _check_files(root, manifest)
    listed = {record["path"] for _, record in records}
    for path in sorted(root.rglob("*.parquet")):
        if str(path.relative_to(root)) not in listed:
            problems.append(f"{path}: is not in the manifest; remove it")
    return problems


def _check_records(manifest: Mapping[str, Any]) -> list[str]:
    """The manifest against itself: the shards are the plan's, and the sums are the shards'."""
    problems = check_shards(manifest)
    if problems:
        return problems
    records = (ShardRecord(split=split, **record) for split, record in records_of(manifest))
    again = make_manifest(manifest["spec"], sorted_as_planned(manifest["spec"], records))
    return [
        f"{NAME}: {field} does not follow from the shards' records: it was edited"
        for field in ("name", "tasks", "content_digest", "totals", "splits")
        if again[field] != manifest[field]
    ]


def sorted_as_planned(spec: Mapping[str, Any], records: Iterable[ShardRecord]) -> list[ShardRecord]:
    """Records in the order of the plan."""
    by_path = {record.path: record for record in records}
    return [by_path[shard.path] for shard in plan(spec)]


def _check_files(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The vocabulary's files: those that the spec makes, byte for byte, and no others beside them."""
    folders = ["", *(f"{name}/" for name in manifest["spec"]["datasets"])]
    own = {f"{folder}{name}" for folder in folders for name in TOKENIZER_FILES}
    listed = [file["path"] for file in manifest["files"]]
    strange = [path for path in listed if path not in own or listed.count(path) > 1]
    if strange:
        return [f"{NAME}: files lists {strange[0]!r}, which is no file of the spec, or lists it twice"]
    problems = [
        f"{root / path}: is not in the manifest; remove it"
        for path in sorted(own - set(listed))
        if (root / path).exists()
    ]
    for file in manifest["files"]:
        problems += _check_file(root, file)
    if problems or not _is_installed(manifest["spec"]):
        return problems  # other versions of the tasks may name their tokens in another way
    try:
        made = dict(tokenizer_files(spec_in(root, manifest)))
    except OstracaError as error:
        return [f"{NAME}: its vocabulary cannot be made again: {error}"]
    if set(made) != set(listed):
        odd = sorted(set(made) ^ set(listed))[0]
        return [f"{NAME}: files and the spec disagree on {odd!r}; the manifest was edited"]
    for file in manifest["files"]:
        if hashlib.sha256(made[file["path"]]).hexdigest() != file["sha256"]:
            problems.append(f"{NAME}: {file['path']} is listed with a sha256 that the spec does not make")
    return problems


def _is_installed(spec: Mapping[str, Any]) -> bool:
    """Whether the tasks here are the versions that the spec was made for."""
    entries = spec["datasets"].values()
    return all(
        entry["task"] in TASKS and get_task(entry["task"]).version == entry["version"] for entry in entries
    )


def _check_file(root: Path, record: Mapping[str, Any]) -> list[str]:
    """Size and sha256 of a file against what the manifest says."""
    path = root / record["path"]
    try:
        size = path.stat().st_size
        if size != record["bytes"]:
            how = "truncated" if size < record["bytes"] else "too long"
            return [f"{path}: {how}: {size} bytes, the manifest says {record['bytes']}"]
        found = sha256_of(path)
    except FileNotFoundError:
        return [f"{path}: is missing"]
    except OSError as error:
        return [plain_reason(error, path)]
    if found != record["sha256"]:
        return [f"{path}: corrupt: its sha256 is {found}, the manifest says {record['sha256']}"]
    return []


def _check_shard(
    root: Path, spec: Mapping[str, Any], content: bool, entry: tuple[str, Mapping[str, Any]]
) -> list[str]:
    split, record = entry
    path = root / record["path"]
    problems = _check_file(root, record)
    if problems:
        return problems
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows != record["rows"]:
                rows = file.metadata.num_rows
                return [f"{path}: has {rows} rows, the manifest says {record['rows']}"]
            if content:
                digest = _content_of(file, spec, record["dataset"], split)
                if str(digest) != record["content_digest"]:
                    return [
                        f"{path}: its content digest is {digest}, "
                        f"the manifest says {record['content_digest']}"
                    ]
    except OSError as error:
        return [plain_reason(error, path)]
    except pa.ArrowException as error:
        return [f"{path}: cannot be read: {str(error).splitlines()[0]}"]
    return []


def _content_of(file: pq.ParquetFile, spec: Mapping[str, Any], dataset: str, split: str) -> ContentDigest:
    key = split_key(spec, dataset, split)
    digest = ContentDigest()
    for group in range(file.num_row_groups):
        for batch in file.read_row_group(group, use_threads=False).to_batches():
            digest += content_digest(batch, key)
    return digest


def reproduce(
    root: Path | str,
    *,
    shards: int | None = None,
    seed: int = 0,
    engine: str = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    on_shard: Callable[[str, bool], None] = lambda path, same: None,
) -> tuple[int, list[str]]:
    """Make shards again from the manifest alone and compare content digests.

    shards: how many, drawn at random by `seed` (None: all). Returns how many were made and the problems.
    No shard is read: what is tested is that the manifest is enough.
    """
    manifest = read_manifest(root)
    spec = spec_in(Path(root), manifest)
    if check_spec(spec) != spec:
        raise OstracaError(
            f"{root}: its spec is not one that this release would make; install the release that made it "
            f"({manifest.get('libraries', {}).get('ostraca')})"
        )
    if shards is not None:
        check_integer("shards", shards, 1)
    check_integer("seed", seed, 0)
    problems = _check_records(manifest)
    if problems:
        raise OstracaError(f"{root}/{problems[0]}")
    wanted = {record["path"]: record["content_digest"] for _, record in records_of(manifest)}
    chosen = list(plan(spec))
    if shards is not None and shards < len(chosen):
        order = np.random.default_rng(seed).permutation(len(chosen))[:shards]
        chosen = [chosen[place] for place in sorted(order)]
    job = functools.partial(_content_job, spec)
    results: Iterator[tuple[str, str]] = map_shards(
        job, chosen, spec, engine=engine, workers=workers, ray_address=ray_address
    )
    for path, digest in results:
        same = digest == wanted[path]
        if not same:
            problems.append(
                f"{path}: made again its content digest is {digest}, the manifest says {wanted[path]}"
            )
        on_shard(path, same)
    return len(chosen), problems


def _content_job(spec: Mapping[str, Any], shard: Shard) -> tuple[str, str]:
    return shard.path, str(shard_content(spec, shard))
