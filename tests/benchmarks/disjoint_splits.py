"""What `dedup.mode=disjoint` costs: the share of a shard's processor time that it takes.

It is taken where it is spent: two whole shards that are made alike differ by more than that.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from typing import Any

from measures import preset_task, say

from ostraca.pipeline.build.jobs.engine import open_engine
from ostraca.pipeline.build.shards.disjoint import EvalExamples, eval_prints
from ostraca.pipeline.build.shards.shard import make_shard
from ostraca.pipeline.build.shards.warm import warm_kernels
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.pipeline.spec.shards import plan
from ostraca.pipeline.store.local import LocalFolder

PAIRS = 12


def disjoint(preset: str) -> None:
    """Medians: the share; the ratios of whole shards with and without it, and of two made alike."""
    sizes = {"train": {"tokens": 16_000_000}, "test": {"examples": 1000, "form": "test"}}
    task, config = preset_task(preset)
    spec = check_spec({"datasets": {preset: {"task": task.name, "config": config, "splits": sizes}}})
    digest = spec_digest(spec)
    shard = next(each for each in plan(spec) if each.split == "train")
    looking = 0.0
    places_in = EvalExamples.places_in

    def timed(*given: Any) -> Any:
        nonlocal looking
        begun = time.process_time()
        places = places_in(*given)
        looking += time.process_time() - begun
        return places

    EvalExamples.places_in = timed  # type: ignore[method-assign]
    with (
        tempfile.TemporaryDirectory() as root,
        open_engine(functools.partial(warm_kernels, spec), engine="local") as engine,
    ):
        folder = LocalFolder(root)
        evals = eval_prints(spec, digest, folder, engine, 1 << 30, lambda what, done, of: None)
        seconds: dict[str, list[float]] = {"off": [], "again": [], "disjoint": []}
        shares = []
        names = list(seconds)
        for number in range(1 + PAIRS):
            for place in range(3):
                name = names[(number + place) % 3]
                looking, begun = 0.0, time.process_time()
                make_shard(spec, digest, Changes(), folder, shard, evals if name == "disjoint" else None)
                seconds[name].append(time.process_time() - begun)
                if name == "disjoint":
                    shares.append(looking / seconds[name][-1])
    say(
        share=statistics.median(shares[1:]),
        **{
            name: statistics.median(a / b for a, b in zip(seconds[name][1:], seconds["off"][1:], strict=True))
            for name in ("again", "disjoint")
        },
    )
