"""A split of a corpus: its columns and its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks import get_task
from ...tasks.core.batch import unragged
from ...tasks.examples import stream_of
from .packed import PACKED_SCHEMA


def shard_schema(spec: Mapping[str, Any], dataset: str, split: str) -> pa.Schema:
    """The columns of a split's shards."""
    if spec["pack"] is not None:
        return PACKED_SCHEMA
    entry = spec["datasets"][dataset]
    return get_task(entry["task"]).schema(entry["splits"][split]["config"])


def split_key(spec: Mapping[str, Any], dataset: str, split: str, attempt: int = 0) -> NDArray[np.uint64]:
    """The key of the stream that a split's examples, or some attempt at them, come from: uint64 [2]."""
    entry = spec["datasets"][dataset]
    config = entry["splits"][split]["config"]
    return stream_of(get_task(entry["task"]), config, spec["seed"], split, entry["version"], attempt)


def count_tokens(batch: pa.RecordBatch) -> int:
    """Tokens of a batch; bytes where it holds texts."""
    _, offsets = unragged(batch.column(0))
    return int(offsets[-1]) - int(offsets[0])
