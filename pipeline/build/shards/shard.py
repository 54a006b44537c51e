"""The shard job: (spec, range) in, a file and a small record out. Shared-nothing, repeatable."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....tasks.errors import OstracaError
from ...corpus.changes import Changes
from ...corpus.contents import contents_of
from ...corpus.fingerprint import ContentDigest
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
        places = start - shard.first_index, stop - shard.first_index
        batch = _checked(split, key, np.arange(start, stop, dtype=np.int64), shard)
        if avoid is None:
            own = changes.of(*places)
        else:
            own = Changes.dropping(places[0] + avoid.places_in(split, batch))
        prints = fingerprints(split, batch) if look else None
        before = after = Statistics.of(batch, strata) if count else Statistics()
        draws = own.draws(*places, shard.first_index)
        made = contents_of(split, draws, functools.partial(_drawn, split, shard, batch))
        if count and len(own):
            after = Statistics.of(made.examples, strata)
        yield Group(
            batch=made.rows, content=made.digest(), before=before, after=after, prints=prints, changes=own
        )


def _checked(
    split: Split, key: NDArray[np.uint64], indices: NDArray[np.int64], shard: Shard
) -> pa.RecordBatch:
    """Make examples, and have them checked by code that did not make them."""
    making = split.task.making
    batch, proof = making.generate(split.config, key, indices)
    verdicts = making.check(batch, proof, split.config)
    if not verdicts.all_valid:
        row, verdict = verdicts.first_invalid()
        # Where it is not what its proof says, the solver can often tell more of what is wrong.
        solved = split.task.validate(batch.slice(row, 1), split.config)[0]
        verdict = verdict if solved else solved
        raise OstracaError(
            f"{shard.path}: example {indices[row]} is {verdict}; generator and validator disagree: "
            "this is a bug in ostraca, please report it with the spec"
        )
    return batch


def _drawn(
    split: Split, shard: Shard, first: pa.RecordBatch, attempt: int, indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Examples of an attempt, checked. first: the first draws of a row group, of which some may stay."""
    if attempt:
        return _checked(split, split.key(attempt), indices, shard)
    if len(indices) == first.num_rows:
        return first
    return first.take(pa.array(np.searchsorted(first.column("index").to_numpy(), indices)))


def shard_prints(split: Split, shard: Shard, changes: Changes) -> NDArray[np.uint64]:
    """The fingerprints, by the spec's key, of a shard's examples: uint64 [n, 2]. They are not checked."""
    split.require_version()
    draws = changes.draws(0, shard.count, shard.first_index)
    return np.concatenate([draw_prints(split, indices, attempt) for attempt, indices in draws])


def count_shard(spec: Mapping[str, Any], changes: Mapping[str, str], shard: Shard) -> Totals:
    """The totals of one shard, regenerated in memory. changes: path -> what deduplication changed in it."""
    totals, split = Totals(), Split.of(spec, shard.dataset, shard.split)
    for group in shard_groups(split, shard, Changes.parse(changes.get(shard.path, ""), shard.count)):
        totals.add(shard.dataset, shard.split, group.before, group.after)
    return totals
