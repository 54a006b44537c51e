"""One split of one dataset, as a complete spec has it: resolved once, then asked by all who need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks import get_task
from ...tasks.base import Task
from ...tasks.core.batch import unragged
from ...tasks.core.rng import canonical_json
from ...tasks.examples import stream_of
from ...tasks.vocabulary import Renaming, corpus_vocab_size, split_names, split_renaming
from ..spec.shards import is_eval
from ..spec.versions import check_version
from .packed import PACKED_SCHEMA

SplitId = tuple[str, str]  # dataset, split: what tells a split from the others of its corpus


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """What a spec says of one split of a dataset, and what follows from it."""

    spec: Mapping[str, Any]  # complete
    dataset: str
    name: str  # of the split
    task: Task
    version: int  # of the task that the spec is of, which may not be the one installed
    config: Mapping[str, Any]  # complete
    examples: int
    shard_examples: int
    row_group_examples: int

    @staticmethod
    def of(spec: Mapping[str, Any], dataset: str, split: str) -> Split:
        """A split of a complete spec."""
        entry = spec["datasets"][dataset]
        own = entry["splits"][split]
        return Split(
            spec=spec,
            dataset=dataset,
            name=split,
            task=get_task(entry["task"]),
            version=entry["version"],
            config=own["config"],
            examples=own["examples"],
            shard_examples=own["shard_examples"],
            row_group_examples=own["row_group_examples"],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By what it is of: a task's functions need not be picklable, and are found by its name."""
        return Split.of, (self.spec, *self.id)

    @property
    def id(self) -> SplitId:
        """Dataset and split."""
        return self.dataset, self.name

    @property
    def is_eval(self) -> bool:
        """Whether it is none of train."""
        return is_eval(self.name)

    @property
    def pack(self) -> Mapping[str, Any] | None:
        """How rows are packed, length and mode; None: a row is an example."""
        pack: Mapping[str, Any] | None = self.spec["pack"]
        return pack

    @property
    def compression(self) -> str | None:
        """Of its shards, where their format has them compressed or not."""
        return None if self.spec["compression"] == "none" else self.spec["compression"]

    @cached_property
    def content_schema(self) -> pa.Schema:
        """The columns of its examples."""
        return self.task.schema(self.config)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its shards."""
        return self.content_schema if self.pack is None else PACKED_SCHEMA

    @property
    def of_texts(self) -> bool:
        """Whether its examples are texts, not tokens."""
        return "input_ids" not in self.content_schema.names

    @cached_property
    def vocab_size(self) -> int | None:
        """No id in its rows is larger than this - 1; None where it holds texts."""
        return None if self.of_texts else corpus_vocab_size(self.spec, [self.dataset])

    @cached_property
    def longest(self) -> int:
        """No row has more tokens, or bytes of text."""
        return self.task.max_tokens(self.config) if self.pack is None else int(self.pack["length"])

    @cached_property
    def renaming(self) -> Renaming | None:
        """From its published ids to those in its rows; None where they are the same."""
        return split_renaming(self.spec, self.dataset, self.name)

    def published(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of its shards with the ids that the task knows."""
        return batch if self._inverse is None else self._inverse.batch(batch)

    @cached_property
    def _inverse(self) -> Renaming | None:
        return None if self.renaming is None else self.renaming.inverse()

    @cached_property
    def space(self) -> str:
        """Names the examples that it draws from: the same for splits that may hold an example both.

        Those of the test form are some of the others.
        """
        plain = {key: value for key, value in self.config.items() if key not in self.task.test_form}
        return canonical_json([self.task.name, plain])

    @cached_property
    def distinct(self) -> int | None:
        """How many examples that differ by the spec's key there are, where that is known exactly."""
        if self.task.distinct is None:
            return None
        return self.task.distinct(self.config, self.spec["dedup"]["key"] == "content")

    def token_names(self) -> dict[int, str]:
        """id -> name of every token in its rows."""
        return split_names(self.spec, self.dataset, self.name)

    def key(self, attempt: int = 0) -> NDArray[np.uint64]:
        """The key of the stream that its examples, or some attempt at them, come from: uint64 [2]."""
        return stream_of(self.task, self.config, self.spec["seed"], self.name, self.version, attempt)

    def require_version(self) -> None:
        """OstracaError where the installed task is not the version that the spec is of."""
        check_version(self.task, self.version, self.dataset)


def splits_of(spec: Mapping[str, Any]) -> Iterator[Split]:
    """All splits of a complete spec, in its order."""
    for dataset, entry in spec["datasets"].items():
        for split in entry["splits"]:
            yield Split.of(spec, dataset, split)


def count_tokens(batch: pa.RecordBatch) -> int:
    """Tokens of a batch; bytes where it holds texts."""
    _, offsets = unragged(batch.column(0))
    return int(offsets[-1]) - int(offsets[0])
