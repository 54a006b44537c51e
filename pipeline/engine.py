"""Where shard jobs run: in this process (`local`) or on Ray. The only file that knows Ray.

A job is a function of a shard that gives a small record; examples never pass through here. Any job may
run twice or be lost and run elsewhere: it makes the same shard.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from pipeline.plan import Shard
from pipeline.warm import warm_kernels
from tasks.errors import ConfigError, OstracaError, check_integer, nearest, shown

R = TypeVar("R")
ENGINES = ("ray", "local")
_JOBS_A_CORE = 2  # in flight at a time: one runs, one waits
_RETRIES = 20  # of a job whose worker or node was lost


def available_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0))


def check_engine(engine: Any, workers: Any, ray_address: Any = None) -> None:
    """ConfigError where there is no such engine, number of workers or form of an address."""
    if engine not in ENGINES:
        raise ConfigError(
            f"engine={shown(engine)}{nearest(engine, ENGINES)} must be one of {', '.join(ENGINES)}"
        )
    if workers is not None:
        check_integer("workers", workers, 1)
    if ray_address is not None and (not isinstance(ray_address, str) or not ray_address):
        raise ConfigError(f"ray.address={shown(ray_address)} must be auto, host:port or null")


def map_shards(
    job: Callable[[Shard], R],
    shards: Iterable[Shard],
    spec: Mapping[str, Any],
    *,
    engine: str = "ray",
    workers: int | None = None,
    ray_address: str | None = None,
) -> Iterator[R]:
    """Run `job` on every shard and yield the results as they come, in any order.

    workers: at most so many jobs run at a time (None: one a core). The first job that fails stops all.
    """
    check_engine(engine, workers, ray_address)
    shards = iter(shards)
    first = list(itertools.islice(shards, 1))
    if not first:  # nothing to do: no Ray is started
        return
    shards = itertools.chain(first, shards)
    if engine == "local":
        warm_kernels(spec)
        yield from _local(job, shards, workers or 1)
    else:
        yield from _ray(job, shards, spec, workers, ray_address)


def _local(job: Callable[[Shard], R], shards: Iterable[Shard], workers: int) -> Iterator[R]:
    """Threads: kernels, Parquet and sha256 release the GIL."""
    shards = iter(shards)
    running: set[Future[R]] = set()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            for shard in itertools.islice(shards, workers - len(running)):
                running.add(pool.submit(job, shard))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ray(
    job: Callable[[Shard], R],
    shards: Iterable[Shard],
    spec: Mapping[str, Any],
    workers: int | None,
    address: str | None,
) -> Iterator[R]:
    # No report about its use leaves the machine.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if address is not None:
        _probe(address)
    started = not ray.is_initialized()
    if started:
        if address is None:
            warm_kernels(spec)  # once, before several workers find the cache empty
        _start_ray(ray, workers, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run_warm)
        # Kept once in the object store, not sent with every shard.
        arguments = ray.put((job, dict(spec)))
        shards = iter(shards)
        running: list[Any] = []
        while True:
            bound = workers if workers is not None else _JOBS_A_CORE * _cluster_cores(ray)
            for shard in itertools.islice(shards, max(bound - len(running), 0)):
                running.append(remote.remote(arguments, shard))
            if not running:
                return
            done, running = ray.wait(running, num_returns=1)
            for reference in done:
                yield _result(ray, reference)
    finally:
        if started:
            ray.shutdown()


def _cluster_cores(ray: Any) -> int:
    """The cores that the cluster has now; one that scales itself gets more."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _start_ray(ray: Any, workers: int | None, address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # "local": also where RAY_ADDRESS is set, as in every job of a cluster.
        options |= {"address": "local", "num_cpus": workers or available_cores(), "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"ray.address={address}" if address else "a local Ray"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OstracaError(
            f"{where} cannot be used: {reason}; check that the cluster runs, or use engine=local"
        ) from error


def _probe(address: str) -> None:
    """OstracaError where nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise OstracaError(
                f"ray.address={address}: nothing answers there ({error}); start the cluster, "
                "or leave ray.address out for a Ray on this machine"
            ) from error


def _run_warm(arguments: tuple[Callable[[Shard], R], dict[str, Any]], shard: Shard) -> R:
    """What runs in a Ray worker."""
    job, spec = arguments
    tasks = frozenset(entry["task"] for entry in spec["datasets"].values())
    if not tasks <= _WARM:
        warm_kernels(spec)
        _WARM.update(tasks)
    return job(shard)


_WARM: set[str] = set()


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OstracaError):
            raise OstracaError(str(error.cause)) from error
        raise
    except ray.exceptions.RayError as error:
        raise OstracaError(
            f"Ray lost a job {_RETRIES} times over ({type(error).__name__}); look at its nodes' memory and "
            "logs, then run the same command again: finished shards are kept"
        ) from error
