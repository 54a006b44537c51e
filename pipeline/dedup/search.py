"""Finding duplicates: rounds of hash ranges over the fingerprints that the shard jobs left behind.

All examples are ranked: eval splits before train ones, then by split, dataset and index. In round 0 the
first of equal examples by rank stays, the others lose. With mode "redraw", round r draws attempt r of all
that have lost so far; who stays, stays. A round is a job for every range of fingerprints, which reads its
slice of every shard's fingerprints in rank order and tries them against a table of those that have stayed.
Once few are left, one process draws the rest (`pipeline.dedup.tail`), to the same end. Nothing depends on how
many ranges there are, or on who works on them when.

Files below `.ostraca-build/dedup/`: prints/<round>/<shard> (who tries), lost/<round>/<range> (who lost),
table/<round>/<range> (who has stayed), tail, and at the end outcome.json.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.changes import Changes
from pipeline.dedup.counts import Counts, exhausted, spaces_of
from pipeline.dedup.prints import RANGE_BITS, draw_prints, read_prints, write_prints
from pipeline.dedup.table import SLOT_BYTES, Table, slots_for
from pipeline.dedup.tail import draw_tail, read_tail, write_tail
from pipeline.engine import Engine
from pipeline.folder import Folder, LocalFolder, open_folder, write_bytes, write_json
from pipeline.plan import Shard, plan
from pipeline.shard import prints_path
from pipeline.state import STATE
from tasks.errors import ConfigError

FOLDER = f"{STATE}/dedup"
OUTCOME = f"{FOLDER}/outcome.json"
TAIL = f"{FOLDER}/tail"
TAIL_EXAMPLES = 1 << 18  # no more are left to one process
_PARALLEL = 1 << 18  # from so many examples on, ranges are shared out
_MOST_RANGES = 1 << RANGE_BITS

Places = NDArray[np.int64]  # ascending, in a shard: index - first_index


def ranked(spec: Mapping[str, Any]) -> tuple[Shard, ...]:
    """The shards of a complete spec by rank: splits whose name begins with "train" come last."""
    return tuple(
        sorted(plan(spec), key=lambda s: (s.split.startswith("train"), s.split, s.dataset, s.first_index))
    )


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
    url: str
    shards: tuple[Shard, ...]  # by rank
    others: tuple[str, ...]  # files of the fingerprints of the corpora that the spec is against
    examples: int  # of all of them
    ranges: int


def find_duplicates(
    spec: Mapping[str, Any],
    folder: Folder,
    engine: Engine,
    others: Mapping[str, int],
    memory: int,
    on_step: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Find who stays, who is drawn again and who is dropped; returns the outcome, which then stands too.

    The fingerprints of all shards' first draws stand already. others: the files of the fingerprints of the
    corpora in `against`, with how many they hold. memory: bytes of all tables that are held at a time.
    on_step(what, done, of) is told of every job.
    """
    shards = ranked(spec)
    parts = [(shard.dataset, shard.split) for shard in shards]
    examples = sum(shard.count for shard in shards) + sum(others.values())
    search = _Search(
        spec=spec,
        url=folder.url,
        shards=shards,
        others=tuple(others),
        examples=examples,
        ranges=count_ranges(examples, memory, engine.slots),
    )
    counts = {part: Counts() for part in parts}
    spaces = spaces_of(spec, counts)
    number_of = {part: number for number, part in enumerate(counts)}
    part_of = np.array([number_of[part] for part in parts])
    for shard, part in zip(shards, parts, strict=True):
        counts[part].asked += shard.count
    redraws = spec["dedup"]["mode"] == "redraw"
    stopped: dict[tuple[str, str], int] = {}  # after which round a split was given up
    trying = np.array([shard.count for shard in shards], np.int64)
    rounds = 0
    while True:
        lost = np.zeros(len(shards), np.int64)
        job = functools.partial(_settle, search, rounds, np.flatnonzero(trying))
        for done, found in enumerate(engine.map(job, range(search.ranges)), 1):
            lost += found
            on_step(f"duplicates, round {rounds + 1}", done, search.ranges)
        if rounds:
            folder.remove_all(f"{FOLDER}/table/{rounds - 1:04d}")
        for part, number in number_of.items():
            own = part_of == number
            counts[part].end_round(int(trying[own].sum()), int(lost[own].sum()))
        rounds += 1
        if not redraws:
            break
        for part in exhausted(spaces, counts):
            stopped.setdefault(part, rounds - 1)
        trying = np.where(np.isin(part_of, [number_of[part] for part in stopped]), 0, lost)
        if trying.sum() <= TAIL_EXAMPLES:
            break
        redraw = functools.partial(_redraw, search, rounds)
        numbers = np.flatnonzero(trying).tolist()
        for done, _ in enumerate(engine.map(redraw, numbers), 1):
            on_step(f"drawing again, attempt {rounds}", done, len(numbers))
    tail = redraws and bool(trying.any())
    if tail:
        left = _all_lost(folder, rounds - 1, search.ranges, trying)
        tables = _Tables(folder, rounds - 1, search.ranges, memory)
        attempts = draw_tail(spec, shards, *left, rounds, tables.contain, spaces, counts, on_step)
        write_tail(folder, TAIL, len(shards), *left, attempts)
    outcome = {
        "rounds": rounds,
        "ranges": search.ranges,
        "stopped": {"/".join(part): after for part, after in stopped.items()},
        "tail": tail,
        "splits": {"/".join(part): each.as_dict() for part, each in counts.items()},
    }
    write_json(folder, OUTCOME, outcome)
    folder.remove_all(f"{FOLDER}/table")
    return outcome


def changes_of(folder: Folder, outcome: Mapping[str, Any], shards: Sequence[Shard], number: int) -> Changes:
    """What became of the examples of shard `number` by rank, once the outcome stands."""
    shard = shards[number]
    rounds, ranges = outcome["rounds"], outcome["ranges"]
    places = _lost(folder, 0, ranges, len(shards), number)
    last = outcome["stopped"].get(f"{shard.dataset}/{shard.split}", rounds - 1)
    attempts = np.ones(len(places), np.int64)
    for again in range(1, last + 1):
        attempts[np.searchsorted(places, _lost(folder, again, ranges, len(shards), number))] += 1
    attempts[attempts > last] = 0
    if outcome["tail"]:
        drawn, at = read_tail(folder, TAIL, len(shards), number)
        attempts[np.searchsorted(places, drawn)] = at
    return Changes(places=places, attempts=attempts)


def changed_shards(folder: Folder, outcome: Mapping[str, Any], shards: Sequence[Shard]) -> list[int]:
    """The shards, by rank, of which an example lost in round 0."""
    changed = np.zeros(len(shards), bool)
    for each in range(outcome["ranges"]):
        offsets = np.frombuffer(folder.read_range(_lost_path(0, each), 0, 8 * (len(shards) + 1)), "<i8")
        changed |= np.diff(offsets) > 0
    return np.flatnonzero(changed).tolist()


def _settle(search: _Search, number: int, trying: NDArray[np.int64], part: int) -> NDArray[np.int64]:
    """Range `part` of round `number`; int64 [shards]: how many of the shards that try lost there."""
    folder = open_folder(search.url)
    width = _MOST_RANGES // search.ranges
    first, last = part * width, (part + 1) * width
    if number:
        table = Table.read(folder, _table_path(number - 1, part))
    else:
        table = Table.of_size(range_room(search.examples, search.ranges))
        for path in search.others:
            table.insert(read_prints(folder, path, first, last)[0])
    lost = np.zeros(len(search.shards), np.int64)
    losers: list[Places] = []
    for rank in trying.tolist():
        prints, places = read_prints(folder, prints_path(search.shards[rank].path, number), first, last)
        gone = np.sort(places[~table.insert(prints)])
        lost[rank] = len(gone)
        losers.append(gone)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lost)])
    data = b"".join(each.astype("<i8").tobytes() for each in losers)
    write_bytes(folder, _lost_path(number, part), offsets.astype("<i8").tobytes() + data)
    if search.spec["dedup"]["mode"] == "redraw":
        # A file of each round: a job that is run again finds what it found before.
        table.write(folder, _table_path(number, part))
    return lost


def _redraw(search: _Search, number: int, rank: int) -> int:
    """Draw attempt `number` of the examples of a shard that lost in the round before."""
    folder = open_folder(search.url)
    places = _lost(folder, number - 1, search.ranges, len(search.shards), rank)
    shard = search.shards[rank]
    indices = shard.first_index + places
    prints = draw_prints(search.spec, shard.dataset, shard.split, indices, number)
    write_prints(folder, prints_path(shard.path, number), prints, places)
    return len(places)


def _lost_path(number: int, part: int) -> str:
    return f"{FOLDER}/lost/{number:04d}/{part:04d}"


def _table_path(number: int, part: int) -> str:
    return f"{FOLDER}/table/{number:04d}/{part:04d}"


def _lost(folder: Folder, number: int, ranges: int, shards: int, rank: int) -> Places:
    """The places of those examples of the shard of this rank, of so many, that lost in a round."""
    found: list[Places] = [np.zeros(0, np.int64)]
    for part in range(ranges):
        path = _lost_path(number, part)
        bounds = np.frombuffer(folder.read_range(path, 8 * rank, 8 * rank + 16), "<i8")
        start, stop = (8 * (shards + 1 + bounds)).tolist()
        if stop > start:
            found.append(np.frombuffer(folder.read_range(path, start, stop), "<i8"))
    return np.sort(np.concatenate(found)).astype(np.int64)


def _all_lost(
    folder: Folder, number: int, ranges: int, trying: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Places]:
    """Ranks and places, sorted, of the examples that lost in a round, of the shards that still try."""
    shards = len(trying)
    ranks: list[NDArray[np.int64]] = []
    places: list[Places] = []
    for part in range(ranges):
        path = _lost_path(number, part)
        offsets = np.frombuffer(folder.read_range(path, 0, 8 * (shards + 1)), "<i8")
        for rank in np.flatnonzero((np.diff(offsets) > 0) & (trying > 0)).tolist():
            start, stop = (8 * (shards + 1 + offsets[rank : rank + 2])).tolist()
            places.append(np.frombuffer(folder.read_range(path, start, stop), "<i8").astype(np.int64))
            ranks.append(np.full(len(places[-1]), rank))
    found = np.concatenate(ranks), np.concatenate(places)
    order = np.lexsort(found[::-1])
    return found[0][order], found[1][order]


class _Tables:
    """The tables of a round together; those of a store are read again each time they do not fit in memory."""

    def __init__(self, folder: Folder, number: int, ranges: int, memory: int) -> None:
        self._folder, self._number, self._ranges = folder, number, ranges
        size = sum(folder.size(_table_path(number, part)) or 0 for part in range(ranges))
        self._keep = size <= memory
        self._kept: dict[int, Table] = {}

    def contain(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool [n]: which of these fingerprints uint64 [n, 2] have stayed."""
        width = _MOST_RANGES // self._ranges
        parts = (prints[:, 0] >> np.uint64(64 - RANGE_BITS)).astype(np.int64) // width
        found = np.zeros(len(prints), bool)
        for part in np.unique(parts).tolist():
            chosen = parts == part
            found[chosen] = self._table(part).contains(prints[chosen])
        return found

    def _table(self, part: int) -> Table:
        table = self._kept.get(part)
        if table is None:
            path = _table_path(self._number, part)
            local = self._folder.root / path if isinstance(self._folder, LocalFolder) else None
            table = Table.mapped(local) if local else Table.read(self._folder, path)
            if local or self._keep:
                self._kept[part] = table
        return table
