"""Builds on a Ray cluster of three raylets on this machine, to be run as a program: FOLDER -> lines of JSON.

Each line is {scenario: what came of it}. The nodes have the addresses 127.0.0.2 to .4 (.5 and on: those
that join), one CPU each and the smallest object store that Ray allows.
"""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.jobs import engine
from ostraca.pipeline.build.jobs.engine import open_engine
from ostraca.pipeline.build.jobs.watch import Watch
from ostraca.pipeline.build.shards.warm import warm_kernels
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.shards import plan
from ostraca.tasks.errors import OstracaError

STORE_BYTES = 80 << 20


def mano_spec(examples: int, shard_tokens: int, **extra: Any) -> dict[str, Any]:
    """A corpus with duplicates."""
    splits = {"train": {"examples": examples}, "test": {"examples": 200}}
    datasets = {"mano": {"task": "mano", "config": {"L": 2}, "splits": splits}}
    return {"shard_tokens": shard_tokens, "row_group_tokens": 20_000, "datasets": datasets, **extra}


REDRAW = mano_spec(60_000, 40_000, dedup={"mode": "redraw"})


class Nodes:
    """The cluster: nodes come and go."""

    def __init__(self) -> None:
        # A node that is gone is noticed within seconds, not within half a minute.
        noticed = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}
        self._count = 2
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
                "node_ip_address": "127.0.0.2",
                "_system_config": {**noticed, "health_check_failure_threshold": 3},
            },
        )
        self.others = [self.add(), self.add()]
        self.address = self._cluster.address

    def add(self, cpus: int = 1) -> Any:
        """One more."""
        self._count += 1
        address = f"127.0.0.{self._count}"
        return self._cluster.add_node(
            num_cpus=cpus, object_store_memory=STORE_BYTES, node_ip_address=address, wait=True
        )

    def remove(self, node: Any) -> None:
        """As if its plug were pulled."""
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        """Stop all."""
        ray.shutdown()
        self._cluster.shutdown()


def works(node: Any) -> bool:
    """Whether a process of a node runs a job of a build."""
    raylet = node.all_processes["raylet"][0].process.pid
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == raylet and (folder / "cmdline").read_bytes().startswith(b"ray::_run_warm"):
                    return True
    return False


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.01)
    return happened()


def stored() -> dict[str, int]:
    """Bytes and objects that all object stores have ever been given."""
    found = {"bytes": 0, "objects": 0}
    for node in ray.nodes():
        if node["Alive"]:
            stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
            found["bytes"] += stats.store_stats.cumulative_created_bytes
            found["objects"] += stats.store_stats.cumulative_created_objects
    return found


def what_is_stored(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """How much a build puts into the object store, and how many jobs and tokens it has."""
    before, rounds = stored(), set()

    def on_step(what: str, done: int, of: int) -> None:
        rounds.add((what, of))

    manifest = build(REDRAW, folder / "stored", watch=Watch(on_step=on_step), ray={"address": nodes.address})
    after = stored()
    return {
        **{name: after[name] - before[name] for name in before},
        "jobs": manifest["totals"]["shards"] + sum(of for _, of in rounds),
        "stages": 2 + len({what for what, _ in rounds}),
        "corpus_bytes": manifest["totals"]["tokens"] * 4,
    }


def full_store(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """A build while the driver's object store holds more than it has room for."""
    kept = [ray.put(np.full(8 << 20, number, np.uint8)) for number in range(14)]
    held = [ray.get(each) for each in kept[:8]]  # in use: these cannot be spilled to disk
    build(REDRAW, folder / "full", ray={"address": nodes.address})
    good = all(int(array[0]) == number for number, array in enumerate(held))
    put = sum(each.nbytes for each in held) + (len(kept) - len(held)) * (8 << 20)
    return {"put": put, "room": STORE_BYTES, "held_is_intact": good}


def node_removed(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """A build of which a node goes at work, in every stage that has two of them."""
    worked: list[bool] = []
    busy: list[Any] = []

    def on_shard(record: Any, kept: bool) -> None:
        if not worked:  # whichever works: while we wait no new job is handed over, and one may have none
            worked.append(wait_until(lambda: bool(busy.extend(filter(works, nodes.others)) or busy)))
            nodes.others.remove(busy[0])
            nodes.remove(busy[0])

    build(REDRAW, folder / "removed", watch=Watch(on_shard=on_shard), ray={"address": nodes.address})
    return {"worked": worked}


def node_added(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """A build whose jobs fit no node until one joins."""
    failed: list[str] = []

    def run() -> None:
        try:
            build(REDRAW, folder / "added", ray={"address": nodes.address, "num_cpus": 2})
        except OstracaError as error:
            failed.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(1)
    waits = thread.is_alive() and not list((folder / "added").rglob("*.parquet"))
    joined = nodes.add(cpus=2)  # Ray starts nodes in the main thread only
    worked = wait_until(lambda: works(joined))
    thread.join()
    nodes.remove(joined)
    return {"waits": waits, "worked": worked, "failed": failed}


def never_fits(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """Builds whose jobs fit no node."""
    found = {}
    engine._LOOK_SECONDS, engine._PATIENCE_SECONDS = 0.5, 2
    for name, value in (("num_cpus", 5), ("memory", 10**14)):
        try:
            build(REDRAW, folder / f"never-{name}", ray={"address": nodes.address, name: value})
        except OstracaError as error:
            found[name] = str(error)
    engine._LOOK_SECONDS, engine._PATIENCE_SECONDS = 5.0, 60.0
    return found


def what_ray_is_told(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The resources that a job of a build has, and how many are handed over before the first result."""
    complete = check_spec(REDRAW)
    settings = {"address": nodes.address, "num_cpus": 1, "memory": 50 << 20, "in_flight": 2}
    drawn = 0

    def items() -> Iterator[Any]:
        nonlocal drawn
        for shard in plan(complete):
            drawn += 1
            yield shard

    with open_engine(functools.partial(warm_kernels, complete), engine="ray", ray=settings) as runner:
        slots = runner.slots
        results = runner.map(lambda shard: ray.get_runtime_context().get_assigned_resources(), items())
        first = next(results)
        return {"resources": first, "drawn": drawn, "slots": slots, "rest": len(list(results))}


def driver_killed(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The driver is killed, the cluster lives on; the same call again."""
    script = (
        "import json, sys; from ostraca import Watch, build\n"
        "build(json.loads(sys.argv[1]), sys.argv[2], ray={'address': sys.argv[3]},\n"
        "      watch=Watch(on_shard=lambda record, kept: print('shard', flush=True)))"
    )
    command = [sys.executable, "-c", script, json.dumps(REDRAW), str(folder / "killed"), nodes.address]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert driver.stdout is not None
    driver.stdout.readline()
    driver.send_signal(signal.SIGKILL)
    driver.stdout.close()
    driver.wait()
    begun = not (folder / "killed" / "manifest.json").exists()
    build(REDRAW, folder / "killed", ray={"address": nodes.address})
    return {"begun": begun}


def driver_memory(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """Peak resident memory of the driver after a build, and after one of ten times as many shards."""
    found = {}
    for name, shards in (("few", 40), ("many", 400)):
        splits = {"train": {"examples": shards * 400}}
        datasets = {"depo": {"task": "depo", "config": {"N": 60}, "splits": splits}}
        spec = {"row_group_tokens": 50_000, "shard_tokens": 100_000, "datasets": datasets}
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        manifest = build(spec, folder / f"memory-{name}", ray={"address": nodes.address})
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        found[name] = {"peak": peak, **manifest["totals"]}
    return found


# Builds that connect to the cluster by themselves, and then, over one connection, builds that find it made:
# each connection has worker processes of its own, which take seconds to start.
ALONE = (what_ray_is_told, driver_killed)
TOGETHER = (driver_memory, what_is_stored, never_fits, full_store, node_added, node_removed)


def main() -> None:
    folder = Path(sys.argv[1])
    begun = time.monotonic()
    nodes = Nodes()
    print(json.dumps({"started": {"seconds": time.monotonic() - begun}}), flush=True)
    try:
        for scenario in (*ALONE, *TOGETHER):
            begun = time.monotonic()
            try:
                if scenario in TOGETHER and not ray.is_initialized():
                    ray.init(address=nodes.address, log_to_driver=False)
                found: Any = scenario(nodes, folder)
            except Exception as error:
                ray.shutdown()
                found = {"error": f"{type(error).__name__}: {error}"}
            found["seconds"] = round(time.monotonic() - begun, 1)
            print(json.dumps({scenario.__name__: found}), flush=True)
    finally:
        nodes.end()


if __name__ == "__main__":
    main()
