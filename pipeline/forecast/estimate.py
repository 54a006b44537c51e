"""What a corpus takes on so many nodes: the build's steps, what bounds each, and what must fit."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...tasks.errors import ConfigError
from ...tasks.vocabulary import tokenizer_files
from ..build.dedup.search import count_ranges, table_bytes
from ..build.shards.prints import RANGE_BITS
from ..build.shards.warm import compile_seconds, warm_kernels
from ..corpus.layout import STATISTICS
from ..corpus.manifest import read_manifest
from ..corpus.split import SplitId, splits_of
from ..spec.check import check_spec
from ..spec.dedup import DEFAULT_MEMORY, searches
from ..spec.shards import count_examples
from ..spec.versions import require_versions
from ..store.folder import json_bytes
from .duplicates import Duplicates, least_duplicates
from .manifest_size import LARGE_MANIFEST, ManifestSize, manifest_size
from .measure import MOST_THREADS, Measured, SearchRates, measure, measure_search
from .splits import SplitPlan, split_plans

MEASURING = 4.0  # seconds
_STARTING = 7.0  # seconds: Python, its libraries and a Ray of one's own, measured on 2 cores
_REPORT, _REPORT_SPLIT = 0.7, 0.15  # seconds of a report, and of each split in it, likewise
_PRINT_BYTES = 128  # an example's share of a worker's memory while fingerprints are sorted and written
_SHARDS_A_CORE = 8  # from so many on, the last round of shards leaves few cores idle
_MOST_SHARD_TOKENS = 1 << 40


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where a corpus is to be built."""

    nodes: int = 1  # machines like this one
    cores: int = 1  # of each: so many shards at a time
    bandwidth: float | None = None  # bytes a second that the disk or store takes from all nodes together
    latency: float = 0.0  # seconds to write and sync a small file
    network: float | None = None  # bytes a second between each node and the store; None: no store
    memory: int = DEFAULT_MEMORY  # bytes that the search for duplicates may take, of all nodes together

    @property
    def workers(self) -> int:
        return self.nodes * self.cores


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a build: its seconds by each of what may bound it; it takes the longest of them."""

    name: str
    cores: float  # were the work spread evenly
    jobs: float  # a job is one core's: the last of them keep only some busy
    disk: float  # 0 where its bandwidth is not known
    network: float  # 0 where there is none
    what: str = "shards"  # the jobs

    @property
    def wall(self) -> float:
        return max(self.cores, self.jobs, self.disk, self.network)

    @property
    def bound(self) -> str:
        """cores, disk, network, or the jobs: too few of them for the cores."""
        if self.wall == self.network:
            return "network"
        if self.wall == self.disk:
            return "disk"
        return self.what if self.jobs > 1.05 * self.cores else "cores"


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search for duplicates, of which one pass over all fingerprints is a range of them."""

    examples: int  # those of the corpora in `against` too
    ranges: int
    table_bytes: int  # of the table of a range
    least_memory: int | None  # that dedup.memory must be at least, where it is less
    calls: int  # slices of files that are read
    read_bytes: int
    written_bytes: int  # beside the fingerprints: who lost, and with redraw the tables of two rounds
    seconds: float  # of a core, for all ranges
    duplicates: Duplicates


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a corpus takes on a cluster."""

    spec: Mapping[str, Any]  # complete
    cluster: Cluster
    splits: tuple[SplitPlan, ...]
    measured: Mapping[SplitId, Measured]
    side_files: tuple[tuple[str, int], ...]  # path and bytes of the vocabulary and the statistics
    manifest: ManifestSize
    search: Search | None
    base_bytes: int  # memory of a process that has made some row groups
    around: Mapping[str, float] = field(default_factory=dict)  # seconds before and after the steps, by name

    @property
    def shards(self) -> int:
        return sum(split.shards for split in self.splits)

    @property
    def examples(self) -> int:
        return sum(split.examples for split in self.splits)

    @property
    def tokens(self) -> int:
        return sum(split.tokens for split in self.splits)

    @property
    def shard_bytes(self) -> int:
        return sum(split.bytes for split in self.splits)

    @property
    def files(self) -> int:
        """Of the corpus: shards, side files and the manifest's; a report adds some."""
        return self.shards + len(self.side_files) + self.manifest.files

    @property
    def bytes(self) -> int:
        """Of all these files."""
        return self.shard_bytes + sum(size for _, size in self.side_files) + self.manifest.bytes

    @property
    def print_bytes(self) -> int:
        return sum(split.print_bytes for split in self.splits)

    @property
    def peak_bytes(self) -> int:
        """On disk, at the fullest moment of the build."""
        size = self.bytes + sum(split.record_bytes for split in self.splits)
        if self.search is None:
            return size
        again = min(self.cluster.workers, self.shards) * max(split.shard_bytes for split in self.splits)
        return size + self.print_bytes + self.search.written_bytes + again  # made again beside the old one

    @property
    def core_seconds(self) -> float:
        """Of one core, for everything: with no more duplicates than there are at least."""
        return sum(step.cores for step in self.steps()) * self.cluster.workers

    @property
    def worker_bytes(self) -> int:
        """Memory of a worker at its peak."""
        if self.search is None:
            return self.base_bytes
        sorting = _PRINT_BYTES * max(split.shard_examples for split in self.splits)
        return self.base_bytes + max(sorting, self.search.table_bytes)

    @property
    def driver_bytes(self) -> int:
        """Memory of the process that hands out the shards; Ray's own is not counted."""
        return self.base_bytes + self.manifest.memory

    @property
    def network_bytes(self) -> int:
        """Written to and read from the folder by all nodes; no examples are ever exchanged among them."""
        written = self.bytes + sum(split.record_bytes for split in self.splits)
        if self.search is None:
            return written
        again = sum(self.changed(split) * split.bytes for split in self.splits)
        return round(written + again + self.print_bytes + self.search.written_bytes + self.search.read_bytes)

    def changed(self, split: SplitPlan) -> float:
        """The share of a split's shards that are regenerated without their duplicates, at least."""
        if self.search is None:
            return 0.0
        return self.search.duplicates.changed((split.dataset, split.split), split.shards)

    def steps(self, all_again: bool = False) -> tuple[Step, ...]:
        """The steps one after the other. all_again: were there a duplicate in every shard."""
        first = self._making("making shards", {}, self.print_bytes)
        if self.search is None:
            return (first,)
        shares = {
            (split.dataset, split.split): 1.0 if all_again else self.changed(split) for split in self.splits
        }
        return first, self._searching(self.search), self._making("making again", shares, 0)

    def wall(self, all_again: bool = False) -> float:
        """Seconds of the command, from its start to its last line."""
        return sum(self.around.values()) + sum(step.wall for step in self.steps(all_again))

    def _making(self, name: str, shares: Mapping[SplitId, float], beside: int) -> Step:
        """Make shards, or these shares of them; beside: bytes that are written too."""
        files = 2 + (beside > 0)  # a shard, its record, its fingerprints
        waits = files * self.cluster.latency
        cores, jobs, size = 0.0, 0.0, float(beside)
        for split in self.splits:
            count = split.shards * shares.get((split.dataset, split.split), 1.0)
            flushed = 0.0
            if self.cluster.bandwidth is not None:  # a worker waits until its file is on the disk
                flushed = split.shard_bytes / self.cluster.bandwidth
            largest = split.shard_seconds + waits + flushed
            part = split.examples / (split.shard_examples * split.shards)  # the last shard is smaller
            cores += count * (waits + part * (split.shard_seconds + flushed))
            jobs = max(jobs, -(-count // self.cluster.workers) * largest)
            size += count / split.shards * split.bytes
        return self._step(name, cores, jobs, size, "shards")

    def _searching(self, search: Search) -> Step:
        rounds = -(-search.ranges // self.cluster.workers)
        jobs = rounds * search.seconds / search.ranges
        return self._step(
            "duplicates", search.seconds, jobs, search.read_bytes + search.written_bytes, "ranges"
        )

    def _step(self, name: str, cores: float, jobs: float, size: float, what: str) -> Step:
        at, net = self.cluster, self.cluster.network
        return Step(
            name=name,
            cores=cores / at.workers,
            jobs=jobs,
            disk=0.0 if at.bandwidth is None else size / at.bandwidth,
            network=0.0 if net is None else size / (net * at.nodes),
            what=what,
        )


def estimate(
    given: Mapping[str, Any], cluster: Cluster | None = None, seconds: float = MEASURING
) -> Estimate:
    """What the corpus of a spec, complete or as given, takes on a cluster. Measures for about `seconds`.

    Shards, files and examples are exact, and so are the bytes of fingerprints. ConfigError where the spec is
    wrong, OstracaError where an example cannot be made.
    """
    cluster = cluster or Cluster()
    spec = check_spec(given)
    warm_kernels(spec)
    resolved = list(splits_of(spec))
    threads = min(cluster.cores, len(os.sched_getaffinity(0)), MOST_THREADS)
    measured = {split.id: measure(split, threads, seconds / len(resolved)) for split in resolved}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    splits = split_plans(spec, measured)
    statistics = json_bytes(
        {
            "/".join(part): {"before": (known := costs.statistics.as_dict()), "after": known}
            for part, costs in measured.items()
        }
    )
    side_files = (*((path, len(data)) for path, data in tokenizer_files(spec)), (STATISTICS, len(statistics)))
    search = _search(spec, splits, measured, cluster) if searches(spec) else None
    listed = {} if search is None else search.duplicates.least
    return Estimate(
        spec=spec,
        cluster=cluster,
        splits=splits,
        measured=measured,
        side_files=side_files,
        manifest=manifest_size(spec, splits, side_files, listed),
        search=search,
        base_bytes=peak if sys.platform == "darwin" else 1024 * peak,
        around={
            "starting": _STARTING,
            "compiling": compile_seconds(spec),
            "reports": _REPORT + _REPORT_SPLIT * len(resolved),
        },
    )


def _search(
    spec: Mapping[str, Any],
    splits: tuple[SplitPlan, ...],
    measured: Mapping[SplitId, Measured],
    cluster: Cluster,
) -> Search:
    """What finding the duplicates takes: the first draws, which are nearly all of the work."""
    others, other_shards = _others(spec)
    examples = sum(split.examples for split in splits) + others
    shards = sum(split.shards for split in splits)
    duplicates = least_duplicates(spec, {part: costs.repeated for part, costs in measured.items()})
    least = None
    try:
        ranges = count_ranges(examples, cluster.memory, cluster.workers)
    except ConfigError:
        ranges = 1 << RANGE_BITS
        least = cluster.workers * table_bytes(examples, ranges)
    rates: SearchRates = measure_search(examples)
    calls = ranges * (shards + other_shards)
    redraws = spec["dedup"]["mode"] == "redraw"
    tables = 2 * ranges * table_bytes(examples, ranges) if redraws else 0
    rounds = len({split.split for split in splits}) if redraws else 1  # at least: split by split
    lost = 8 * (rounds * ranges * (shards + 1) + round(duplicates.total))
    # Every slice is found by the offsets in its file's header.
    read = 24 * examples + 8 * (2**RANGE_BITS * (shards + other_shards) + calls)
    return Search(
        examples=examples,
        ranges=ranges,
        table_bytes=table_bytes(examples, ranges),
        least_memory=least,
        calls=calls,
        read_bytes=read,
        written_bytes=tables + lost,
        seconds=examples * rates.seconds + calls * rates.call_seconds,
        duplicates=duplicates,
    )


def _others(spec: Mapping[str, Any]) -> tuple[int, int]:
    """Examples and shards of the corpora in `against`, before their own duplicates were taken out."""
    examples = shards = 0
    for other in spec["dedup"]["against"]:
        manifest = read_manifest(other["path"], versions=require_versions)
        examples += count_examples(manifest["spec"])
        shards += manifest["totals"]["shards"]
    return examples, shards


def better_shard_tokens(estimated: Estimate, given: Mapping[str, Any], *, smaller: bool) -> int | None:
    """A shard_tokens, a power of 2, with enough shards for the cores, or with a small manifest.

    given: the spec as it was given. smaller: for more shards. None where there is none: sizes that are given
    in examples stay as they are, and lists of row groups are as long in larger shards.
    """
    tokens = max(1.0, max(split.shard_tokens for split in estimated.splits))
    exponent = max(0, round(tokens - 1).bit_length() - (1 if smaller else 0))
    while (
        smaller
        and exponent > 12
        and estimated.tokens >> exponent < _SHARDS_A_CORE * estimated.cluster.workers
    ):
        exponent -= 1
    before = math.inf
    for chosen in [exponent] if smaller else range(exponent, _MOST_SHARD_TOKENS.bit_length()):
        try:
            spec = check_spec({**given, "shard_tokens": 1 << chosen})
        except ConfigError:
            return None
        splits = split_plans(spec, estimated.measured)
        if smaller:
            return 1 << chosen if sum(split.shards for split in splits) > estimated.shards else None
        size = manifest_size(spec, splits, estimated.side_files[:-1], {}).bytes
        if size <= LARGE_MANIFEST:
            return 1 << chosen
        if size > 0.9 * before:  # row groups are what it lists
            return None
        before = size
    return None
