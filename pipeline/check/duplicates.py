"""Looking for duplicates in a corpus as it stands: what deduplication promises, counted from the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import ConfigError
from ..build.dedup.search import count_ranges
from ..build.shards.prints import fingerprints
from ..build.shards.table import Table
from ..corpus.manifest import read_manifest, spec_in
from ..corpus.manifest_checks import require_records
from ..corpus.packed import unpack_batch
from ..corpus.reader import SplitReader, split_reader
from ..corpus.split import splits_of
from ..spec.dedup import DEFAULT_MEMORY
from ..spec.packing import CUTTING
from ..spec.shards import is_eval
from ..store.folder import Folder
from ..store.open import open_folder


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a split holds."""

    examples: int
    twice: int  # examples that an earlier one of the same split equals
    shared: Mapping[str, int]  # split before it (eval, then train) -> examples that are there too


def find_in_corpus(
    root: Path | str | Folder,
    *,
    key: str | None = None,
    memory: int = DEFAULT_MEMORY,
    on_shard: Callable[[], None] = lambda: None,
) -> dict[str, Found]:
    """Split -> its duplicates over all datasets, counted from the examples in the shards.

    key: tokens or content (None: the corpus's own). memory: bytes of the tables; with less, the shards are
    read several times. OstracaError where rows are packed in a way that cuts examples.
    """
    folder = open_folder(root)
    manifest = read_manifest(folder)
    require_records(folder, manifest)
    spec = spec_in(folder, manifest)
    if spec["pack"] is not None and spec["pack"]["mode"] in CUTTING:
        raise ConfigError(
            f"{root}: pack.mode={spec['pack']['mode']} has cut examples, which cannot be compared; "
            "count duplicates in a corpus built with pack.mode=whole or best_fit, or without pack"
        )
    key = spec["dedup"]["key"] if key is None else key
    splits = sorted(manifest["splits"], key=lambda split: (not is_eval(split), split))
    sizes = {
        split: sum(split_view.examples for split_view in splits_of(spec) if split_view.name == split)
        for split in splits
    }
    resolved = list(splits_of(spec))
    ranges = count_ranges(sum(sizes.values()), memory, 1)
    counts = {split: [0, 0] for split in splits}
    shared = {split: dict.fromkeys(splits[:place], 0) for place, split in enumerate(splits)}
    for part in range(ranges):
        tables: dict[str, Table] = {}
        for split in splits:
            table = tables[split] = Table.of_size(sizes[split] // ranges)
            for reader in (split_reader(folder, manifest, view) for view in resolved if view.name == split):
                for prints in _prints(reader, key, on_shard):
                    own = prints[prints[:, 0] % np.uint64(ranges) == np.uint64(part)]
                    for before in shared[split]:
                        shared[split][before] += int(tables[before].contains(own).sum())
                    counts[split][0] += len(own)
                    counts[split][1] += int((~table.insert(own)).sum())
    return {
        split: Found(examples=examples, twice=twice, shared=shared[split])
        for split, (examples, twice) in counts.items()
    }


def _prints(reader: SplitReader, key: str, on_shard: Callable[[], None]) -> Iterator[NDArray[np.uint64]]:
    """Fingerprints of all examples of a split of a dataset, a row group at a time."""
    split, before = reader.split, 0
    packed = split.pack is not None
    for shard, batch in reader.batches(None if packed else split.schema.names[:1]):
        if shard != before:
            on_shard()
            before = shard
        examples: pa.RecordBatch = unpack_batch(batch).select(["input_ids"]) if packed else batch
        yield fingerprints(split, split.published(examples), key)
    on_shard()
