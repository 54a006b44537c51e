"""A built corpus as a source of rows, row group by row group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..pipeline.corpus.fingerprint import ContentDigest
from ..pipeline.corpus.manifest import read_manifest, spec_in
from ..pipeline.corpus.manifest_checks import require_records
from ..pipeline.corpus.split import Split
from ..pipeline.store.open import manifest_at
from ..tasks import get_task
from ..tasks.base import INT32_MAX
from ..tasks.core.paths import local_path
from ..tasks.errors import ConfigError, OstracaError, nearest
from ..tasks.vocabulary import Renaming, corpus_vocab_size
from .groups import Groups
from .source import Blocks, Rows
from .where import Where

_COLUMNS = ["input_ids", "loss_mask"]
_COUNTERS = 4  # threads that look which rows are meant


class CorpusSource:
    """The rows of one split of a built corpus: of one dataset, or of several, mixed.

    datasets: the name of one, or of several of a corpus with the shared vocabulary; None is the only one of
    the corpus or, where the ids are shared, all that have the split, in the proportions of the corpus.
    where: a condition on the corpus's columns (see `where.Where`); all of them are read once to see how many
    rows it is true of.

    path: of the corpus's folder or of a manifest, which is enough. source: "shards" are read; "replay" makes
    the examples again, from the manifest alone; "auto" reads the shards that are there and makes the rest.
    The rows are the same.

    on_corrupt: what becomes of row groups that cannot be read or are not what the manifest says: "error";
    "replay": they are made again; "skip": their examples are left out, padding stands in their place, and
    `skipped` lists them. A CorruptWarning tells of each.

    cache_dir: a local folder in which what is read from a store is kept, cache_bytes of it; processes may
    share it.

    OstracaError where the corpus, the dataset or the split does not exist or a shard cannot be read.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        datasets: str | Sequence[str] | None = None,
        split: str = "train",
        where: str | None = None,
        source: str = "auto",
        on_corrupt: str = "error",
        cache_dir: Path | str | None = None,
        cache_bytes: int = 1 << 34,
    ) -> None:
        self._root, name = manifest_at(str(path))
        manifest = read_manifest(self._root, name=name)
        require_records(self._root, manifest)
        self._spec = spec_in(self._root, manifest)
        self._names = _choose(path, self._spec, datasets, split)
        self._splits = {dataset: Split.of(self._spec, dataset, split) for dataset in self._names}
        views = list(self._splits.values())
        if cache_dir is not None and source != "replay":
            from ..pipeline.store.cache import cached

            self._root = cached(self._root, cache_dir, cache_bytes)
        self._identity: dict[str, Any] = {
            "kind": "corpus",
            "content": [str(_content_of(manifest, dataset, split)) for dataset in self._names],
            "pack": self._spec["pack"],
            "datasets": self._names,
            "split": split,
            "where": where,
        }
        self._recipe = {
            "kind": "corpus",
            "path": f"{self._root.url}/{name}",
            "datasets": self._names,
            "split": split,
            "where": where,
            "source": source,
            "on_corrupt": on_corrupt,
            "cache_dir": None if cache_dir is None else str(local_path(cache_dir)),
            "cache_bytes": cache_bytes,
        }
        self._where = None if where is None else Where(where)
        if self._where is not None:
            if self._spec["pack"] is not None:
                raise ConfigError(f"{path}: where={where!r}: packed rows have no columns of their examples")
            for view in views:
                self._where.check(str(path), view.content_schema)
        self._groups = Groups(self._root, manifest, views, source, on_corrupt)
        self._places, self._blocks, self._counted = self._groups.blocks()
        if not len(self._places):
            raise OstracaError(f"{path}: {split} has no example: all were dropped as duplicates")
        if self._where is not None:
            self._places, self._blocks = self._filtered(path)
            self._counted = True
        self._identity["blocks"] = self._blocks.digest()

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose rows come, in the manifest's order."""
        return tuple(self._names)

    @property
    def dataset(self) -> str:
        """The only dataset's name in the corpus; ConfigError where the source mixes several."""
        if len(self._names) > 1:
            raise ConfigError(f"{self._root}: mixes {', '.join(self._names)}; say which with datasets")
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
    def recipe(self) -> Mapping[str, Any]:
        """See `Source`."""
        return self._recipe

    @property
    def skipped(self) -> tuple[str, ...]:
        """The row groups that were left out so far, e.g. "depo/train-00001-of-00004.parquet: row group 3"."""
        return tuple(sorted(self._groups.skipped))

    @property
    def rows(self) -> int:
        """Rows of the split."""
        return int(self._blocks.rows.sum())

    def task_of(self, dataset: str) -> str:
        """The task of one of the source's datasets."""
        return self._splits[dataset].task.name

    def config_of(self, dataset: str) -> Mapping[str, Any]:
        """The complete config of one of the source's datasets."""
        return self._splits[dataset].config

    def renaming(self, dataset: str) -> Renaming | None:
        """From a dataset's published ids to those in the rows; None where they are the same."""
        return self._splits[dataset].renaming

    def blocks(self, tokens: bool) -> Blocks:
        """See `Source`: a block is a row group.

        All rows of an older corpus, whose manifest does not tell the tokens, are read once to count them.
        """
        if tokens and not self._counted:
            _, counts = self._sizes()
            self._blocks, self._counted = replace(self._blocks, tokens=counts), True
        return self._blocks

    def read(self, blocks: Sequence[int]) -> Rows:
        """See `Source`."""
        batches = [self._read(block) for block in blocks]
        if sum(len(batch.column("input_ids").values) for batch in batches) > INT32_MAX:
            raise ConfigError("a window has over 2^31 tokens; take a smaller window_blocks")
        return Rows.of(batches[0] if len(batches) == 1 else pa.concat_batches(batches))

    def _read(self, block: int) -> pa.RecordBatch:
        """The rows of a block that are meant."""
        columns = _COLUMNS if self._spec["pack"] is None else [*_COLUMNS, "starts"]
        wanted = columns if self._where is None else list(dict.fromkeys([*columns, *self._where.names]))
        number, shard, group = self._places[block].tolist()
        batch = self._groups.read(number, shard, group, wanted)
        if batch is None:
            none = pa.ListArray.from_arrays(np.zeros(int(self._blocks.rows[block]) + 1, np.int32), [])
            schema = pa.schema([self._splits[self._names[number]].schema.field(name) for name in columns])
            return pa.RecordBatch.from_arrays([none.cast(field.type) for field in schema], schema=schema)
        if self._where is None:
            return batch
        return batch.filter(pa.array(self._where.mask(batch))).select(columns)

    def _filtered(self, path: Path | str) -> tuple[NDArray[np.int32], Blocks]:
        """The blocks that have rows of which `where` is true, and how many, with how many tokens."""
        rows, tokens = self._sizes()
        kept = rows > 0
        if not kept.any():
            raise ConfigError(f"{path}: where={self._identity['where']!r} is true of no row")
        ends = np.cumsum(self._blocks.strata)
        strata = np.bincount(np.searchsorted(ends, np.flatnonzero(kept), side="right"), minlength=len(ends))
        names = [name for name, count in zip(self._blocks.names, strata, strict=True) if count]
        blocks = Blocks(
            rows=rows[kept],
            tokens=tokens[kept],
            strata=tuple(strata[strata > 0].tolist()),
            names=tuple(names),
        )
        return self._places[kept], blocks

    def _sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and tokens of each block, read: int64 [blocks] each."""
        with ThreadPoolExecutor(_COUNTERS) as pool:
            sizes = list(pool.map(lambda block: _size(self.read([block])), range(len(self._places))))
        rows, tokens = (np.array(column, np.int64) for column in zip(*sizes, strict=True))
        return rows, tokens


def _size(rows: Rows) -> tuple[int, int]:
    return len(rows), int(rows.offsets[-1] - rows.offsets[0])


def _content_of(manifest: Mapping[str, Any], dataset: str, split: str) -> ContentDigest:
    """The content digest of one split of one dataset."""
    records = (record for record in manifest["splits"][split]["shards"] if record["dataset"] == dataset)
    digests = (ContentDigest.parse(record["content_digest"]) for record in records)
    return sum(digests, ContentDigest())


def _choose(
    path: Path | str, spec: Mapping[str, Any], names: str | Sequence[str] | None, split: str
) -> list[str]:
    """The datasets that are meant; ConfigError where there is none, or where their ids collide."""
    datasets = spec["datasets"]
    asked = list(datasets) if names is None else [names] if isinstance(names, str) else list(names)
    for name in asked:
        if not isinstance(name, str) or name not in datasets:
            raise ConfigError(
                f"{path}: no dataset {name!r}{nearest(name, datasets)}; it has {', '.join(datasets)}"
            )
    if not asked or len(set(asked)) < len(asked):
        raise ConfigError(f"datasets={names!r} must name one dataset or more, each once")
    asked = [name for name in datasets if name in asked]
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
