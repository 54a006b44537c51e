"""`seeds=[0,1,2]`: the same run with several seeds, one after another or several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..tasks.core.paths import local_path
from ..tasks.errors import ConfigError, OstracaError, check_integer, check_path, shown
from ..tasks.examples import check_seed

_KEYS = ("seed", "seeds", "at_once", "out", "train.checkpoint_folder")
_DEVICE = "train.device"


def for_seeds(
    command: str, config: Mapping[str, Any], train: Callable[[Mapping[str, Any]], Path]
) -> list[Path]:
    """The folders of the runs: the one of `out`, or `out`/seed-N for each of `seeds`.

    command: of ostraca, whose `train` this is. ConfigError where the seeds are none.
    """
    if config["seeds"] is None:
        return [train(config)]
    seeds = _checked(config["seeds"])
    if config["out"] is None:
        raise ConfigError("seeds: set out=, the folder in which each seed gets its own, e.g. out=runs/llama")
    if "WORLD_SIZE" in os.environ:
        raise ConfigError(
            "seeds: several processes work on one run here; start a run for each seed, with seed="
        )
    out = local_path(check_path("out", config["out"]))
    folders = [out / f"seed-{seed}" for seed in seeds]
    kept = config["train"]["checkpoint_folder"]
    # None: below `out`, where each seed has its own already.
    checkpoints = [None if kept is None else f"{kept}/seed-{seed}" for seed in seeds]
    gpus = torch.cuda.device_count() if config["train"]["device"] in ("auto", "cuda") else 0
    at_once = max(1, gpus) if config["at_once"] is None else check_integer("at_once", config["at_once"], 1)
    each = list(zip(seeds, folders, checkpoints, strict=True))
    if at_once == 1:
        for seed, folder, own in each:
            print(f"seed {seed}", flush=True)
            settings = {**config["train"], "checkpoint_folder": own}
            train({**config, "train": settings, "seed": seed, "seeds": None, "out": str(folder)})
        return folders
    decided = (*_KEYS, _DEVICE) if gpus else _KEYS
    words = [word for word in config["overrides"] if word.partition("=")[0] not in decided]
    begin = [sys.executable, "-m", "ostraca", command, *words]
    calls = {
        seed: [
            *begin,
            f"seed={seed}",
            f"out={folder}",
            f"train.checkpoint_folder={'null' if own is None else own}",
        ]
        for seed, folder, own in each
    }
    print(f"seeds {', '.join(map(str, seeds))}, {at_once} at a time", flush=True)
    _beside(calls, at_once, gpus)
    return folders


def _checked(given: Any) -> list[int]:
    if not isinstance(given, list) or not given:
        raise ConfigError(f"seeds={shown(given)} must be a list of seeds, e.g. seeds=[0,1,2], or null")
    seeds = [check_seed(seed) for seed in given]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={seeds} has a seed twice; each is one run")
    return seeds


def _beside(calls: Mapping[int, Sequence[str]], at_once: int, gpus: int) -> None:
    """Make these calls, so many at a time, each on the GPU that has the fewest.

    OstracaError where one fails, once the others have ended. Where this process is stopped, they are told to,
    and waited for: each saves a checkpoint.
    """
    waiting = dict(calls)
    running: dict[int, subprocess.Popen[bytes]] = {}
    places: dict[int, int] = {}  # of those that run: their GPU
    failed: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once and not failed:
                seed, call = next(iter(waiting.items()))
                del waiting[seed]
                if gpus:
                    used = Counter(places[other] for other in running)
                    places[seed] = min(range(gpus), key=lambda gpu: used[gpu])
                    call = [*call, f"{_DEVICE}=cuda:{places[seed]}"]
                running[seed] = subprocess.Popen(call)
            for seed, process in list(running.items()):
                if process.poll() is not None:
                    del running[seed]
                    if process.returncode:
                        failed.append(str(seed))
            if failed and not running:
                break
            time.sleep(0.05)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    if failed:
        raise OstracaError(
            f"seed {', '.join(failed)}: failed, as it says above; the same call goes on with what is left"
        )
