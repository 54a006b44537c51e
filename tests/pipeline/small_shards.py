"""Small batches of every task, and WebDataset shards of them."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from ostraca.pipeline.corpus.formats.webdataset import WebDatasetShardWriter
from ostraca.pipeline.corpus.packed import PACKED_SCHEMA
from ostraca.tasks import examples, get_task
from ostraca.tasks.core.batch import column, list_type

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "depo": ("depo", {"N": 12, "K": 4, "M": 3}),
    "brevo": ("brevo", {"N": 12}),
    "mano": ("mano", {"L": 4}),
    "lano": ("lano", {"config_name": "cfg3b"}),
    "capo": ("capo", {"num_people": 30, "exposures": 20}),
    "capo-text": ("capo", {"num_people": 30, "exposures": 20, "bio": "text", "reverse_md": True}),
}
END = bytes(1024)  # of an archive
COMPRESSIONS = (None, "zstd")
DIGEST = {"ostraca_spec_digest": "0123456789abcdef" * 4}
TOKENS = (column("input_ids", list_type(pa.int32())), column("loss_mask", list_type(pa.uint8())))
INDEX = column("index", pa.int64())


def shard(
    *batches: pa.RecordBatch, compression: str | None = None, vocabulary: int | None = None
) -> tuple[bytes, list[int]]:
    """A shard's bytes, and the bounds of its row groups, 0 first."""
    file = io.BytesIO()
    writer = WebDatasetShardWriter(
        file, batches[0].schema, DIGEST, compression=compression, vocab_size=vocabulary
    )
    with writer:
        for batch in batches:
            writer.write(batch)
    return file.getvalue(), [0, *writer.group_ends]


def groups_of(data: bytes, bounds: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise(bounds)]


def made(name: str, *indices: int) -> pa.RecordBatch:
    """Examples of a task."""
    task, config = get_task(CONFIGS[name][0]), CONFIGS[name][1]
    config = examples.complete_config(task, config, 0)
    return task.generate(config, examples.stream_of(task, config, 0, "train"), np.array(indices, np.int64))


def packed_rows() -> pa.RecordBatch:
    rows = {
        "input_ids": [[5, 6, 7, 8], [70_000, 0, 1, 2]],
        "loss_mask": [[1, 1, 1, 1], [0, 1, 1, 0]],
        "index": [3, 3],
        "offset": [0, 4],
        "starts": [[0, 2], [0]],
        "documents": [[3, 4], [4]],
    }
    return pa.RecordBatch.from_pydict(rows, schema=PACKED_SCHEMA)
