"""A built corpus as a sequence of rows: shuffled by blocks and within windows, epoch after epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..pipeline.corpus.fingerprint import ContentDigest
from ..pipeline.corpus.manifest import read_manifest, spec_in
from ..pipeline.corpus.manifest_checks import require_records
from ..pipeline.corpus.reader import split_reader
from ..pipeline.corpus.split import Split
from ..pipeline.store.open import open_folder
from ..tasks import get_task
from ..tasks.base import INT32_MAX
from ..tasks.errors import ConfigError, OstracaError, check_bool, check_integer, nearest
from ..tasks.examples import check_seed
from ..tasks.vocabulary import Renaming, corpus_vocab_size
from .order import EpochOrder, Window
from .source import Rows

_COLUMNS = ["input_ids", "loss_mask"]


class CorpusSource:
    """The rows of one split of a built corpus: of one dataset, or of all of them, mixed.

    dataset: None is the only one of the corpus or, where the corpus has the shared vocabulary, all that have
    the split, in the proportions that they were built with. epochs: how many times the split is read, each
    time in another order (None: without end). shuffle: False reads the rows in index order, dataset after
    dataset. window_blocks: row groups held in memory and mixed at a time. OstracaError where the corpus, the
    dataset or the split does not exist or a shard cannot be read.
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
        self._root = open_folder(path)
        manifest = read_manifest(self._root)
        require_records(self._root, manifest)
        self._spec = spec_in(self._root, manifest)
        self._names = _choose(path, self._spec, dataset, split)
        self._splits = {name: Split.of(self._spec, name, split) for name in self._names}
        self._identity: dict[str, Any] = {
            "source": "corpus",
            "content": [str(_content_of(manifest, name, split)) for name in self._names],
            "shards": [
                [split_view.shard_examples, split_view.row_group_examples]
                for split_view in self._splits.values()
            ],
            "pack": self._spec["pack"],
            "datasets": self._names,
            "split": split,
            "seed": check_seed(seed),
            "shuffle": check_bool("shuffle", shuffle),
            "epochs": None if epochs is None else check_integer("epochs", epochs, 1),
            "window_blocks": check_integer("window_blocks", window_blocks, 1),
        }
        # Block b is row group `_groups[b, 2]` of shard `_groups[b, 1]` of dataset `_groups[b, 0]`, known
        # without opening a file.
        self._readers = [
            split_reader(self._root, manifest, split_view) for split_view in self._splits.values()
        ]
        self._strata: list[int] = []
        groups, block_rows = [], []
        for number, reader in enumerate(self._readers):
            rows = np.concatenate(reader.group_rows)
            counts = [len(rows) for rows in reader.group_rows]
            shards = np.repeat(np.arange(len(counts)), counts)
            inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            blocks = np.stack([np.full(len(rows), number), shards, inside], axis=1)
            groups.append(blocks[rows > 0])  # of some row groups every example was a duplicate
            block_rows.append(rows[rows > 0])
            self._strata.append(len(block_rows[-1]))
        self._groups, self._block_rows = np.concatenate(groups), np.concatenate(block_rows)
        if not len(self._block_rows):
            raise OstracaError(f"{path}: {split} has no example: all were dropped as duplicates")
        largest = window_blocks * max(
            split_view.row_group_examples * split_view.task.max_tokens(split_view.config)
            for split_view in self._splits.values()
        )
        if largest > INT32_MAX:
            raise ConfigError(
                f"window_blocks={window_blocks}: a window could have over 2^31 tokens; lower it to "
                f"{max(1, window_blocks * INT32_MAX // largest)} or less"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose rows come, in the manifest's order."""
        return tuple(self._names)

    @property
    def dataset(self) -> str:
        """The only dataset's name in the corpus; ConfigError where the source mixes several."""
        if len(self._names) > 1:
            raise ConfigError(f"{self._root}: mixes {', '.join(self._names)}; say which with dataset")
        return self._names[0]

    @property
    def task(self) -> str:
        return self.task_of(self.dataset)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_of(self.dataset)

    @property
    def vocab_size(self) -> int:
        return corpus_vocab_size(self._spec, self._names)

    @property
    def row_length(self) -> int | None:
        pack = self._spec["pack"]
        return None if pack is None else int(pack["length"])

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._identity

    @property
    def rows(self) -> int:
        """Rows of the split, in one epoch."""
        return int(self._block_rows.sum())

    def task_of(self, dataset: str) -> str:
        """The task of one of the source's datasets."""
        return self._splits[dataset].task.name

    def config_of(self, dataset: str) -> Mapping[str, Any]:
        """The complete config of one of the source's datasets."""
        return self._splits[dataset].config

    def renaming(self, dataset: str) -> Renaming | None:
        """From a dataset's published ids to those in the rows; None where they are the same."""
        return self._splits[dataset].renaming

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
                strata=self._strata,
            )
            for window in order.windows_from(start if epoch == first else 0):
                yield Rows.of(self._read(window), window.rows)

    def _read(self, window: Window) -> pa.RecordBatch:
        """The window's blocks, end to end."""
        columns = _COLUMNS if self._spec["pack"] is None else [*_COLUMNS, "starts"]
        blocks = [
            self._readers[number].read(shard, group, columns)
            for number, shard, group in self._groups[window.blocks].tolist()
        ]
        return pa.concat_batches(blocks)


def _content_of(manifest: Mapping[str, Any], dataset: str, split: str) -> ContentDigest:
    """The content digest of one split of one dataset."""
    records = (record for record in manifest["splits"][split]["shards"] if record["dataset"] == dataset)
    digests = (ContentDigest.parse(record["content_digest"]) for record in records)
    return sum(digests, ContentDigest())


def _choose(path: Path | str, spec: Mapping[str, Any], dataset: str | None, split: str) -> list[str]:
    """The datasets that are meant; ConfigError where there is none, or where their ids collide."""
    datasets = spec["datasets"]
    if dataset is not None and (not isinstance(dataset, str) or dataset not in datasets):
        raise ConfigError(
            f"{path}: no dataset {dataset!r}{nearest(dataset, datasets)}; it has {', '.join(datasets)}"
        )
    asked = list(datasets) if dataset is None else [dataset]
    if len(asked) > 1 and spec["vocabulary"] != "shared":
        raise ConfigError(
            f"{path}: say which dataset; it has {', '.join(datasets)}, and their ids collide: "
            "a corpus built with vocabulary=shared can be read as one mixture"
        )
    chosen = [name for name in asked if split in datasets[name]["splits"]]
    if not chosen:
        splits = sorted({name_of_split for name in asked for name_of_split in datasets[name]["splits"]})
        raise ConfigError(
            f"{path}: no split {split!r}{nearest(split, splits)}; {', '.join(asked)} has {', '.join(splits)}"
        )
    for name in chosen:
        config = datasets[name]["splits"][split]["config"]
        if "input_ids" not in get_task(datasets[name]["task"]).schema(config).names:
            raise ConfigError(
                f"{path}: {name} holds texts, which cannot be streamed; say which other dataset, or build it "
                "with bio=tokens"
            )
    return chosen
