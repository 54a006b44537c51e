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
    "at_once",
    "corpus_dataset",
    "corpus_path",
    "corpus_where",
    "data_seed",
    "init_seed",
    "logging",
    "mixture",
    "order_seed",
    "out",
    "overrides",
    "ray",
    "seed",
    "seeds",
    "task_modules",
    "workers",
}
_NOTHING_IN_TRAIN = {
    "activation_checkpointing",
    "checkpoint_every",
    "checkpoint_folder",
    "compile",
    "device",
    "keep_checkpoints",
    "parallel",
    "parts",
    "threads",
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


def claim(out: Path, run: Mapping[str, Any], checkpoints: str | None) -> None:
    """Say in a folder which run it holds, and where its checkpoints are (None: there).

    ConfigError where it holds another, or others elsewhere, with the first difference.
    """
    path, mine = out / NAME, {**run, "train.checkpoint_folder": checkpoints}
    if path.exists():
        require_same(str(out), mine, parse_json(f"{path}:", path.read_bytes()))
        return
    for former in _FORMER:
        if (out / former).exists():
            raise ConfigError(
                f"{out} holds a {former} and no {NAME}, so nobody knows of which run; take another out=, or "
                "remove the folder to begin anew"
            )
    write_json(open_folder(out), NAME, mine)


def require_same(where: str, mine: Mapping[str, Any], its: Mapping[str, Any]) -> None:
    """ConfigError where a folder holds another run than this one, with the first difference."""
    for name, here, there in _differences(dict(mine), its):
        raise ConfigError(
            f"{where} holds another run: {name} is {shown(there)} there and {shown(here)} here; take another "
            "out= (and train.checkpoint_folder=), or remove the folder to begin anew"
        )


def _differences(mine: Any, its: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two nested values differ."""
    if isinstance(mine, dict) and isinstance(its, dict):
        for key in {**mine, **its}:
            yield from _differences(mine.get(key), its.get(key), f"{name}.{key}" if name else key)
    elif mine != its:
        yield name, mine, its
