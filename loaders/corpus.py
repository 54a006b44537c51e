"""A built corpus as a sequence of rows: shuffled by blocks and within windows, epoch after epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from loaders.order import EpochOrder, Window
from loaders.source import Rows
from pipeline.manifest import read_manifest
from pipeline.readers import read_row_group
from tasks import get_task
from tasks.base import INT32_MAX
from tasks.errors import ConfigError, check_bool, check_integer, nearest
from tasks.examples import check_seed

_COLUMNS = ["input_ids", "loss_mask"]


class CorpusSource:
    """The rows of one split of a built corpus.

    epochs: how many times the split is read, each time in another order (None: without end). shuffle:
    False reads the rows in index order. window_blocks: row groups held in memory and mixed at a time.
    OstracaError where the corpus, the dataset or the split does not exist or a shard cannot be read.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        dataset: str | None = None,
        split: str = "train",
        seed: int = 0,
        shuffle: bool = True,
        epochs: int | None = None,
        window_blocks: int = 16,
    ) -> None:
        self._root = Path(path)
        manifest = read_manifest(self._root)
        datasets = manifest["spec"]["datasets"]
        if dataset is None and len(datasets) > 1:
            raise ConfigError(f"{path}: say which dataset; it has {', '.join(datasets)}")
        name = next(iter(datasets)) if dataset is None else dataset
        if name not in datasets:
            raise ConfigError(
                f"{path}: no dataset {name!r}{nearest(name, datasets)}; it has {', '.join(datasets)}"
            )
        splits = datasets[name]["splits"]
        if split not in splits:
            raise ConfigError(
                f"{path}: no split {split!r}{nearest(split, splits)}; {name} has {', '.join(splits)}"
            )
        self._entry = splits[split]
        self._task_name = datasets[name]["task"]
        records = manifest["splits"][split]["shards"]
        self._records = [record for record in records if record["dataset"] == name]
        self._identity = {
            "source": "corpus",
            "content_digest": manifest["content_digest"],
            "shards": [self._entry["shard_examples"], self._entry["row_group_examples"]],
            "dataset": name,
            "split": split,
            "seed": check_seed(seed),
            "shuffle": check_bool("shuffle", shuffle),
            "epochs": None if epochs is None else check_integer("epochs", epochs, 1),
            "window_blocks": check_integer("window_blocks", window_blocks, 1),
        }
        # Block b is row group `_groups[b, 1]` of shard `_groups[b, 0]`, known without opening a file.
        size = self._entry["row_group_examples"]
        rows = np.array([record["rows"] for record in self._records], dtype=np.int64)
        counts = -(-rows // size)
        shards = np.repeat(np.arange(len(rows)), counts)
        groups = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self._groups = np.stack([shards, groups], axis=1)
        self._block_rows = np.minimum(size, rows[shards] - groups * size)
        largest = self._identity["window_blocks"] * size * get_task(self._task_name).max_tokens(self.config)
        if largest > INT32_MAX:
            raise ConfigError(
                f"window_blocks={window_blocks}: a window could have over 2^31 tokens; lower it to "
                f"{max(1, window_blocks * INT32_MAX // largest)} or less"
            )

    @property
    def task(self) -> str:
        return str(self._task_name)

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self._entry["config"]
        return config

    @property
    def dataset(self) -> str:
        """The dataset's name in the corpus."""
        return str(self._identity["dataset"])

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @property
    def rows(self) -> int:
        """Rows of the split, in one epoch."""
        return int(self._block_rows.sum())

    def rows_from(self, position: int) -> Iterator[Rows]:
        """See `Source`: position p is row p % rows of epoch p // rows."""
        first, start = divmod(position, self.rows)
        epochs = self._identity["epochs"]
        for epoch in itertools.count(first) if epochs is None else range(first, epochs):
            order = EpochOrder(
                self._block_rows,
                seed=self._identity["seed"],
                epoch=epoch,
                window_blocks=self._identity["window_blocks"],
                shuffle=self._identity["shuffle"],
            )
            for window in order.windows_from(start if epoch == first else 0):
                yield Rows.of(self._read(window), window.rows)

    def _read(self, window: Window) -> pa.RecordBatch:
        """The window's blocks, end to end."""
        tables = [
            read_row_group(
                self._root,
                self._records[self._groups[block, 0]],
                int(self._groups[block, 1]),
                int(self._block_rows[block]),
                _COLUMNS,
            )
            for block in window.blocks
        ]
        table = pa.concat_tables(tables).combine_chunks()
        (batch,) = table.to_batches()
        return batch
