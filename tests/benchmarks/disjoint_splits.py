"""What `dedup.mode=disjoint` costs: shards of train made with and without it, in turn, in one process."""

from __future__ import annotations

import statistics
import tempfile
import time

from measures import preset_task, say

from pipeline.changes import Changes
from pipeline.dedup.disjoint import eval_prints
from pipeline.engine import open_engine
from pipeline.folder import LocalFolder
from pipeline.plan import plan
from pipeline.shard import make_shard
from pipeline.spec import check_spec, spec_digest

PAIRS = 12


def disjoint(preset: str) -> None:
    """The median of the pairs' ratios of processor time, and that of two shards that are made alike."""
    sizes = {"train": {"tokens": 16_000_000}, "test": {"examples": 1000, "form": "test"}}
    task, config = preset_task(preset)
    spec = check_spec({"datasets": {preset: {"task": task.name, "config": config, "splits": sizes}}})
    digest = spec_digest(spec)
    shard = next(each for each in plan(spec) if each.split == "train")
    with tempfile.TemporaryDirectory() as root, open_engine(spec, engine="local") as engine:
        folder = LocalFolder(root)
        evals = eval_prints(spec, digest, folder, engine, 1 << 30, lambda what, done, of: None)
        seconds: dict[str, list[float]] = {"off": [], "again": [], "disjoint": []}
        names = list(seconds)
        for number in range(1 + PAIRS):
            for place in range(3):
                name = names[(number + place) % 3]
                begun = time.process_time()
                make_shard(spec, digest, Changes(), folder, shard, evals if name == "disjoint" else None)
                seconds[name].append(time.process_time() - begun)
    say(
        **{
            name: statistics.median(a / b for a, b in zip(seconds[name][1:], seconds["off"][1:], strict=True))
            for name in ("again", "disjoint")
        }
    )
