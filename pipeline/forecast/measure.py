"""Rates of this machine: what the row groups of a spec cost, duplicates' search, and the disk.

Seconds of work are those that a core spent (`time.thread_time`), so that others who use the machine at the
moment do not count; how much longer it took by the clock is kept beside them.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.errors import OstracaError
from ..build.shards.prints import RANGE_BITS, fingerprints, read_prints, write_prints
from ..build.shards.shard import Group, shard_groups
from ..build.shards.table import Table
from ..corpus.changes import Changes
from ..corpus.fingerprint import content_digest
from ..corpus.formats import open_writer
from ..corpus.pack import pack_batch
from ..corpus.row_groups import TABLE, GroupedFile
from ..corpus.split import Split, count_tokens
from ..corpus.split_statistics import Statistics
from ..spec.check import spec_digest
from ..spec.dedup import searches
from ..spec.shards import Shard, shards_of
from ..store.atomic import HashingFile, write_bytes
from ..store.disk import nearest_folder
from ..store.local import LocalFolder

MOST_THREADS = 16  # that measure at a time
_SAMPLE_TOKENS = 1 << 17  # of each split at least
_SAMPLE_GROUPS = (3, 256)  # at least and at most
_REPETITIONS = (3, 25)  # likewise: short actions are repeated more often
_SAMPLE_PRINTS = 1 << 20
_CALLS = 64
_DISK_BLOCK = 20 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation over row groups."""

    mean: float
    deviation: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(mean=float(np.mean(values)), deviation=float(np.std(values)))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What some whole row groups of a split cost, evenly spread over it, and what is in them."""

    examples: int  # of each
    seconds: float  # of a core, for each: all that a build does with it
    stages: Mapping[str, float]  # seconds of the parts of this work, each done alone
    clock: float  # seconds by the clock for one of a core
    tokens: Spread  # of its examples, before they are packed
    rows: Spread  # as they are written
    kept: float  # share of the tokens that are written: packing may cut
    file_bytes: float  # of a file, whatever is in it
    group_bytes: float  # of a row group, whatever is in it
    example_bytes: float  # of an example
    deviation: float  # of a row group's bytes
    repeated: tuple[int, int]  # examples that others equal, of so many, where duplicates are looked for
    statistics: Statistics  # of all of them


def measure(split: Split, threads: int, seconds: float) -> Measured:
    """Make and write (to nowhere) row groups of a split, as a build does.

    threads: do so in as many at a time, which share caches and memory as a build's workers do. seconds: for
    about so long.
    """
    step = min(split.examples, split.shard_examples, split.row_group_examples)
    least, most = _SAMPLE_GROUPS
    wanted = min(max(least, int(_SAMPLE_TOKENS / (step * split.task.mean_tokens(split.config)))), most)
    shards = _spread_shards(split, step, wanted)
    look = searches(split.spec)
    metadata = {"ostraca_spec_digest": spec_digest(split.spec)}

    def made(shard: Shard) -> Group:
        return next(shard_groups(split, shard, Changes(), look=look))

    def written(batches: Sequence[pa.RecordBatch]) -> int:
        with open(os.devnull, "wb") as nowhere:
            file = HashingFile(nowhere)
            grouped = GroupedFile(file)
            with open_writer(split, grouped, metadata) as writer:
                for batch in batches:
                    writer.write(batch)
                    grouped.end_group(batch.num_rows, count_tokens(batch))
                writer.add_table(TABLE, str(grouped.row_groups))
            return file.size

    groups = [made(shard) for shard in shards]
    batches = [group.batch for group in groups]
    # Files of all groups, of all twice, and of all with some of each: three equations.
    some = max(1, step // 4)
    once = written(batches)
    full = (written(batches + batches) - once) / len(batches)
    quarters = [made(replace(shard, count=some)).batch for shard in shards]
    part = (written(batches + quarters) - once) / len(batches)
    example_bytes = min((full - part) / (step - some), full / step) if step > some else full / step
    sizes = [written([batch]) for batch in batches[:64]]
    stages = _stages(split, shards[0], written, look)
    times = _timed(
        {"all": lambda: written([made(shard).batch for shard in shards]), **stages}, threads, seconds
    )
    whole, by_clock = times.pop("all")
    before = sum(group.before.tokens for group in groups)
    return Measured(
        examples=step,
        seconds=whole / len(shards),
        stages={name: cpu for name, (cpu, _) in times.items()},
        clock=max(1.0, by_clock / max(whole, 1e-9)),
        tokens=Spread.of([group.before.tokens for group in groups]),
        rows=Spread.of([group.batch.num_rows for group in groups]),
        kept=sum(map(count_tokens, batches)) / max(1, before),
        file_bytes=max(0.0, once - full * len(batches)),
        group_bytes=full - step * example_bytes,
        example_bytes=example_bytes,
        deviation=float(np.std(sizes)),
        repeated=_repeated([group.prints for group in groups if group.prints is not None]),
        statistics=sum((group.before for group in groups), Statistics()),
    )


def _spread_shards(split: Split, step: int, wanted: int) -> list[Shard]:
    """Row groups of `step` examples, evenly spread over a split, none overlapping, as shards of their own."""
    whole = split.examples // step
    chosen = min(wanted, whole)
    shard = replace(next(shards_of(split.spec, *split.id)), number=0, total=1, count=step)
    places = (number * (whole - 1) // max(1, chosen - 1) for number in range(chosen))
    return [replace(shard, first_index=place * step) for place in places]


def _stages(
    split: Split,
    shard: Shard,
    written: Callable[[Sequence[pa.RecordBatch]], int],
    look: bool,
) -> dict[str, Callable[[], Any]]:
    """The parts of what a shard job and the writer do with a row group, each to be done alone."""
    task, config, key, renaming, pack = split.task, split.config, split.key(), split.renaming, split.pack
    indices = np.arange(shard.first_index, shard.first_index + shard.count, dtype=np.int64)
    making = task.making
    published, proof = making.generate(config, key, indices)
    named = published if renaming is None else renaming.batch(published)
    last = named if pack is None else pack_batch(named, pack["length"], pack["mode"])
    stages: dict[str, Callable[[], Any]] = {
        "generate": lambda: making.generate(config, key, indices),
        "validate": lambda: making.check(published, proof, config),
        "count": lambda: Statistics.of(published, task.strata),
    }
    if look:
        stages["fingerprint"] = lambda: fingerprints(split, published)
    if renaming is not None:
        stages["rename"] = lambda: renaming.batch(published)
    if pack is not None:
        stages["pack"] = lambda: pack_batch(named, pack["length"], pack["mode"])
    stages["digest"] = lambda: content_digest(last, key)
    stages["write"] = lambda: written([last])
    return stages


def _timed(
    actions: Mapping[str, Callable[[], Any]], threads: int, seconds: float
) -> dict[str, tuple[float, float]]:
    """Name -> medians of the seconds of a core and of the clock, each action run in turns in all threads."""
    together = threading.Barrier(threads)

    def turns(_: int) -> dict[str, list[tuple[float, float]]]:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
        least, most = _REPETITIONS
        together.wait()
        begun = time.perf_counter()
        for repetition in range(most):
            if repetition >= least and time.perf_counter() - begun > seconds:
                break
            for name, action in actions.items():
                core, clock = time.thread_time(), time.perf_counter()
                action()
                times[name].append((time.thread_time() - core, time.perf_counter() - clock))
        return times

    with ThreadPoolExecutor(threads) as pool:
        per_thread = list(pool.map(turns, range(threads)))
    return {
        name: (
            median(t[0] for of_thread in per_thread for t in of_thread[name]),
            median(t[1] for of_thread in per_thread for t in of_thread[name]),
        )
        for name in actions
    }


def _repeated(prints: Sequence[NDArray[np.uint64]]) -> tuple[int, int]:
    """How many of these examples one before equals, and how many there are."""
    if not prints:
        return 0, 0
    table, count = Table.of_size(sum(map(len, prints))), 0
    for sampled in prints:
        count += int((~table.insert(sampled)).sum())
    return count, sum(map(len, prints))


@dataclass(frozen=True, kw_only=True)
class SearchRates:
    """What the search for duplicates costs a core."""

    seconds: float  # to read a fingerprint and try it against a table
    call_seconds: float  # to open the file of a shard for a range, beside this


def measure_search(examples: int) -> SearchRates:
    """Write, read and try fingerprints of which there are as many as of so many examples, or 2^20."""
    count = min(max(examples, 1 << 12), _SAMPLE_PRINTS)
    ranges = 1 << RANGE_BITS
    prints = np.random.default_rng(0).integers(0, 2**64, (count, 2), np.uint64)
    with tempfile.TemporaryDirectory() as temporary:
        folder = LocalFolder(temporary)
        write_prints(folder, "prints", prints, np.arange(count))

        def tried(first: int, last: int, table: Table) -> None:
            values, places = read_prints(folder, "prints", first, last)
            np.sort(places[~table.insert(values)])

        def calls() -> None:
            for first in range(0, ranges, ranges // _CALLS):
                tried(first, first + 1, small)

        tried(0, ranges, Table.of_size(count))
        small = Table.of_size(count)
        # The table is made anew each time: its memory is first touched when it is filled.
        times = _timed({"all": lambda: tried(0, ranges, Table.of_size(count)), "calls": calls}, 1, 0.3)
    each_seconds = times["all"][0] / count
    return SearchRates(
        seconds=each_seconds,
        call_seconds=max(0.0, times["calls"][0] - each_seconds * count * _CALLS / ranges) / _CALLS,
    )


@dataclass(frozen=True, kw_only=True)
class Disk:
    """What a disk takes from one process."""

    bandwidth: float  # bytes a second, written and synced
    latency: float  # seconds to write and sync a small file


def measure_disk(folder: Path) -> Disk | None:
    """The disk of a folder, or of the nearest one above; None where nothing can be written there."""
    block = mmap.mmap(-1, _DISK_BLOCK)  # aligned, as O_DIRECT wants it
    block.write(os.urandom(_DISK_BLOCK))  # a disk that compresses gains nothing
    large, small = [], []
    try:
        with tempfile.TemporaryDirectory(dir=nearest_folder(folder), prefix=".ostraca-plan-") as temporary:
            for number in range(3):
                with _past_the_cache(Path(temporary) / f"large-{number}") as file:
                    begun = time.perf_counter()
                    if file.write(block) != len(block):
                        return None
                    os.fsync(file.fileno())
                    large.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                write_bytes(Path(temporary) / f"small-{number}", block[:4096])
                small.append(time.perf_counter() - begun)
    except (OSError, OstracaError):
        return None
    return Disk(bandwidth=len(block) / max(median(large), 1e-9), latency=median(small))


def _past_the_cache(path: Path) -> FileIO:
    """A new file whose bytes go to the disk at once, where its file system can do so."""
    try:
        return FileIO(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_DIRECT, 0o600))
    except (OSError, AttributeError):  # no such flag, or not for this file system: what fsync flushes
        return FileIO(path, "wb")
