"""Row groups of a corpus's splits: read from its shards or made again, as is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..pipeline.corpus.reader import SplitReader, split_reader
from ..pipeline.corpus.split import Split
from ..pipeline.store.folder import Folder
from ..tasks.errors import CorruptWarning, OstracaError, one_of
from .source import Blocks

if TYPE_CHECKING:
    from ..pipeline.corpus.remake import SplitMaker

SOURCES = ("auto", "shards", "replay")
ON_CORRUPT = ("error", "replay", "skip")


class Groups:
    """The row groups of some splits of a corpus. See `CorpusSource` for source and on_corrupt."""

    def __init__(
        self, root: Folder, manifest: Mapping[str, Any], splits: Sequence[Split], source: str, on_corrupt: str
    ) -> None:
        self._root, self._manifest, self._splits = root, manifest, splits
        self._source = one_of("source", source, SOURCES)
        self._on_corrupt = one_of("on_corrupt", on_corrupt, ON_CORRUPT)
        self._readers = [split_reader(root, manifest, split) for split in splits]
        self._makers: list[SplitMaker] | None = None
        if source == "replay":
            self._maker(0)
        self._there: dict[tuple[int, int], bool] = {}
        self._told: set[str] = set()
        self.skipped: set[str] = set()

    def blocks(self) -> tuple[NDArray[np.int32], Blocks, bool]:
        """(split, shard, row group) of each row group that has rows, int32 [blocks, 3], and their sizes.

        And whether their tokens are known: the manifest of an older corpus (format 3) does not tell them.
        """
        places, rows, tokens, strata = [], [], [], []
        readers: Sequence[SplitReader | SplitMaker] = self._makers or self._readers
        for number, reader in enumerate(readers):
            own = np.concatenate(reader.group_rows)
            counts = [len(rows) for rows in reader.group_rows]
            place = np.empty((len(own), 3), np.int32)
            place[:, 0] = number
            place[:, 1] = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
            place[:, 2] = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
            kept = slice(None) if own.all() else own > 0  # of some row groups every example was a duplicate
            places.append(place[kept])
            rows.append(own[kept])
            told = reader.group_tokens
            if told is not None:
                tokens.append(np.concatenate(told)[kept])
            strata.append(len(rows[-1]))
        all_rows = rows[0] if len(rows) == 1 else np.concatenate(rows)
        known = len(tokens) == len(readers)
        blocks = Blocks(
            rows=all_rows,
            tokens=np.concatenate(tokens) if known else np.zeros_like(all_rows),
            strata=tuple(strata),
            names=tuple(split.dataset for split in self._splits),
        )
        return places[0] if len(places) == 1 else np.concatenate(places), blocks, known

    def read(self, number: int, shard: int, group: int, columns: Sequence[str]) -> pa.RecordBatch | None:
        """Columns of a row group; None where it is corrupt and is left out. OstracaError else."""
        record = self._readers[number].records[shard]
        if self._is_made_again(number, shard, record["path"]):
            return self._maker(number).read(shard, group, columns)
        try:
            return self._readers[number].read(shard, group, columns)
        except OstracaError as error:
            if self._on_corrupt == "error":
                raise
            name = f"{record['path']}: row group {group}"
            if name not in self._told:
                self._told.add(name)
                done = "made again" if self._on_corrupt == "replay" else "left out, with padding in its place"
                warnings.warn(f"{done}: {error}", CorruptWarning, stacklevel=2)
        if self._on_corrupt == "replay":
            return self._maker(number).read(shard, group, columns)
        self.skipped.add(name)
        return None

    def _is_made_again(self, number: int, shard: int, path: str) -> bool:
        if self._source != "auto":
            return self._source == "replay"
        key = (number, shard)
        if key not in self._there:
            self._there[key] = self._root.size(path) is not None
        return not self._there[key]

    def _maker(self, number: int) -> SplitMaker:
        if self._makers is None:
            from ..pipeline.corpus.remake import split_maker  # what packs rows, too, is seldom needed

            self._makers = [split_maker(str(self._root), self._manifest, split) for split in self._splits]
        return self._makers[number]
