"""`TokenStream`: batches for training, each a pure function of the source and the batch's number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.batch import LABEL_IGNORED
from ..tasks.errors import ConfigError, OstracaError, check_integer, nearest, shown
from .pack import pack_left_aligned, pack_padded, pack_rows
from .source import Rows, Source

Batch = dict[str, NDArray[np.int64]]
MODES = ("left_aligned", "padded", "packed")
STATE_VERSION = 1


class TokenStream:
    """Batches of a source's examples.

    mode: None is "packed" where the source's rows were packed when the corpus was built, else "left_aligned".
    "left_aligned": examples end to end in lines of `length` tokens, each line beginning with a whole
    example and its last one cut, as in the paper. "padded": one example a line, filled up with pad_id
    (length None: to the longest of the batch); longer examples are cut. "packed": one packed row a line,
    filled up with pad_id (length None: to the length that it was packed to); a longer row is an error.

    A batch holds int64 [batch_size, length]: `input_ids`; `labels` (-100 where there is no loss, not
    shifted: the model shifts them); `position_ids` (from 0 in each example, so that they tell where one
    begins; 0 in padding); with "padded" also `attention_mask`. A finite source's last batch may have fewer
    lines, and its last line may be filled up with pad_id. With "packed", an example that goes on from the
    row before (pack mode concat) begins at position 0 again: the row before is not in sight.

    ConfigError where the source's rows are packed and the mode is another, or the reverse.

    Iterating goes on from where the stream stands (nothing comes once a finite source has ended);
    `state_dict` after a batch is where the next begins. An iterator ends with an OstracaError where the
    stream was moved by another one or by `load_state_dict`.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        length: int | None = None,
        mode: str | None = None,
        pad_id: int = 0,
    ) -> None:
        if mode is not None and mode not in MODES:
            raise ConfigError(f"mode={mode!r}{nearest(mode, MODES)} must be one of {', '.join(MODES)}")
        packed = source.row_length is not None
        self._source, self._mode = source, mode or ("packed" if packed else "left_aligned")
        if self._mode == "packed" and not packed:
            raise ConfigError(
                "mode='packed' reads rows that were packed when the corpus was built; this source's are "
                "single examples: take mode='left_aligned' or 'padded', or build the corpus with pack"
            )
        if self._mode != "packed" and packed:
            raise ConfigError(
                f"mode={mode!r} lays single examples; this source's rows were packed when the corpus was "
                "built: take mode='packed', or leave it out"
            )
        if length is None and self._mode == "left_aligned":
            raise ConfigError("length=None is not for mode='left_aligned'; say how long a line is")
        if length is None and self._mode == "packed":
            length = source.row_length
        self._batch_size = check_integer("batch_size", batch_size, 1)
        self._length = None if length is None else check_integer("length", length, 1)
        self._pad_id = check_integer("pad_id", pad_id, 0)
        self._position = 0
        self._moves = 0  # rises with every new iterator and load_state_dict

    @property
    def source(self) -> Source:
        """What the stream draws from."""
        return self._source

    @property
    def examples_seen(self) -> int:
        """Examples in the batches given so far (cut ones too); with mode "packed" its rows."""
        return self._position

    def __iter__(self) -> Iterator[Batch]:
        self._moves += 1
        mine = self._moves
        batches = self._padded() if self._mode == "padded" else self._laid()
        for taken, batch in batches:
            self._position += taken
            yield batch
            if self._moves != mine:
                raise OstracaError("the stream was moved while this iterator was in use; call iter() again")

    def _empty(self, lines: int, length: int) -> Batch:
        batch = {
            "input_ids": np.full((lines, length), self._pad_id, dtype=np.int64),
            "labels": np.full((lines, length), LABEL_IGNORED, dtype=np.int64),
            "position_ids": np.zeros((lines, length), dtype=np.int64),
        }
        if self._mode == "padded":
            batch["attention_mask"] = np.zeros((lines, length), dtype=np.int64)
        return batch

    def _rows(self) -> Iterator[Rows]:
        """The source's rows from where the stream stands now; ConfigError where a packed one is too long."""
        for rows in self._source.rows_from(self._position):
            if self._mode == "packed" and len(rows):
                longest = int(rows.lengths().max())
                if longest > (self._length or 0):
                    raise ConfigError(
                        f"length={self._length}: a packed row has {longest} tokens and is not cut; take the "
                        "length that the corpus was packed with"
                    )
            yield rows

    def _laid(self) -> Iterator[tuple[int, Batch]]:
        """(rows taken, batch) from where the stream stands now, of lines that are `length` long."""
        assert self._length is not None
        batch = self._empty(self._batch_size, self._length)
        line = place = taken = 0
        for rows in self._rows():
            first = 0
            while first < len(rows):
                before = first
                first, line, place = self._lay(rows, first, line, place, batch)
                taken += first - before
                if line == self._batch_size:
                    yield taken, batch
                    batch = self._empty(self._batch_size, self._length)
                    line = place = taken = 0
        if taken:
            yield taken, {name: values[: line + (place > 0)] for name, values in batch.items()}

    def _lay(self, rows: Rows, first: int, line: int, place: int, batch: Batch) -> tuple[int, int, int]:
        """Lay rows.order[first:] from (line, place); returns where to go on, as these three."""
        into = batch["input_ids"], batch["labels"], batch["position_ids"]
        if self._mode == "left_aligned":
            first, line, place = pack_left_aligned(*_arrays(rows), first, line, place, *into)
        else:
            first, line = pack_rows(*_arrays(rows), rows.starts, rows.starts_offsets, first, line, *into)
        return first, line, place

    def _padded(self) -> Iterator[tuple[int, Batch]]:
        """(examples taken, batch) from where the stream stands now."""
        waiting: list[Rows] = []
        for rows in self._rows():
            waiting.append(rows)
            while sum(map(len, waiting)) >= self._batch_size:
                batch, waiting = self._take(waiting, self._batch_size)
                yield self._batch_size, batch
        count = sum(map(len, waiting))
        if count:
            batch, _ = self._take(waiting, count)
            yield count, batch

    def _take(self, waiting: list[Rows], count: int) -> tuple[Batch, list[Rows]]:
        """A padded batch of the first `count` examples, and what is left."""
        used, left, missing = [], [], count
        for rows in waiting:
            head, tail = rows.order[:missing], rows.order[missing:]
            missing -= len(head)
            if len(head):
                used.append(rows.reordered(head))
            if len(tail):
                left.append(rows.reordered(tail))
        longest = max(int(rows.lengths().max()) for rows in used)
        batch = self._empty(count, self._length or longest)
        line = 0
        for rows in used:
            _, line = pack_padded(
                *_arrays(rows),
                0,
                line,
                batch["input_ids"],
                batch["labels"],
                batch["position_ids"],
                batch["attention_mask"],
            )
        return batch, left

    def _identity(self) -> dict[str, Any]:
        return {
            **self._source.identity,
            "batch_size": self._batch_size,
            "length": self._length,
            "mode": self._mode,
            "pad_id": self._pad_id,
        }

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins: small, plain values, the same for any reader."""
        return {"version": STATE_VERSION, "position": self._position, "identity": self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken; OstracaError where it belongs to another stream."""
        if not isinstance(state, Mapping) or not {"version", "position", "identity"} <= state.keys():
            raise OstracaError(f"{shown(state)} is not a stream's state; give what state_dict() returned")
        if state["version"] != STATE_VERSION:
            raise OstracaError(
                f"the stream's state has version {shown(state['version'])}, this ostraca reads "
                f"{STATE_VERSION}; resume with the release that wrote it"
            )
        mine, theirs = self._identity(), dict(state["identity"])
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                raise OstracaError(
                    f"the state is of another stream: its {name} is {shown(theirs.get(name))}, this one's is "
                    f"{shown(mine.get(name))}; make the stream as it was, or start a new one"
                )
        self._position = check_integer("position", state["position"], 0)
        self._moves += 1


def _arrays(rows: Rows) -> tuple[NDArray[Any], ...]:
    return rows.tokens, rows.offsets, rows.mask, rows.mask_offsets, rows.order
