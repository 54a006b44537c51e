"""Counting the examples of streams: made on the spot, or the rows of a built corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.auditing import Audit
from ....tasks.base import Task
from ....tasks.examples import batch_rows, stream_of
from ...corpus.fingerprint import token_fingerprints
from ...corpus.packed import unpack_batch
from ...corpus.reader import SplitReader
from ...spec.packing import CUTTING
from .judge import Finding, compared
from .tally import KEPT, Tally, cross
from .tests import sign_tail

_STREAM = 56  # the bit of an index from which on streams are told apart
_BATCHES = 16  # that a thread counts at a time


def count_made(
    task: Task,
    config: Mapping[str, Any],
    seed: int,
    split: str,
    examples: int,
    workers: int,
) -> Tally:
    """The tally of examples 0..examples-1 of a stream. `config` is complete, the task has declarations."""
    assert task.audit is not None
    audit = task.audit(config)
    key, step = stream_of(task, config, seed, split), batch_rows(task, config)
    step += step % 2  # neighbours 2i, 2i + 1 stay together

    def count(start: int) -> Tally:
        tally = Tally(audit=audit)
        for first in range(start, min(start + _BATCHES * step, examples), step):
            index = np.arange(first, min(first + step, examples), dtype=np.int64)
            tally.add(index, audit.tables(task.generate(config, key, index)))
        return tally

    total = count(0)  # kernels are compiled by one thread
    with ThreadPoolExecutor(workers) as pool:
        for counts in pool.map(count, range(_BATCHES * step, examples, _BATCHES * step)):
            total.merge(counts)
    return total


def rows_of_split(
    reader: SplitReader, most: int | None = None, cut: Counter[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Whole examples of a split of a corpus, with `index` and `input_ids` in published ids.

    cut: counts the examples that begin in a row ("begun"), and those of them that are whole.
    """
    split = reader.split
    first = split.content_schema.names[0]
    seen = 0
    for _, batch in reader.batches():
        published: pa.RecordBatch = batch
        if split.pack is not None:
            published = unpack_batch(batch)
            if split.pack["mode"] in CUTTING:  # what is not whole solves nothing
                asked = split.published(published)
                begun = published.column("offset").to_numpy() == 0
                verdicts = split.task.validate(asked.select([first, "index"]), split.config)
                whole = begun & (verdicts.codes == 0)
                published = published.filter(pa.array(whole))
                if cut is not None:
                    cut.update(begun=int(begun.sum()), whole=int(whole.sum()))
            published = published.select([first, "index"])
        yield split.published(published)
        seen += published.num_rows
        if most is not None and seen >= most:
            return


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The first examples of a stream, to be compared with another's at the same indices."""

    label: str
    index: NDArray[np.int64]
    columns: tuple[NDArray[np.int64], ...]  # of the audit's `neighbours`
    prints: NDArray[np.uint64]  # [rows, 2] of the tokens


def sample_of(
    label: str, audit: Audit, number: int, batches: Iterator[pa.RecordBatch], most: int = KEPT
) -> Sample:
    """The first `most` examples of some batches; number: another one for each stream that is compared.

    What is chosen by lot goes by the index, and streams that are compared must not share their lots.
    """
    index, prints, columns = [], [], []
    held = 0
    for batch in batches:
        place = batch.schema.get_field_index("index")
        lots = pa.array(batch.column("index").to_numpy() ^ np.int64(number << _STREAM))
        tables = audit.tables(batch.set_column(place, batch.schema.field(place), lots))
        index.append(batch.column("index").to_numpy())
        prints.append(token_fingerprints(batch))
        columns.append([tables[unit][column] for unit, column in audit.neighbours])
        held += batch.num_rows
        if held >= most:
            break
    empty = np.empty(0, np.int64)
    return Sample(
        label=label,
        index=np.concatenate([empty, *index])[:most],
        columns=tuple(np.concatenate(pieces)[:most] for pieces in zip(*columns, strict=True)),
        prints=np.concatenate([np.empty((0, 2), np.uint64), *prints])[:most],
    )


def compare(kind: str, audit: Audit, one: Sample, other: Sample) -> list[Finding]:
    """Whether two streams are independent at equal indices: columns, and whole examples that are equal."""
    _, mine, theirs = np.intersect1d(one.index, other.index, assume_unique=True, return_indices=True)
    between = f"{one.label} and {other.label}"
    findings = []
    if not audit.repeats:
        same = _equal(one.prints[mine], other.prints[theirs])
        shifted = _equal(one.prints[mine], np.roll(other.prints[theirs], 1, axis=0))
        findings.append(
            Finding(
                kind="repeats",
                unit="example",
                name=f"equal examples, {between}",
                given=(),
                rows=len(mine),
                chance=sign_tail(same, same + shifted),
                bits=same / max(len(mine), 1),
            )
        )
    for place, (unit, column) in enumerate(audit.neighbours):
        size = audit.columns[unit][column]
        counts = np.zeros((size, size), np.int64)
        cross(counts, one.columns[place][mine], other.columns[place][theirs])
        if not counts.any():
            continue
        findings.append(compared(kind, unit, f"{column}, {between}", counts))
    return findings


def _equal(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    return int((one == other).all(1).sum())
