"""Where jobs run: in this process (`local`) or on Ray. The only file that knows Ray.

A job is a function of a small item that gives a small record; examples never pass through here. Any job may
run twice or be lost and run elsewhere: it makes the same files.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol, TypedDict, TypeVar

from ....tasks.errors import OstracaError
from ....tasks.keys import Key, check_keys
from ....tasks.registry import HandedOn, handed_on, take_over
from .address_space import require_address_space
from .ray_errors import give_token, refused_token, why_not
from .stopping import Stopped, kept_signals
from .times import Times

T = TypeVar("T")
R = TypeVar("R")
ENGINES = ("ray", "local")
_JOBS_A_SLOT = 2  # in flight at a time: one runs, one waits
_RETRIES = 20  # of a job whose worker or node was lost
_LOOK_SECONDS = 5.0  # without a result, after which it is asked whether a job can run anywhere
_MOST = 2**63 - 1
_MOST_ASKED = (2**63 - 1) // 10_000  # Ray counts ten-thousandths in 64 bits; of more it would ask for nothing
_PATIENCE_SECONDS = 60.0  # for which a cluster may be without a node on which one can
_KEYS = {
    "engine": Key(default="ray", kind=str, choices=ENGINES, help="where jobs run"),
    "workers": Key(default=None, low=1, high=_MOST, optional=True, help="jobs at a time"),
}
_RAY_KEYS = {
    "address": Key(default=None, kind=str, what="auto or host:port", optional=True, help="of a cluster"),
    "num_cpus": Key(default=None, low=1, high=_MOST_ASKED, optional=True, help="CPUs per job"),
    "memory": Key(default=None, low=1, high=_MOST_ASKED, optional=True, help="bytes per job"),
    "in_flight": Key(
        default=None, low=1, high=_MOST_ASKED, optional=True, help="jobs handed to Ray at a time"
    ),
}


class EngineSettings(TypedDict, total=False):
    """Where jobs run; see `check_engine`."""

    engine: str  # ray (the default of `open_engine`) or local
    workers: int | None  # jobs at a time (None: one a core with Ray, one with local)
    ray: Mapping[str, Any] | None


class Engine(Protocol):
    """Something that runs jobs."""

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""

    def map(self, job: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Run `job` on every item and yield the results as they come, in any order.

        Items are taken as there is room, and the first job that fails stops all.
        """


def available_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0))


def check_engine(engine: Any, workers: Any, ray: Any = None) -> dict[str, Any]:
    """What is asked of Ray; ConfigError where there is no such engine, number of workers or setting.

    ray: a mapping of `address` (auto, host:port or None: a Ray of its own), `num_cpus` and `memory` (bytes)
    that a job takes, and `in_flight` (jobs handed to Ray at a time), or None.
    """
    check_keys("", {"engine": engine, "workers": workers}, _KEYS)
    return check_keys("ray.", ray, _RAY_KEYS)


@contextmanager
def open_engine(
    prepare: Callable[[], None],
    *,
    engine: str = "ray",
    workers: int | None = None,
    ray: Mapping[str, Any] | None = None,
    times: Times | None = None,
) -> Iterator[Engine]:
    """An engine for jobs. Ray starts with the first of them, and ends with the block.

    prepare: what every process does before its first job, e.g. to compile kernels; it goes to other machines.

    workers: at most so many jobs run at a time (None: one a core with Ray, one with `local`). ray: see
    `check_engine`. times: where compiling here and starting Ray are counted.
    """
    settings, times = check_engine(engine, workers, ray), times or Times()
    if engine == "local":
        yield _Local(prepare, workers or 1, times)
        return
    opened = _Ray(prepare, workers, settings, times)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def open_ray(workers: int, ray: Mapping[str, Any] | None) -> Iterator[Any]:
    """The library `ray`, connected to what the settings say (see `check_engine`); what was begun ends with
    the block."""
    opened = _Ray(lambda: None, workers, check_engine("ray", workers, ray), Times())
    try:
        yield opened.start()
    finally:
        opened.close()


class _Local:
    """Threads: kernels, Parquet and sha256 release the GIL."""

    def __init__(self, prepare: Callable[[], None], workers: int, times: Times) -> None:
        self.slots = workers
        self._prepare, self._times = prepare, times
        self._warm = False

    def map(self, job: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        items, none = _begun(items)
        if none:
            return
        if not self._warm:
            with self._times.of("compiling"):
                self._prepare()
            self._warm = True
        running: set[Future[R]] = set()
        pool = ThreadPoolExecutor(self.slots)
        try:
            while True:
                for item in itertools.islice(items, self.slots - len(running)):
                    running.add(pool.submit(job, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Ray:
    """Tasks of a Ray of its own, or of a cluster."""

    def __init__(
        self, prepare: Callable[[], None], workers: int | None, settings: Mapping[str, Any], times: Times
    ) -> None:
        self._prepare, self._workers, self._settings, self._times = prepare, workers, settings, times
        self._ray: Any = None
        self._started = False

    @property
    def slots(self) -> int:
        if self._workers is not None:
            return self._workers
        cores = self.start().cluster_resources().get("CPU", 1)
        return max(1, int(cores / (self._settings["num_cpus"] or 1)))

    def map(self, job: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        items, none = _begun(items)
        if none:  # no Ray is started for nothing
            return
        ray = self.start()
        if not self._may_grow and not self._has_room(ray):
            raise OstracaError(self._no_room(ray))
        remote = ray.remote(max_retries=_RETRIES, **self._needs)(_run_warm)
        # Kept once in the object store, not sent with every item.
        try:
            arguments = ray.put((job, self._prepare, handed_on()))
        except ray.exceptions.RayError as error:
            raise OstracaError(
                f"Ray's object store accepts nothing ({type(error).__name__}); free some of it or the disk "
                "that it spills to, then run the same command again: finished shards are kept"
            ) from error
        roomy = time.monotonic()  # when a node was last seen on which a job can run
        running: list[Any] = []
        while True:
            # Asked again each time: a cluster that scales itself gets more.
            bound = self._settings["in_flight"] or (self._workers or _JOBS_A_SLOT * self.slots)
            for item in itertools.islice(items, max(bound - len(running), 0)):
                running.append(remote.remote(arguments, item))
            if not running:
                return
            done, running = ray.wait(running, num_returns=1, timeout=_LOOK_SECONDS)
            for reference in done:
                yield _result(ray, reference)
            if done or self._has_room(ray):
                roomy = time.monotonic()
            elif time.monotonic() - roomy >= _PATIENCE_SECONDS:
                raise OstracaError(self._no_room(ray))

    @property
    def _needs(self) -> dict[str, Any]:
        """What Ray is told that a job takes."""
        return {"num_cpus": self._settings["num_cpus"] or 1, "memory": self._settings["memory"]}

    @property
    def _may_grow(self) -> bool:
        """Whether nodes may join: those of a cluster come and go, a Ray of our own has one."""
        return self._settings["address"] is not None

    def _has_room(self, ray: Any) -> bool:
        """Whether a living node has, all in all, what a job takes."""
        return any(
            node.get("CPU", 0) >= self._needs["num_cpus"]
            and node.get("memory", 0) >= (self._needs["memory"] or 0)
            for node in _nodes(ray)
        )

    def _no_room(self, ray: Any) -> str:
        asked = f"ray.num_cpus={self._needs['num_cpus']}"
        if self._needs["memory"]:
            asked += f" and ray.memory={self._needs['memory']:,}"
        nodes = {f"{node.get('CPU', 0):g} CPUs, {node.get('memory', 0):,.0f} bytes" for node in _nodes(ray)}
        have = "; ".join(sorted(nodes)) or "there is none"
        return (
            f"{asked}: no Ray node has that much (they have: {have}); "
            "ask for less, or add nodes and run the same command again: finished shards are kept"
        )

    def start(self) -> Any:
        """The library, connected."""
        if self._ray is not None:
            return self._ray
        require_address_space(ray=True)
        # No report about its use leaves the machine.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        address = self._settings["address"]
        if address is not None:
            _probe(ray, address)
        if not ray.is_initialized():
            if address is None:
                with self._times.of("compiling"):  # once, before several workers find the cache empty
                    self._prepare()
            self._started, self._ray = True, ray  # from now on there is something to stop
            with self._times.of("starting Ray"):
                _start_ray(ray, self._workers, address)
        self._ray = ray
        return ray

    def close(self) -> None:
        """Stop the Ray that was started here; jobs under way are lost, which harms nothing."""
        if self._started and self._ray is not None:
            self._ray.shutdown()


def _nodes(ray: Any) -> list[dict[str, float]]:
    """What each living node has, whether or not it is taken."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _begun(items: Iterable[T]) -> tuple[Iterator[T], bool]:
    """The items, and whether there are none."""
    rest = iter(items)
    first = list(itertools.islice(rest, 1))
    return itertools.chain(first, rest), not first


def _start_ray(ray: Any, workers: int | None, address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # "local": also where RAY_ADDRESS is set, as in every job of a cluster.
        options |= {"address": "local", "num_cpus": workers or available_cores(), "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        if address is None:
            give_token()
        with kept_signals():
            ray.init(**options)
    except SystemExit:  # what Ray makes of a SIGTERM while it starts
        raise Stopped(signal.SIGTERM) from None
    except Exception as error:  # of any kind: Ray has bare ones too, where its node does not come up
        raise OstracaError(why_not(error, address)) from error


def _probe(ray: Any, address: str) -> None:
    """OstracaError where nothing listens at host:port, or wants a token; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise OstracaError(
                f"ray.address={address}: nothing answers there ({error}); start the cluster, "
                "or leave ray.address out for a Ray on this machine"
            ) from error
        refusal = None if address.startswith("ray://") else refused_token(ray, address)
        if refusal is not None:
            raise OstracaError(why_not(refusal, address)) from refusal


def _run_warm(arguments: tuple[Callable[[T], R], Callable[[], None], HandedOn], item: T) -> R:
    """What runs in a Ray worker."""
    job, prepare, handed = arguments
    take_over(handed)
    prepare()
    return job(item)


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
