"""A run whose processes are Ray's workers: `ray.address=auto workers=8`, by Ray Train's `TorchTrainer`.

A cluster that builds a corpus can so train on it. The workers do what processes of torchrun would; where one
is lost Ray Train starts all anew, and they go on from the last checkpoint.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from ..pipeline.build.jobs.engine import open_ray
from ..pipeline.build.jobs.stopping import Stopped, held_back
from ..tasks.core.paths import is_local, local_path
from ..tasks.errors import ConfigError, OstracaError, check_integer, check_path, first_line, shown
from ..tasks.registry import HandedOn, handed_on, take_over
from .stop import Stop

Training = Callable[[Mapping[str, Any], Stop], Path]

_LOST = 3  # times that workers may be lost
_POLL_SECONDS = 0.25
_GRACE_SECONDS = 10.0  # for workers to end by themselves where one has failed


def wanted(config: Mapping[str, Any]) -> bool:
    """Whether the run is Ray's: `workers` is set, or an address of a cluster."""
    ray = config["ray"]
    if not isinstance(ray, Mapping):
        raise ConfigError(f"ray={shown(ray)} must be a mapping; set ray.address=...")
    return config["workers"] is not None or ray.get("address") is not None


def train_on_ray(config: Mapping[str, Any], train: Training) -> Path:
    """Run `train` on all of `workers` Ray workers as one run; OstracaError with what a worker told.

    The folder `out` must be one that all of them see, or `train.checkpoint_folder` in a store.
    """
    workers = check_integer("workers", 1 if config["workers"] is None else config["workers"], 1)
    out = None if config["out"] is None else str(local_path(check_path("out", config["out"])).resolve())
    kept = config["train"]["checkpoint_folder"]
    if isinstance(kept, str) and is_local(kept):
        kept = str(local_path(kept).resolve())
    # Workers have another current folder.
    config = {**config, "out": out, "train": {**config["train"], "checkpoint_folder": kept}}
    with held_back() as held, open_ray(workers, {"address": config["ray"].get("address")}) as ray:
        desk = ray.remote(num_cpus=0)(_Desk).remote()
        done: list[Any] = []
        fitting = threading.Thread(
            target=lambda: done.append(_fit(ray, config, train, workers, desk)), daemon=True
        )
        fitting.start()
        ended: float | None = None
        while fitting.is_alive():
            fitting.join(_POLL_SECONDS)
            _print(ray.get(desk.lines.remote(held.number)))
            if ended is None and ray.get(desk.end.remote()).get("kind"):
                ended = time.monotonic()
            # Workers that wait for one that has failed end with Ray.
            if ended is not None and time.monotonic() - ended > _GRACE_SECONDS:
                break
        _print(ray.get(desk.lines.remote(None)))
        if held.number is not None:
            held.let_go()
        told = done[0] if done else ray.get(desk.end.remote())
    if isinstance(told, BaseException):
        raise OstracaError(f"Ray Train failed: {_line(told)}; the same call goes on") from told
    if told["kind"] == "ConfigError":
        raise ConfigError(told["text"])
    if told["kind"]:
        raise OstracaError(told["text"])
    return Path(told["text"])


def _fit(ray: Any, config: Mapping[str, Any], train: Training, workers: int, desk: Any) -> Any:
    """What the main worker told, or what Ray Train raised."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # or every line comes twice
    gpus = ray.cluster_resources().get("GPU", 0)
    use_gpu = config["train"]["device"] in ("auto", "cuda") and gpus >= workers
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "config": config,
            "train": train,
            "desk": desk,
            "handed": handed_on(),
            "folder": os.getcwd(),
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=_LOST)),
    )
    try:
        trainer.fit()
        return ray.get(desk.end.remote())
    except Exception as error:  # of many kinds
        return error


class _Desk:
    """An actor at which workers leave their lines and ask whether to stop."""

    def __init__(self) -> None:
        self._lines: list[tuple[bool, str]] = []
        self._stop: int | None = None
        self._end: dict[str, str] = {}

    def lines(self, stop: int | None) -> list[tuple[bool, str]]:
        """What came since the last call: whether to stderr, and the text. stop: a signal that came."""
        self._stop = self._stop if stop is None else stop
        taken, self._lines = self._lines, []
        return taken

    def put(self, to_stderr: bool, text: str) -> bool:
        """A worker's line; whether the run is to stop."""
        if text:
            self._lines.append((to_stderr, text))
        return self._stop is not None

    def tell(self, kind: str, text: str) -> None:
        """How the run ended; the first failure counts."""
        if not self._end.get("kind"):
            self._end = {"kind": kind, "text": text}

    def end(self) -> dict[str, str]:
        """What `tell` was told."""
        return self._end


def _print(lines: list[tuple[bool, str]]) -> None:
    for to_stderr, text in lines:
        print(text, end="", file=sys.stderr if to_stderr else sys.stdout, flush=True)


class _Lines:
    """Stands for stdout or stderr of the main worker."""

    def __init__(self, desk: Any, to_stderr: bool) -> None:
        self._desk, self._to_stderr = desk, to_stderr

    def write(self, text: str) -> int:
        self._desk.put.remote(self._to_stderr, text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held."""

    def isatty(self) -> bool:
        return False


def _work(given: dict[str, Any]) -> None:
    """What runs in each worker."""
    import ray
    from torch import distributed

    handed: HandedOn = given["handed"]
    take_over(handed)
    if os.path.isdir(given["folder"]):
        os.chdir(given["folder"])
    desk, stop = given["desk"], Stop()
    threading.Thread(target=_listen, args=(ray, desk, stop), daemon=True).start()
    main = distributed.get_rank() == 0
    before = sys.stdout, sys.stderr
    if main:
        sys.stdout, sys.stderr = (cast(TextIO, _Lines(desk, to_stderr)) for to_stderr in (False, True))
    kind, text = "", ""
    try:
        text = str(given["train"](given["config"], stop))
    except OstracaError as error:  # would be the same again
        kind, text = type(error).__name__, str(error)
    except Stopped:
        kind, text = "Stopped", "stopped"
    except Exception:
        # Of a worker that waited for one that failed; otherwise Ray Train starts all anew.
        if not ray.get(desk.end.remote()).get("kind"):
            raise
    finally:
        stop.over = True
        sys.stdout, sys.stderr = before
    if kind or main:
        ray.get(desk.tell.remote(kind, text))
    if kind and kind != "Stopped":
        distributed.destroy_process_group()  # nobody waits for this one any more


def _listen(ray: Any, desk: Any, stop: Stop) -> None:
    """Hear whether the run is to stop."""
    while not stop.over:
        try:
            stop.asked = ray.get(desk.put.remote(False, ""))
        except Exception:  # the desk has gone with the cluster
            return
        time.sleep(_POLL_SECONDS)


def _line(error: BaseException) -> str:
    """The first line of what went wrong, at its root."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
