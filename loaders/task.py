"""Examples made on the fly, straight from a task's config."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks import get_task
from ..tasks.base import Task, vocab_size
from ..tasks.errors import ConfigError, OstracaError, check_integer
from ..tasks.examples import MAX_INDEX, check_seed, check_split, complete_config, stream_of
from ..tasks.vocabulary import Renaming
from .source import Blocks, Rows

BLOCK_TOKENS = 1 << 18


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
    def recipe(self) -> Mapping[str, Any]:
        """See `Source`; OstracaError with a renaming, which belongs to a corpus."""
        if self._renaming is not None:
            raise OstracaError("a source with the ids of a corpus cannot be made again from a state alone")
        return {
            "kind": "task",
            "task": self._task.name,
            "config": self._config,
            "seed": self._seed,
            "split": self._split,
            "start": self._start,
            "count": self._count,
        }

    def __getstate__(self) -> dict[str, Any]:
        """A task's functions need not be picklable, and are found by its name."""
        return {**self.__dict__, "_task": self._task.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _task=get_task(state["_task"]))

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
            "kind": "task",
            "task": self._task.name,
            "version": self._task.version,
            "config": self._config,
            "seed": self._seed,
            "split": self._split,
            "start": self._start,
            "count": self._count,
            "vocabulary": None if self._renaming is None else _digest(self._renaming),
        }

    @property
    def name(self) -> str:
        """See `EndlessSource`."""
        return self._task.name

    @property
    def mean_tokens(self) -> float:
        """See `EndlessSource`."""
        return float(self._task.mean_tokens(self._config))

    @property
    def counted(self) -> bool:
        """See `EndlessSource`: so it is with Capo's people, each of whom comes as often as the others."""
        return self._task.count is not None

    def blocks(self, tokens: bool) -> Blocks | None:
        """See `Source`. Where tokens are asked for, all examples are made once, to count them."""
        if self._count is None:
            return None
        step = self._step
        rows = np.diff(np.append(np.arange(0, self._count, step), self._count))
        known = np.zeros(len(rows), np.int64)
        if tokens:
            known[:] = self._tokens
        return Blocks(rows=rows, tokens=known, strata=(len(rows),), names=(self._task.name,))

    @property
    def _step(self) -> int:
        """Examples of a block: about as many tokens as a row group has."""
        return max(1, round(BLOCK_TOKENS / self.mean_tokens))

    @cached_property
    def _tokens(self) -> list[int]:
        """Of each block."""
        assert self._count is not None
        firsts = range(0, self._count, self._step)
        made = (self.make(first, min(self._step, self._count - first)) for first in firsts)
        return [int(rows.offsets[-1] - rows.offsets[0]) for rows in made]

    def read(self, blocks: Sequence[int]) -> Rows:
        """See `Source`."""
        assert self._count is not None
        step = self._step
        indices = [np.arange(block * step, min((block + 1) * step, self._count)) for block in blocks]
        return self._made(self._start + np.concatenate(indices))

    def make(self, first: int, count: int) -> Rows:
        """See `EndlessSource`: example 0 is the one at index `start`."""
        first += self._start
        return self._made(np.arange(first, first + count, dtype=np.int64))

    def _made(self, indices: NDArray[np.int64]) -> Rows:
        batch = self._task.generate(self._config, self._key, indices)
        return Rows.of(batch if self._renaming is None else self._renaming.batch(batch))


def _digest(renaming: Renaming) -> str:
    return hashlib.sha256(renaming.targets.astype("<i8").tobytes()).hexdigest()[:16]


def _refuse_texts(task: Task, config: Mapping[str, Any]) -> None:
    if "input_ids" not in task.schema(config).names:
        raise ConfigError(f"{task.name}: its examples are texts, which cannot be streamed; set bio=tokens")
