"""`ostraca plan`: a config in, an estimate on the screen."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ...tasks.core.paths import is_local, local_path
from ...tasks.errors import ConfigError, check_integer, check_path, shown
from ..build.dedup.against import with_against
from ..forecast.estimate import Cluster, Estimate, Step, better_shard_tokens, estimate
from ..forecast.manifest_size import LARGE_MANIFEST
from ..forecast.measure import measure_disk
from ..spec.check import check_spec
from ..spec.dedup import UNITS, check_memory
from ..spec.given import corpus_spec
from ..store.disk import nearest_folder, size
from .tables import print_table


def run(config: Mapping[str, Any]) -> int:
    """`ostraca plan`: see conf/plan.yaml."""
    nodes, cores = (check_integer(f"plan: {key}", config[key], 1, 10**6) for key in ("nodes", "cores"))
    free = amount("disk", config["disk"])
    bandwidth = amount("bandwidth", config["bandwidth"])
    network = amount("network", config["network"])
    out = check_path("out", config["out"])
    given = with_against(corpus_spec(config, "plan"))
    check_spec(given)
    memory = check_memory(config["dedup"]["memory"])
    told = Limits(out=out, free=free, told=free is not None, bandwidth_told=bandwidth is not None)
    disk = None
    if is_local(out):
        disk = measure_disk(local_path(out))
        room = float(shutil.disk_usage(nearest_folder(local_path(out))).free)
        told = Limits(**{**vars(told), "free": free or room})
    if bandwidth is None and disk is not None and nodes == 1:  # what many take together is not known here
        bandwidth = disk.bandwidth
    cluster = Cluster(
        nodes=nodes,
        cores=cores,
        bandwidth=bandwidth,
        latency=0.0 if disk is None else disk.latency,
        network=network,
        memory=memory,
    )
    show(estimate(given, cluster), told, given)
    return 0


def amount(name: str, value: Any) -> float | None:
    """Bytes, or bytes a second, given as a number or as text with a unit; None for null."""
    if value is None:
        return None
    text = str(value)[:80].removesuffix("/s")
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]*)?(?:e\+?[0-9]+)?) *([A-Za-z]*)", text)
    number = float(match[1]) * UNITS.get(match[2], math.nan) if match else math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        rate = "" if name == "disk" else " a second"
        raise ConfigError(f"plan: {name}={shown(value)} must be bytes{rate}, e.g. 500GB or 2TiB, or null")
    return number


_IDLE = 10.0  # seconds that cores may be idle without a warning


_CLOCK = 1.2  # times the seconds of a core: from here on others used the machine


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The folder of the corpus, which all nodes share."""

    out: str
    free: float | None  # bytes; None where it cannot be known
    told: bool  # by the user
    bandwidth_told: bool


def show(needs: Estimate, limits: Limits, given: Mapping[str, Any]) -> None:
    """Print an estimate. given: the spec as it was given, for advice."""
    console = Console(highlight=False)
    at = needs.cluster
    console.print(
        Text(
            f"{needs.spec['name']} on {at.nodes:,} node{_s(at.nodes)} of {at.cores:,} core{_s(at.cores)}: "
            f"{size(needs.bytes)} in {_duration(needs.wall())}, bound by {_bound_by(needs)}",
            "bold",
        )
    )
    for line in warnings(needs, limits, given):
        console.print(Text(line, "bold red" if line.startswith("WARNING") else ""), soft_wrap=True)
    console.print()
    print_table(console, _sizes(needs))
    console.print()
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, line in _facts(needs, limits):
        facts.add_row(name, Text(line))
    console.print(facts)
    console.print()
    console.print(_rates(needs))


def warnings(needs: Estimate, limits: Limits, given: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing that does not fit, with what to do."""
    at, search = needs.cluster, needs.search
    if limits.free is not None and needs.peak_bytes > limits.free:
        end = f" ({size(needs.bytes)} at the end)" if needs.peak_bytes > 1.01 * needs.bytes else ""
        yield (
            f"WARNING: the disk: {size(needs.peak_bytes)} are needed{end}, {size(limits.free)} are there: "
            f"free {size(needs.peak_bytes - limits.free)}, choose another out= or fewer tokens="
        )
    first = needs.steps()[0]
    if first.bound == "shards" and first.jobs - first.cores > _IDLE:
        better = better_shard_tokens(needs, given, smaller=True)
        advice = f"shard_tokens={better} makes more" if better else "smaller shards would make more"
        yield (
            f"WARNING: too few shards: {needs.shards:,} for {at.workers:,} cores take "
            f"{_duration(first.jobs)}, spread evenly {_duration(first.cores)}: {advice}"
        )
    if search is not None and search.least_memory is not None:
        yield (
            f"WARNING: dedup.memory: {size(at.memory)} are too little for {search.examples:,} examples and "
            f"{at.workers:,} cores: set dedup.memory={size(search.least_memory, up=True).replace(' ', '')} "
            f"({size(search.least_memory / at.nodes)} a node)"
        )
    for part, asked, different in search.duplicates.used_up if search is not None else ():
        yield (
            f"WARNING: duplicates: {'/'.join(part)} and the splits it shares its space with ask for "
            f"{asked:,} examples, but only {different:,} are different: ask for fewer"
        )
    manifest = needs.manifest
    if manifest.bytes > LARGE_MANIFEST:
        larger = better_shard_tokens(needs, given, smaller=False)
        advice = f"shard_tokens={larger} brings it below" if larger else "a larger row_group_tokens= helps"
        yield (
            f"WARNING: the manifest: {size(manifest.bytes)} in {manifest.files:,} files are above "
            f"{size(LARGE_MANIFEST)}, so loaders start slowly: {advice}"
        )
    elif manifest.files > 1:
        yield (
            f"note: the manifest stands in {manifest.files:,} files (manifest.json and manifest/*.jsonl.zst, "
            f"{size(manifest.bytes)}): copy them all"
        )


def _sizes(needs: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for heading in ("examples", "tokens", "shards", "files", "on disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for split in needs.splits:
        counts = (split.examples, split.tokens, split.shards, split.shards)
        table.add_row(f"{split.dataset}/{split.split}", *map(_number, counts), size(split.bytes))
    side = sum(length for _, length in needs.side_files)
    table.add_row("vocabulary, statistics", "", "", "", _number(len(needs.side_files)), size(side))
    table.add_row("manifest", "", "", "", _number(needs.manifest.files), size(needs.manifest.bytes))
    sums = (needs.examples, needs.tokens, needs.shards, needs.files)
    table.add_row("all", *map(_number, sums), size(needs.bytes), style="bold")
    return table


def _facts(needs: Estimate, limits: Limits) -> Iterator[tuple[str, str]]:
    at, search = needs.cluster, needs.search
    steps = needs.steps()
    times = {**needs.around, **{step.name: step.wall for step in steps}}
    line = f"{_duration(needs.wall())}: "
    line += ", ".join(f"{name} {_duration(seconds)}" for name, seconds in times.items())
    line += f"; the work of one core for {_duration(needs.core_seconds)}"
    yield "wall time", line
    if search is not None and needs.wall(all_again=True) > 1.01 * needs.wall():
        yield "", f"{_duration(needs.wall(all_again=True))} if every shard turns out to hold a duplicate"
    if needs.around:
        yield "", "compiling is the first build's on a machine; starting and reports are always the same"
    yield "bound by", _bound(_longest(needs))
    where = "there" if limits.told else f"free at {limits.out}"
    there = "" if limits.free is None else f", {size(limits.free)} {where} (one folder for all nodes)"
    yield "disk", f"{size(needs.peak_bytes)} while it is built, {size(needs.bytes)} after{there}"
    yield "", _bandwidth(needs, limits)
    yield "network", _network(needs)
    if search is not None:
        passes = f"{search.ranges:,} hash range{_s(search.ranges)}"
        yield (
            "duplicates",
            (
                f"{search.examples:,} fingerprints in {size(needs.print_bytes)} of files, searched in "
                f"{passes} (passes), each with a table of {size(search.table_bytes)}; "
                f"{size(search.read_bytes)} read in {search.calls:,} slices"
            ),
        )
        yield "", _expected(needs)
    share = f", {size(at.cores * needs.worker_bytes)} a node"
    yield (
        "memory",
        f"{size(needs.worker_bytes)} a worker{share}; {size(needs.driver_bytes)} the driver (beside Ray's)",
    )


def _expected(needs: Estimate) -> str:
    assert needs.search is not None
    known = needs.search.duplicates
    if known.total < 0.5:
        tried = sum(costs.repeated[1] for costs in needs.measured.values())
        return f"how many duplicates there will be is unknown: none among the {tried:,} examples tried"
    rest = f" (unknown of {', '.join(map('/'.join, known.unknown))})" if known.unknown else ""
    return f"at least {known.total:,.0f} duplicates expected{rest}"


def _bandwidth(needs: Estimate, limits: Limits) -> str:
    at = needs.cluster
    if at.bandwidth is None and at.nodes > 1:
        return "how fast it is for all nodes together cannot be measured and does not count: set bandwidth="
    if at.bandwidth is None:
        return "how fast it is could not be measured and does not count: set bandwidth="
    if limits.bandwidth_told:
        return f"{size(at.bandwidth)}/s from all nodes together"
    return f"{size(at.bandwidth)}/s, measured past the page cache"


def _network(needs: Estimate) -> str:
    at = needs.cluster
    total = f"{size(needs.network_bytes)} between the nodes and the corpus's folder"
    if at.network is None:
        return f"{total}, none if it is on this machine; set network= where it is not"
    return f"{total}, at {size(at.network)}/s a node"


def _longest(needs: Estimate) -> Step:
    return max(needs.steps(), key=lambda step: step.wall)


def _bound_by(needs: Estimate) -> str:
    longest = _longest(needs)
    return longest.bound if longest.wall >= sum(needs.around.values()) else "its start and end"


def _bound(step: Step) -> str:
    times = {"cores": max(step.cores, step.jobs), "disk": step.disk, "network": step.network}
    rest = [f"{name} {seconds / step.wall:.0%}" for name, seconds in times.items() if seconds and step.wall]
    name = {
        "shards": "too few shards for the cores",
        "ranges": "too few hash ranges for the cores",
        "disk": "what the disk takes",
        "network": "what the network takes",
        "cores": "the cores",
    }[step.bound]
    return f"{name}, in {step.name} ({', '.join(rest)} of its time)"


def _rates(needs: Estimate) -> Group:
    clock = max(costs.clock for costs in needs.measured.values())
    busy = f" They had {1 / clock:.0%} of a core each: others use this machine now." if clock > _CLOCK else ""
    title = (
        "Measured here, now, on row groups from all over each split, written to nowhere; what a core makes "
        f"that does nothing else.{busy}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    table.add_column("M tokens/s", justify="right")
    table.add_column("bytes/token", justify="right")
    table.add_column("of it", overflow="fold")
    for split in needs.splits:
        costs = needs.measured[split.dataset, split.split]
        stages = sorted(costs.stages.items(), key=lambda stage: -stage[1])
        whole = sum(seconds for _, seconds in stages)
        shares = ", ".join(f"{name} {seconds / max(whole, 1e-12):.0%}" for name, seconds in stages)
        rate = costs.tokens.mean / max(costs.seconds, 1e-12) / 1e6
        table.add_row(
            f"{split.dataset}/{split.split}",
            f"{rate:,.1f}",
            f"{split.bytes / max(1, split.tokens):.2f}",
            shares,
        )
    return Group(Text(title), table)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**14 else f"{count:.3e}"


def _duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    for most, divisor, unit in ((90, 1, "s"), (90 * 60, 60, "minutes"), (48 * 3600, 3600, "hours")):
        if seconds < most:
            return f"{seconds / divisor:,.1f} {unit}"
    return f"{seconds / 86400:,.1f} days"
