"""The shard job: (spec, range) in, a file and a small record out. Shared-nothing, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.errors import OstracaError
from ...corpus.changes import Changes
from ...corpus.fingerprint import ContentDigest, content_digest
from ...corpus.formats import open_writer
from ...corpus.layout import aside_path, prints_path, record_path
from ...corpus.numbers import encode_numbers
from ...corpus.records import ShardRecord
from ...corpus.row_groups import TABLE, GroupedFile
from ...corpus.split import Split, count_tokens
from ...corpus.split_statistics import Statistics
from ...corpus.totals import Totals
from ...spec.dedup import searches
from ...spec.shards import Shard
from ...store.folder import Folder, write_json
from .disjoint import EvalExamples, Evals
from .pack import pack_batch
from .prints import draw_prints, fingerprints, write_prints


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What a shard job gives: small, whatever the shard."""

    record: ShardRecord
    final: bool  # after deduplication
    before: Statistics  # of the first draws
    after: Statistics  # of what is in the shard

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `after` is left out where it is `before`."""
        plain = {"record": self.record.as_dict(), "final": self.final, "before": self.before.as_dict()}
        return plain if self.after == self.before else {**plain, "after": self.after.as_dict()}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> ShardResult:
        """What `as_dict` gave; TypeError or KeyError where it did not."""
        before = Statistics.from_dict(plain["before"])
        after = Statistics.from_dict(plain["after"]) if "after" in plain else before
        record = ShardRecord(**plain["record"])
        return ShardResult(record=record, final=bool(plain["final"]), before=before, after=after)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A row group."""

    batch: pa.RecordBatch  # as it is written
    content: ContentDigest
    before: Statistics  # of its examples' first draws
    after: Statistics  # of its examples
    prints: NDArray[np.uint64] | None  # [first draws, 2], where asked for
    changes: Changes  # its examples that are not their first draws


def make_shard(
    spec: Mapping[str, Any],
    digest: str,
    changes: Changes | None,
    folder: Folder,
    shard: Shard,
    evals: Evals | None = None,
) -> ShardResult:
    """Make, check and write one shard in a corpus's folder; then its record, so that it is never regenerated.

    digest: the spec's; file and record carry it. changes: what deduplication found; None: it has still to
    look, so the shard is put aside (`aside_path`) and its fingerprints are left. evals: of the eval splits,
    of which a shard of train must have no example. OstracaError where an example is not valid or the file
    cannot be written; nothing half-written stays.
    """
    split = Split.of(spec, shard.dataset, shard.split)
    look = changes is None and searches(spec)
    known = Changes() if changes is None else changes
    made_of: list[Changes] = []
    avoid = None if evals is None or split.is_eval else evals.read(folder)
    content = ContentDigest()
    before, after = Statistics(), Statistics()
    prints = [np.zeros((0, 2), np.uint64)]
    metadata = {"ostraca_spec_digest": digest}
    path = aside_path(shard.path) if look else shard.path
    with folder.create(path, new=not look) as file:
        grouped = GroupedFile(file)
        with open_writer(split, grouped, metadata) as writer:
            for group in shard_groups(split, shard, known, look=look, avoid=avoid):
                writer.write(group.batch)
                grouped.end_group(group.batch.num_rows, count_tokens(group.batch))
                content += group.content
                before, after = before + group.before, after + group.after
                made_of.append(group.changes)
                if group.prints is not None:
                    prints.append(group.prints)
            groups, tokens = grouped.row_groups, grouped.tokens
            writer.add_table(TABLE, str(groups))
        tail = grouped.end()
    record = ShardRecord(
        dataset=shard.dataset,
        split=shard.split,
        path=shard.path,
        rows=int(groups.rows.sum()),
        tokens=int(tokens.sum()),
        bytes=file.size,
        sha256=file.sha256,
        content_digest=str(content),
        first_index=shard.first_index,
        count=shard.count,
        changes=str(Changes.joined(made_of)),
        group_rows="" if split.pack is None else encode_numbers(groups.rows),
        group_tokens=encode_numbers(tokens),
        tail=str(tail),
    )
    if look:
        write_prints(folder, prints_path(shard.path), np.concatenate(prints), np.arange(shard.count))
    result = ShardResult(record=record, final=not look, before=before, after=after)
    write_record(folder, shard, digest, result)
    return result


def write_record(folder: Folder, shard: Shard, digest: str, result: ShardResult) -> None:
    """Write the record of a shard whose file stands."""
    write_json(folder, record_path(shard), {"spec_digest": digest, **result.as_dict()})


def shard_content(spec: Mapping[str, Any], shard: Shard, changes: Changes) -> ContentDigest:
    """Make a shard again in memory and return its content digest; nothing is written."""
    groups = shard_groups(Split.of(spec, shard.dataset, shard.split), shard, changes, count=False)
    return sum((group.content for group in groups), ContentDigest())


def shard_groups(
    split: Split,
    shard: Shard,
    changes: Changes,
    *,
    look: bool = False,
    count: bool = True,
    avoid: EvalExamples | None = None,
) -> Iterator[Group]:
    """The examples of a shard of a split, a row group at a time, each checked.

    look: with the fingerprints of the first draws; count: with statistics (else they are empty). avoid:
    examples of eval splits, which are left out (then there are no other changes).
    """
    split.require_version()
    key, step, strata = split.key(), split.row_group_examples, split.task.strata
    for start in range(shard.first_index, shard.first_index + shard.count, step):
        stop = min(start + step, shard.first_index + shard.count)
        batch = _checked(split, key, np.arange(start, stop, dtype=np.int64), shard)
        if avoid is None:
            own = changes.of(start - shard.first_index, stop - shard.first_index)
        else:
            own = Changes.dropping(start - shard.first_index + avoid.places_in(split, batch))
        prints = fingerprints(split, batch) if look else None
        before = after = Statistics.of(batch, strata) if count else Statistics()
        pieces = [(batch, key)]
        if len(own):
            kept = np.ones(batch.num_rows, bool)
            kept[own.places - (start - shard.first_index)] = False
            pieces = [(batch.filter(pa.array(kept)), key)]
            for attempt in np.unique(own.attempts[own.attempts > 0]).tolist():
                indices = shard.first_index + own.places[own.attempts == attempt]
                again = split.key(attempt)
                pieces.append((_checked(split, again, indices, shard), again))
        if split.renaming is not None:
            pieces = [(split.renaming.batch(piece), its) for piece, its in pieces]
        batch = _joined([piece for piece, _ in pieces])
        if count and len(own):
            after = Statistics.of(batch, strata)
        if split.pack is not None:
            batch = pack_batch(batch, split.pack["length"], split.pack["mode"])
            pieces = [(batch, key)]
        content = sum((content_digest(piece, its) for piece, its in pieces), ContentDigest())
        yield Group(batch=batch, content=content, before=before, after=after, prints=prints, changes=own)


def _checked(
    split: Split, key: NDArray[np.uint64], indices: NDArray[np.int64], shard: Shard
) -> pa.RecordBatch:
    """Make examples and solve them again."""
    batch = split.task.generate(split.config, key, indices)
    verdicts = split.task.validate(batch, split.config)
    if not verdicts.all_valid:
        row, verdict = verdicts.first_invalid()
        raise OstracaError(
            f"{shard.path}: example {indices[row]} is {verdict}; generator and validator disagree: "
            "this is a bug in ostraca, please report it with the spec"
        )
    return batch


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of some batches by ascending index."""
    if len(batches) == 1:
        return batches[0]
    joined = pa.concat_batches(batches)
    return joined.take(pa.array(np.argsort(joined.column("index").to_numpy())))


def shard_prints(split: Split, shard: Shard, changes: Changes) -> NDArray[np.uint64]:
    """The fingerprints, by the spec's key, of a shard's examples: uint64 [n, 2]. They are not checked."""
    split.require_version()
    kept = np.ones(shard.count, bool)
    kept[changes.places] = False
    draws = [(0, np.flatnonzero(kept))]
    for attempt in np.unique(changes.attempts[changes.attempts > 0]).tolist():
        draws.append((attempt, changes.places[changes.attempts == attempt]))
    return np.concatenate(
        [draw_prints(split, shard.first_index + places, attempt) for attempt, places in draws]
    )


def count_shard(spec: Mapping[str, Any], changes: Mapping[str, str], shard: Shard) -> Totals:
    """The totals of one shard, regenerated in memory. changes: path -> what deduplication changed in it."""
    totals, split = Totals(), Split.of(spec, shard.dataset, shard.split)
    for group in shard_groups(split, shard, Changes.parse(changes.get(shard.path, ""), shard.count)):
        totals.add(shard.dataset, shard.split, group.before, group.after)
    return totals
