"""`dedup.mode=disjoint`: no example of an eval split is in train, and nothing else is changed.

Eval splits are small, so the fingerprints of all their examples go to every job that makes a shard of train:
there is one pass and no exchange. A job looks at the length and a few tokens of each example first; only what
agrees in these with an eval example, and so next to none, is fingerprinted.

The eval splits keep their law. An example of train is one that was drawn independently, given that it is in
no eval split: all that are in none keep their chances relative to one another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.core.batch import unragged
from ....tasks.core.kernels import inlined, kernel
from ...corpus.layout import STATE
from ...corpus.split import Split
from ...spec.dedup import check_evals
from ...spec.shards import Shard, is_eval, shards_of
from ...store.folder import Folder, write_bytes
from ...store.open import open_folder
from .prints import draws_with_prints, fingerprints
from .table import SLOT_BYTES, Table, slots_for

if TYPE_CHECKING:
    from ..jobs.engine import Engine

_WIDTH = 4  # words of an example in a file: its fingerprint, its first look, its tokens' number
_LONGEST = 1 << 16  # tokens of an example up to which lengths are told apart
_LEAST_BITS, _MOST_BITS = 16, 27  # log2 of the slots of the first look,
_SLOTS_EACH = 64  # of which each eval example has so many, if it may
_LOOKS = np.uint64(8)  # tokens at either end that the first look sees
_M0 = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xD1342543DE82EF95)
_S32 = np.uint64(32)
_0, _1 = np.uint64(0), np.uint64(1)


@dataclass(frozen=True, kw_only=True)
class EvalExamples:
    """What tells the examples of a corpus's eval splits from others."""

    lengths: NDArray[np.uint8]  # 1 where an example has so many tokens, the last entry: or more
    seen: NDArray[np.uint8]  # by the upper bits of a first look: 1 where there is such an example
    looks: NDArray[np.uint64]  # ascending
    table: Table

    def places_in(self, split: Split, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """The rows of a split's batch, with published ids, that are eval examples too: int64, ascending."""
        values, offsets = unragged(batch.column(0))
        rows, looks = np.empty(batch.num_rows, np.int64), np.empty(batch.num_rows, np.uint64)
        matches = int(_look_for(values, offsets, self.lengths, self.seen, _shift(self.seen), rows, looks))
        rows, looks = rows[:matches], looks[:matches]
        place = np.minimum(np.searchsorted(self.looks, looks), len(self.looks) - 1)
        rows = rows[self.looks[place] == looks]
        if len(rows):
            prints = fingerprints(split, batch.select([0]).take(pa.array(rows)), "tokens")
            rows = rows[self.table.contains(prints)]
        places: NDArray[np.int64] = rows
        return places


@dataclass(frozen=True, kw_only=True)
class Evals:
    """Where the fingerprints of a corpus's eval examples stand: small, it goes to every job."""

    spec_digest: str
    paths: tuple[str, ...]

    def read(self, folder: Folder) -> EvalExamples | None:
        """The examples; None where there are none."""
        return _read(folder.url, self) if self.paths else None


@functools.lru_cache(maxsize=2)
def _read(url: str, evals: Evals) -> EvalExamples:
    folder = open_folder(url)
    words = np.concatenate([np.frombuffer(folder.read(path), "<u8") for path in evals.paths])
    words = words.astype(np.uint64).reshape(-1, _WIDTH)
    bits = min(max((_SLOTS_EACH * len(words)).bit_length(), _LEAST_BITS), _MOST_BITS)
    seen = np.zeros(1 << bits, np.uint8)
    seen[words[:, 2] >> _shift(seen)] = 1
    lengths = np.zeros(min(int(words[:, 3].max()) + 1, _LONGEST) + 1, np.uint8)
    lengths[np.minimum(words[:, 3], _LONGEST)] = 1
    table = Table.of_size(len(words))
    table.insert(words[:, :2])
    return EvalExamples(lengths=lengths, seen=seen, looks=np.sort(words[:, 2]), table=table)


def _shift(seen: NDArray[np.uint8]) -> np.uint64:
    """How far a first look is shifted to be a place in `seen`."""
    return np.uint64(65 - len(seen).bit_length())


def first_looks(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """A number for each row, of its length and some of its tokens (or bytes) alone: uint64 [rows]."""
    values, offsets = unragged(batch.column(0))
    looks = np.empty(batch.num_rows, np.uint64)
    _look(values, offsets, looks)
    return looks


def warm_looks(batch: pa.RecordBatch) -> None:
    """Compile what is done with a batch of such columns."""
    looks = first_looks(batch)
    values, offsets = unragged(batch.column(0))
    seen = np.zeros(1 << _LEAST_BITS, np.uint8)
    _look_for(values, offsets, seen, seen, _shift(seen), np.empty(len(looks), np.int64), looks)


@inlined
def _look_at(values, start, length):
    """A number of the length and of up to eight tokens at either end."""
    # These lie beside those of the next row in memory, and the two sums do not wait for one another. Places
    # have no sign: what has one might count from an array's end, and costs a question each.
    front, back = length, _1
    for place in range(min(length, _LOOKS)):
        front = front * _M0 + np.uint64(values[start + place])
        back = back * _M1 + np.uint64(values[start + length - _1 - place])
    look = (front ^ (front >> _S32)) * _M1 + back
    return (look ^ (look >> _S32)) * _M0


@kernel
def _look(values, offsets, looks):
    """looks uint64 [rows]: what is first seen of each row."""
    for row in range(np.uint64(len(looks))):
        start = np.uint64(offsets[row])
        looks[row] = _look_at(values, start, np.uint64(offsets[row + _1]) - start)


@kernel
def _look_for(values, offsets, lengths, seen, shift, rows, looks):
    """The rows of such lengths whose first look is in `seen`, to rows int64, and these looks; how many."""
    matches = _0
    longest = np.uint64(len(lengths) - 1)
    for row in range(np.uint64(len(offsets) - 1)):
        start = np.uint64(offsets[row])
        length = np.uint64(offsets[row + _1]) - start
        if lengths[min(length, longest)]:
            look = _look_at(values, start, length)
            if seen[look >> shift]:
                rows[matches] = row
                looks[matches] = look
                matches += _1
    return matches


def eval_prints(
    spec: Mapping[str, Any],
    digest: str,
    folder: Folder,
    engine: Engine,
    memory: int,
    on_step: Callable[[str, int, int], None],
) -> Evals:
    """Have the fingerprints of all eval examples of a spec made; ConfigError where they need over `memory`.

    Of a part of a corpus too: they follow from the spec.
    """
    if all(is_eval(split) for entry in spec["datasets"].values() for split in entry["splits"]):
        return Evals(spec_digest=digest, paths=())
    shards = [
        shard
        for dataset, entry in spec["datasets"].items()
        for split in filter(is_eval, entry["splits"])
        for shard in shards_of(spec, dataset, split)
    ]
    examples = sum(shard.count for shard in shards)
    check_evals(examples, examples * 8 * (_WIDTH + 1) + SLOT_BYTES * slots_for(examples), memory)
    job = functools.partial(_print_shard, spec, folder)
    missing = [shard for shard in shards if folder.size(_path(shard)) != 8 * _WIDTH * shard.count]
    for done, _ in enumerate(engine.map(job, missing), 1):
        on_step("fingerprints of eval splits", done, len(missing))
    return Evals(spec_digest=digest, paths=tuple(_path(shard) for shard in shards))


def _print_shard(spec: Mapping[str, Any], folder: Folder, shard: Shard) -> None:
    """Write the fingerprints, first looks and lengths of a shard's examples: uint64 [n, _WIDTH]."""
    indices = np.arange(shard.first_index, shard.first_index + shard.count, dtype=np.int64)
    words = []
    for batch, prints in draws_with_prints(Split.of(spec, shard.dataset, shard.split), indices):
        lengths = np.diff(unragged(batch.column(0))[1]).astype(np.uint64)
        words.append(np.column_stack([prints, first_looks(batch), lengths]).astype("<u8"))
    write_bytes(folder, _path(shard), b"".join(word.tobytes() for word in words))


def _path(shard: Shard) -> str:
    return f"{STATE}/dedup/eval/{shard.path}.prints"
