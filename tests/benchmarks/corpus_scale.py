"""Measurements of `make bench` at the size of real corpora; see run.py. Each prints one line of JSON."""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from measures import best, depo_spec, say

MEAN_TOKENS = 283.5  # of a Depo1 N=225 example


def billion(folder: str, tokens: str, *modes: str) -> None:
    """One corpus built by two workers of Ray with each mode of dedup ("drop-content": by content) in turn.

    Everything counts but the start of Ray and of its workers, which is told apart.
    """
    import ray

    from ostraca.pipeline.build.build import build

    begun = time.perf_counter()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    for mode in modes:  # compiled and loaded in every worker
        build({**depo_spec({}, 120_000, seed=1), **_dedup(mode)}, Path(folder) / f"warm-{mode}", workers=2)
    start = time.perf_counter() - begun
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    for _ in range(2):
        for mode in modes:
            root = Path(folder) / mode
            spec = {**depo_spec({}, round(float(tokens) / MEAN_TOKENS)), **_dedup(mode)}
            begun = time.perf_counter()
            manifest = build(spec, root, workers=2)
            seconds[mode].append(time.perf_counter() - begun)
            shutil.rmtree(root)
    ray.shutdown()
    say(
        start=start,
        tokens=manifest["totals"]["tokens"],
        **{mode: min(each) for mode, each in seconds.items()},
    )


def _dedup(mode: str) -> dict[str, Any]:
    name, _, key = mode.partition("-")
    return {"dedup": {"mode": name, "key": key or "tokens"}}


def peak(folder: str, tokens: str, budget: str) -> None:
    """Peak memory of one process that makes shards and looks for duplicates, in MB."""
    from ostraca.pipeline.build.build import build

    spec = {**depo_spec({}, round(float(tokens) / MEAN_TOKENS)), **_dedup("drop")}
    manifest = build(spec, Path(folder) / "corpus", engine="local", memory=budget)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    say(peak=used, tokens=manifest["totals"]["tokens"])


def hugging_face(folder: str) -> None:
    """What most would write: `Dataset.from_generator` over single examples, then `to_parquet`."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HOME"] = folder
    import datasets

    from ostraca.tasks.depo import generate_depo_example, make_depo_hf_dataset

    count = 3_000
    generate_depo_example(None, 0)

    def single() -> None:
        shutil.rmtree(Path(folder) / "cache", ignore_errors=True)
        made = datasets.Dataset.from_generator(
            lambda: (generate_depo_example(None, 0, index) for index in range(count)),
            cache_dir=f"{folder}/cache",
        )
        made.to_parquet(f"{folder}/single.parquet")

    ready = make_depo_hf_dataset(count, None, 0)
    tokens = sum(len(row) for row in ready["input_ids"])
    rows = ready.to_list()

    def writing_only() -> None:
        shutil.rmtree(Path(folder) / "cache", ignore_errors=True)
        made = datasets.Dataset.from_generator(lambda: iter(rows), cache_dir=f"{folder}/cache")
        made.to_parquet(f"{folder}/ready.parquet")

    say(single=tokens / 1e6 / best(single, 1), writing=tokens / 1e6 / best(writing_only, 2))
