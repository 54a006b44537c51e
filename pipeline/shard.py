"""The shard job: (spec, range) in, a file and a small record out. Shared-nothing, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.fingerprint import ContentDigest, content_digest
from pipeline.plan import Shard
from pipeline.storage import atomic_file, write_json
from pipeline.version import check_version
from pipeline.writers.parquet import ParquetShardWriter
from tasks import get_task
from tasks.batch import unragged
from tasks.errors import OstracaError
from tasks.examples import stream_of
from tasks.vocabulary import split_renaming

STATE = ".ostraca-build"  # spec.json, lock, and a record of each finished shard, until the manifest stands


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What the manifest says of a shard."""

    dataset: str
    split: str
    path: str  # inside the corpus
    rows: int
    tokens: int
    bytes: int
    sha256: str
    content_digest: str
    first_index: int
    count: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_shard(spec: Mapping[str, Any], digest: str, shard: Shard, root: str) -> ShardRecord:
    """Make, check and write one shard below `root`; then its record, so that it is never made again.

    `digest` is the spec's; file and record carry it. OstracaError where an example is not valid or the
    file cannot be written; nothing half-written stays.
    """
    batches = shard_batches(spec, shard)
    entry = spec["datasets"][shard.dataset]
    schema = get_task(entry["task"]).schema(entry["splits"][shard.split]["config"])
    path = Path(root) / shard.path
    tokens, content = 0, ContentDigest()
    metadata = {"ostraca_spec_digest": digest}
    with atomic_file(path) as file, ParquetShardWriter(file, schema, metadata) as writer:
        for batch, batch_content in batches:
            writer.write(batch)
            content += batch_content
            tokens += _count_tokens(batch)
    record = ShardRecord(
        dataset=shard.dataset,
        split=shard.split,
        path=shard.path,
        rows=shard.count,
        tokens=tokens,
        bytes=file.size,
        sha256=file.sha256,
        content_digest=str(content),
        first_index=shard.first_index,
        count=shard.count,
    )
    write_json(record_path(root, shard), {"spec_digest": digest, **record.as_dict()})
    return record


def record_path(root: str, shard: Shard) -> Path:
    """Where the record of a finished shard stands."""
    return Path(root) / STATE / "shards" / f"{shard.path}.json"


def shard_content(spec: Mapping[str, Any], shard: Shard) -> ContentDigest:
    """Make a shard again in memory and return its content digest; nothing is written."""
    content = ContentDigest()
    for _, batch_content in shard_batches(spec, shard):
        content += batch_content
    return content


def shard_batches(spec: Mapping[str, Any], shard: Shard) -> Iterator[tuple[pa.RecordBatch, ContentDigest]]:
    """The shard's examples, a row group at a time, each checked, with its content digest."""
    task = get_task(spec["datasets"][shard.dataset]["task"])
    entry = spec["datasets"][shard.dataset]["splits"][shard.split]
    config, step = entry["config"], entry["row_group_examples"]
    check_version(task, spec["datasets"][shard.dataset]["version"], shard.dataset)
    key = split_key(spec, shard.dataset, shard.split)
    renaming = split_renaming(spec, shard.dataset, shard.split)
    for start in range(shard.first_index, shard.first_index + shard.count, step):
        stop = min(start + step, shard.first_index + shard.count)
        batch = task.generate(config, key, np.arange(start, stop, dtype=np.int64))
        verdicts = task.validate(batch, config)
        if not verdicts.all_valid:
            row, verdict = verdicts.first_invalid()
            raise OstracaError(
                f"{shard.path}: example {start + row} is {verdict}; generator and validator disagree: "
                "this is a fault of ostraca, please report it with the spec"
            )
        if renaming is not None:
            batch = renaming.batch(batch)
        yield batch, content_digest(batch, key)


def split_key(spec: Mapping[str, Any], dataset: str, split: str) -> NDArray[np.uint64]:
    """The key of the stream that a split's examples come from: uint64 [2]."""
    entry = spec["datasets"][dataset]
    config = entry["splits"][split]["config"]
    return stream_of(get_task(entry["task"]), config, spec["seed"], split, entry["version"])


def _count_tokens(batch: pa.RecordBatch) -> int:
    """Tokens of a batch; bytes where it holds texts."""
    _, offsets = unragged(batch.column(0))
    return int(offsets[-1]) - int(offsets[0])
