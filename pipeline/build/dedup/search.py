"""Finding duplicates: rounds of hash ranges over the fingerprints that the shard jobs left behind.

All examples are ranked: eval splits before train ones, then by split, dataset and index. Of equal ones the
first by rank stays, the others lose. With mode "redraw" this goes split by split, so that a split does not
depend on those behind it: attempt 0 of all its examples, attempt 1 of those that lost, and so on; who stays,
stays. A round is a job for every range of fingerprints, which reads its slice of every shard's fingerprints
in rank order and tries them against a table of those that have stayed. Once few are left, one process draws
the rest (`pipeline.build.dedup.tail`), to the same end. Nothing depends on how many ranges there are, or on
who works on them when.

Files below `.ostraca-build/dedup/`: prints/<attempt>/<shard> (who tries), lost/<round>/<range> (who lost),
table/<round>/<range> (who has stayed), tail/<stage> and tail-prints/<stage>, and at the end outcome.json.
What stands in a file follows from the spec and its name: two builds in one folder cannot spoil each other's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.errors import ConfigError
from ...corpus.changes import Changes
from ...corpus.layout import STATE, prints_path
from ...corpus.split import Split
from ...spec.shards import Shard, is_eval, plan
from ...store.folder import Folder, write_json
from ...store.local import LocalFolder
from ..jobs.engine import Engine
from ..shards.prints import RANGE_BITS, draw_prints, read_prints, write_prints
from ..shards.sections import read_offsets, read_records, write_sections
from ..shards.table import SLOT_BYTES, Table, slots_for
from .counts import Standing
from .tail import Left, draw_tail, read_tail, write_tail

FOLDER = f"{STATE}/dedup"
OUTCOME = f"{FOLDER}/outcome.json"
TAIL_EXAMPLES = 1 << 18  # no more are left to one process
_PARALLEL = 1 << 18  # from so many examples on, ranges are shared out
_MOST_RANGES = 1 << RANGE_BITS
_PLACE = np.dtype("<i8")

Places = NDArray[np.int64]  # ascending, in a shard: index - first_index


def ranked(spec: Mapping[str, Any]) -> tuple[Shard, ...]:
    """The shards of a complete spec by rank: splits whose name begins with "train" come last."""
    return tuple(sorted(plan(spec), key=lambda s: (not is_eval(s.split), s.split, s.dataset, s.first_index)))


def count_ranges(examples: int, memory: int, slots: int) -> int:
    """How many ranges there must be for `slots` tables at a time to fit into `memory` bytes."""
    ranges = 1
    while ranges < min(_MOST_RANGES, slots if examples >= _PARALLEL else 1):
        ranges *= 2
    while slots * table_bytes(examples, ranges) > memory:
        ranges *= 2
        if ranges > _MOST_RANGES:
            least = slots * table_bytes(examples, _MOST_RANGES)
            raise ConfigError(
                f"dedup.memory={memory:,} bytes are too little for {examples:,} examples and {slots} jobs "
                f"at a time: give at least {least:,}"
            )
    return ranges


def table_bytes(examples: int, ranges: int) -> int:
    """Bytes of a range's table."""
    return SLOT_BYTES * slots_for(range_room(examples, ranges))


def range_room(examples: int, ranges: int) -> int:
    """How many examples fall into a range at most, but for a chance below 1e-14."""
    share = examples // ranges
    return min(examples, share + 8 * int(share**0.5) + 8)


@dataclass(frozen=True, kw_only=True)
class _Search:
    """What every job is told."""

    spec: Mapping[str, Any]
    folder: Folder
    shards: tuple[Shard, ...]  # by rank
    others: tuple[str, ...]  # files of the fingerprints of the corpora that the spec is against
    ranges: int


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One round: attempt `attempt` of examples of the shards `trying` (ranks, ascending)."""

    number: int  # of all rounds
    attempt: int
    trying: NDArray[np.int64]
    stayed: tuple[str, ...]  # files of fingerprints that have stayed since the table was written
    room: int  # that a table will need, about


def find_duplicates(
    spec: Mapping[str, Any],
    folder: Folder,
    engine: Engine,
    others: Mapping[str, int],
    memory: int,
    on_step: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Find who stays, who is redrawn and who is dropped; returns the outcome, which then stands too.

    The fingerprints of all shards' first draws stand already. others: the files of the fingerprints of the
    corpora in `against`, with how many they hold. memory: bytes of all tables that are held at a time.
    on_step(what, done, of) is told of every job.
    """
    shards = ranked(spec)
    examples = sum(shard.count for shard in shards) + sum(others.values())
    ranges = count_ranges(examples, memory, engine.slots)
    search = _Search(spec=spec, folder=folder, shards=shards, others=tuple(others), ranges=ranges)
    run = _Run(search, folder, engine, memory, sum(others.values()), on_step)
    redraws = spec["dedup"]["mode"] == "redraw"
    splits = list(dict.fromkeys(shard.split for shard in shards))
    stages = [
        run.stage(number, stage, redraws)
        for number, stage in enumerate([[s] for s in splits] if redraws else [splits])
    ]
    if redraws:
        run.standing.mark_complete()
    outcome = {
        "ranges": ranges,
        "stages": stages,
        "splits": {"/".join(part): counts.as_dict() for part, counts in run.standing.counts.items()},
    }
    write_json(folder, OUTCOME, outcome)
    folder.remove_all(f"{FOLDER}/table")
    return outcome


class _Run:
    """One search, as it goes on from round to round."""

    def __init__(
        self,
        search: _Search,
        folder: Folder,
        engine: Engine,
        memory: int,
        room: int,
        on_step: Callable[[str, int, int], None],
    ) -> None:
        self._search, self._folder, self._engine = search, folder, engine
        self._memory, self._on_step = memory, on_step
        self._parts = [(shard.dataset, shard.split) for shard in search.shards]
        self._number = 0  # of the next round
        self._room = room  # examples in the tables, at most
        self._stayed: list[str] = []  # see `_Round`
        self._splits = {part: Split.of(search.spec, *part) for part in self._parts}
        self.standing = Standing.of(self._splits.values())
        numbers = {part: number for number, part in enumerate(self._splits)}
        self._part_of = np.array([numbers[part] for part in self._parts])
        for shard, part in zip(search.shards, self._parts, strict=True):
            self.standing.counts[part].asked += shard.count

    def stage(self, number: int, splits: Sequence[str], redraws: bool) -> dict[str, Any]:
        """Settle some splits; what the outcome says of it."""
        shards = self._search.shards
        first, attempt = self._number, 0
        stopped: dict[str, int] = {}  # after which attempt a dataset's split was given up
        trying = np.array([shard.count if shard.split in splits else 0 for shard in shards], np.int64)
        self._room += int(trying.sum())
        while True:
            lost = self._round(attempt, trying)
            parts = [part for part in self._splits if part[1] in splits]
            for part in self.standing.exhausted(parts) if redraws else ():
                stopped.setdefault("/".join(part), attempt)
            trying = lost * np.array(["/".join(part) not in stopped for part in self._parts])
            attempt += 1
            if not redraws or trying.sum() <= TAIL_EXAMPLES:
                break
            ranks = np.flatnonzero(trying).tolist()
            job = functools.partial(_redraw, self._search, self._number - 1, attempt)
            for done, _ in enumerate(self._engine.map(job, ranks), 1):
                self._on_step(f"drawing again, attempt {attempt}", done, len(ranks))
        tail = redraws and bool(trying.any())
        if tail:
            self._draw_tail(number, attempt, trying)
        return {
            "splits": list(splits),
            "first_round": first,
            "attempts": attempt,
            "stopped": stopped,
            "tail": tail,
        }

    def _round(self, attempt: int, trying: NDArray[np.int64]) -> NDArray[np.int64]:
        """Try attempt `attempt` of so many examples of each shard; how many lost: int64 [shards]."""
        search, number = self._search, self._number
        one = _Round(
            number=number,
            attempt=attempt,
            trying=np.flatnonzero(trying),
            stayed=tuple(self._stayed),
            room=self._room,
        )
        lost = np.zeros(len(trying), np.int64)
        jobs = self._engine.map(functools.partial(_settle, search, one), range(search.ranges))
        for done, losers in enumerate(jobs, 1):
            lost += losers
            self._on_step(f"duplicates, round {number + 1}", done, search.ranges)
        if number:
            self._folder.remove_all(f"{FOLDER}/table/{number - 1:04d}")
        self._stayed = []
        self._number += 1
        for part, counts in enumerate(self.standing.counts.values()):
            own = self._part_of == part
            if trying[own].any():
                counts.end_round(int(trying[own].sum()), int(lost[own].sum()))
        return lost

    def _draw_tail(self, stage: int, attempt: int, trying: NDArray[np.int64]) -> None:
        search, folder, last = self._search, self._folder, self._number - 1
        ranks, places = _all_lost(folder, last, search.ranges, trying)
        left = Left(ranks=ranks, places=places, attempt=attempt)
        tables = _Tables(folder, last, search.ranges, self._memory)
        attempts, stayed = draw_tail(
            self._splits, search.shards, left, tables.contain, self.standing, self._on_step
        )
        write_tail(folder, _tail_path(stage), len(search.shards), left, attempts)
        path = f"{FOLDER}/tail-prints/{stage:04d}"
        write_prints(folder, path, stayed, np.arange(len(stayed)))
        self._stayed = [path]


def changes_of(folder: Folder, outcome: Mapping[str, Any], shards: Sequence[Shard], rank: int) -> Changes:
    """What became of the examples of the shard of this rank, once the outcome stands."""
    shard, ranges = shards[rank], outcome["ranges"]
    number, stage = next(stage for stage in enumerate(outcome["stages"]) if shard.split in stage[1]["splits"])
    places = _lost(folder, stage["first_round"], ranges, len(shards), rank)
    last = stage["stopped"].get(f"{shard.dataset}/{shard.split}", stage["attempts"] - 1)
    attempts = np.ones(len(places), np.int64)
    for again in range(1, last + 1):
        lost = _lost(folder, stage["first_round"] + again, ranges, len(shards), rank)
        attempts[np.searchsorted(places, lost)] += 1
    attempts[attempts > last] = 0
    if stage["tail"]:
        drawn, at = read_tail(folder, _tail_path(number), len(shards), rank)
        attempts[np.searchsorted(places, drawn)] = at
    return Changes(places=places, attempts=attempts)


def changed_shards(folder: Folder, outcome: Mapping[str, Any], shards: Sequence[Shard]) -> list[int]:
    """The shards, by rank, of which an example lost its first draw."""
    changed = np.zeros(len(shards), bool)
    for stage in outcome["stages"]:
        for part in range(outcome["ranges"]):
            path = _lost_path(stage["first_round"], outcome["ranges"], part)
            changed |= np.diff(read_offsets(folder, path, 0, len(shards))) > 0
    return np.flatnonzero(changed).tolist()


def _settle(search: _Search, one: _Round, part: int) -> NDArray[np.int64]:
    """Range `part` of a round; int64 [shards]: how many of those that try lost there."""
    folder = search.folder
    width = _MOST_RANGES // search.ranges
    first, last = part * width, (part + 1) * width
    if one.number:
        table = Table.read(folder, _table_path(one.number - 1, search.ranges, part))
    else:
        table = Table.of_size(range_room(one.room, search.ranges))
    for path in (*one.stayed, *(search.others if one.number == 0 else ())):
        table.insert(read_prints(folder, path, first, last)[0])
    lost = np.zeros(len(search.shards), np.int64)
    losers: list[Places] = []
    for rank in one.trying.tolist():
        path = prints_path(search.shards[rank].path, one.attempt)
        prints, places = read_prints(folder, path, first, last)
        gone = np.sort(places[~table.insert(prints)])
        lost[rank] = len(gone)
        losers.append(gone)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lost)])
    places_lost = np.concatenate([np.zeros(0, np.int64), *losers]).astype(_PLACE)
    write_sections(folder, _lost_path(one.number, search.ranges, part), offsets, places_lost)
    if search.spec["dedup"]["mode"] == "redraw":
        # A file of each round: a job that is run again finds what it found before.
        table.write(folder, _table_path(one.number, search.ranges, part))
    return lost


def _redraw(search: _Search, number: int, attempt: int, rank: int) -> int:
    """Draw attempt `attempt` of the examples of a shard that lost in round `number`."""
    folder = search.folder
    places = _lost(folder, number, search.ranges, len(search.shards), rank)
    shard = search.shards[rank]
    split = Split.of(search.spec, shard.dataset, shard.split)
    prints = draw_prints(split, shard.first_index + places, attempt)
    write_prints(folder, prints_path(shard.path, attempt), prints, places)
    return len(places)


def _tail_path(stage: int) -> str:
    return f"{FOLDER}/tail/{stage:04d}"


def _lost_path(number: int, ranges: int, part: int) -> str:
    return f"{FOLDER}/lost/{number:04d}/{part:04d}-of-{ranges:04d}"


def _table_path(number: int, ranges: int, part: int) -> str:
    return f"{FOLDER}/table/{number:04d}/{part:04d}-of-{ranges:04d}"


def _lost(folder: Folder, number: int, ranges: int, shards: int, rank: int) -> Places:
    """The places of those examples of the shard of this rank, of so many, that lost in a round."""
    losers: list[Places] = [np.zeros(0, np.int64)]
    for part in range(ranges):
        path = _lost_path(number, ranges, part)
        losers.append(read_records(folder, path, shards, read_offsets(folder, path, rank, rank + 1), _PLACE))
    return np.sort(np.concatenate(losers)).astype(np.int64)


def _all_lost(
    folder: Folder, number: int, ranges: int, trying: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Places]:
    """Ranks and places, sorted, of the examples that lost in a round, of the shards that still try."""
    shards = len(trying)
    ranks: list[NDArray[np.int64]] = []
    places: list[Places] = []
    for part in range(ranges):
        path = _lost_path(number, ranges, part)
        offsets = read_offsets(folder, path, 0, shards)
        for rank in np.flatnonzero((np.diff(offsets) > 0) & (trying > 0)).tolist():
            own = read_records(folder, path, shards, offsets[rank : rank + 2], _PLACE)
            places.append(own.astype(np.int64))
            ranks.append(np.full(len(places[-1]), rank))
    losers = np.concatenate(ranks), np.concatenate(places)
    order = np.lexsort(losers[::-1])
    return losers[0][order], losers[1][order]


class _Tables:
    """The tables of a round together; those of a store are read again each time they do not fit in memory."""

    def __init__(self, folder: Folder, number: int, ranges: int, memory: int) -> None:
        self._folder, self._number, self._ranges = folder, number, ranges
        size = sum(folder.size(_table_path(number, ranges, part)) or 0 for part in range(ranges))
        self._keep = size <= memory
        self._kept: dict[int, Table] = {}

    def contain(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool [n]: which of these fingerprints uint64 [n, 2] have stayed."""
        width = _MOST_RANGES // self._ranges
        parts = (prints[:, 0] >> np.uint64(64 - RANGE_BITS)).astype(np.int64) // width
        equal = np.zeros(len(prints), bool)
        for part in np.unique(parts).tolist():
            chosen = parts == part
            equal[chosen] = self._table(part).contains(prints[chosen])
        return equal

    def _table(self, part: int) -> Table:
        table = self._kept.get(part)
        if table is None:
            path = _table_path(self._number, self._ranges, part)
            local = self._folder.root / path if isinstance(self._folder, LocalFolder) else None
            table = Table.mapped(local) if local else Table.read(self._folder, path)
            if local or self._keep:
                self._kept[part] = table
        return table
