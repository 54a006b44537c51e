"""Examples made on the fly, straight from a task's config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..tasks import get_task
from ..tasks.base import Task, vocab_size
from ..tasks.errors import ConfigError, check_integer
from ..tasks.examples import MAX_INDEX, batch_rows, check_seed, check_split, complete_config, stream_of
from ..tasks.vocabulary import Renaming
from .source import Rows


class TaskSource:
    """Examples start..start+count-1 (endless where count is None) of one split, in index order.

    They need no shuffling: examples are independent draws. renaming: to the shared ids of a corpus (see
    `CorpusSource.renaming`). ConfigError where the config is refused or its examples have no ids.
    """

    def __init__(
        self,
        task: str,
        config: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        split: str = "train",
        start: int = 0,
        count: int | None = None,
        renaming: Renaming | None = None,
    ) -> None:
        self._task = get_task(task)
        self._seed, self._split = check_seed(seed), check_split(split)
        self._config = complete_config(self._task, config, self._seed)
        _refuse_texts(self._task, self._config)
        self._renaming = renaming
        self._start = check_integer("start", start, 0, MAX_INDEX)
        self._count = None if count is None else check_integer("count", count, 0, MAX_INDEX)
        self._key = stream_of(self._task, self._config, self._seed, self._split)

    @property
    def task(self) -> str:
        return self._task.name

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config

    @property
    def vocab_size(self) -> int:
        if self._renaming is not None:
            return int(self._renaming.targets.max()) + 1
        return vocab_size(self._task, self._config)

    @property
    def row_length(self) -> None:
        """Its rows are single examples."""
        return None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "source": "task",
            "task": self._task.name,
            "version": self._task.version,
            "config": self._config,
            "seed": self._seed,
            "split": self._split,
            "start": self._start,
            "count": self._count,
            "vocabulary": None if self._renaming is None else self._renaming.targets.tolist(),
        }

    def rows_from(self, position: int) -> Iterator[Rows]:
        """See `Source`: position 0 is the example at index `start`."""
        step = batch_rows(self._task, self._config)
        end = None if self._count is None else self._start + self._count
        first = self._start + position
        while end is None or first < end:
            last = first + step if end is None else min(first + step, end)
            indices = np.arange(first, last, dtype=np.int64)
            batch = self._task.generate(self._config, self._key, indices)
            if self._renaming is not None:
                batch = self._renaming.batch(batch)
            yield Rows.of(batch, np.arange(last - first, dtype=np.int64))
            first = last


def _refuse_texts(task: Task, config: Mapping[str, Any]) -> None:
    if "input_ids" not in task.schema(config).names:
        raise ConfigError(f"{task.name}: its examples are texts, which cannot be streamed; set bio=tokens")
