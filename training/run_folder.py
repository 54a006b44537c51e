"""What a folder says of the run in it: whether the same call goes on there, or another run is in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..pipeline.store.folder import write_json
from ..pipeline.store.open import open_folder
from ..tasks.core.outside import parse_json
from ..tasks.errors import ConfigError, shown
from .source import Seeds

NAME = "run.json"
_FORMER = ("depo_hop_metrics.csv", "metrics.csv")  # what a run of an older release left
# Of a config what decides no loss and no score, or stands elsewhere.
_NOTHING = {
    *("out", "logging", "corpus_path", "corpus_dataset", "corpus_where", "mixture", "task_modules"),
    *(
        "overrides",
        "hydra",
        "seed",
        "data_seed",
        "init_seed",
        "order_seed",
        "seeds",
        "at_once",
        "ray",
        "workers",
    ),
    "experiment",
}
_NOTHING_IN_TRAIN = {
    *("device", "threads", "parts", "parallel", "compile", "activation_checkpointing"),
    *("checkpoint_every", "keep_checkpoints", "checkpoint_folder"),
}


def run_of(config: Mapping[str, Any], seeds: Seeds, data: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run: its config, its seeds and the identity of its data; plain values."""
    kept = {key: value for key, value in config.items() if key not in _NOTHING}
    if "kind" in data and data["kind"] != "task":
        kept.pop("dataset", None)  # the corpus decides
    kept["train"] = {key: value for key, value in config["train"].items() if key not in _NOTHING_IN_TRAIN}
    own = asdict(seeds)
    seed = seeds.data if len(set(own.values())) == 1 else own
    plain: dict[str, Any] = json.loads(json.dumps({**kept, "seed": seed, "data": data}))
    return plain


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Say in a folder which run it holds; ConfigError where it holds another, with the first difference."""
    path = out / NAME
    if path.exists():
        there = parse_json(f"{path}:", path.read_bytes())
        for name, mine, its in _differences(run, there):
            raise ConfigError(
                f"{out} holds another run: {name} is {shown(its)} there and {shown(mine)} here; take another "
                "out=, or remove the folder to begin anew"
            )
        return
    for former in _FORMER:
        if (out / former).exists():
            raise ConfigError(
                f"{out} holds a {former} and no {NAME}, so nobody knows of which run; take another out=, or "
                "remove the folder to begin anew"
            )
    write_json(open_folder(out), NAME, run)


def _differences(mine: Any, its: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two nested values differ."""
    if isinstance(mine, dict) and isinstance(its, dict):
        for key in {**mine, **its}:
            yield from _differences(mine.get(key), its.get(key), f"{name}.{key}" if name else key)
    elif mine != its:
        yield name, mine, its
