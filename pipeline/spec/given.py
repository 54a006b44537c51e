"""What a call asks for: the spec of a corpus from a config of `build`, under names that are true."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...tasks import TASKS, get_task
from ...tasks.errors import ConfigError, check_integer, shown
from .check import MAX_TOKENS, check_spec
from .presets import mark_of, true_name
from .words import key_of

_CHANGES_CONFIG = re.compile(r"corpus\.datasets\.[^.]+(\.(task|config)(\..*)?)?")

_PLAIN = ("vocabulary", "vocabulary_offset", "format", "compression")


def corpus_spec(config: Mapping[str, Any], command: str = "build") -> dict[str, Any]:
    """The spec that a config of `build` asks for (see conf/build.yaml), not yet checked.

    command: whose config it is, for messages.
    """
    corpus, dataset = config.get("corpus"), config.get("dataset")
    if (corpus is None) == (dataset is None):
        raise ConfigError(
            f"{command}: say what to build with either corpus=NAME or dataset=NAME, e.g. corpus=depo1"
        )
    if corpus is None:
        assert dataset is not None
        if not isinstance(dataset, Mapping) or not isinstance(dataset.get("name"), str):
            raise ConfigError(f"{command}: dataset={shown(dataset)} must be a file of conf/dataset")
        corpus = {"name": dataset["name"], "datasets": {dataset["name"]: dataset}}
    if not isinstance(corpus, Mapping) or not isinstance(corpus.get("datasets"), Mapping):
        raise ConfigError(f"{command}: corpus={shown(corpus)} has no datasets; name a file of conf/corpus")
    if "seed" in corpus:
        raise ConfigError(f"{command}: corpus.seed={shown(corpus['seed'])}: set seed=... instead")
    spec: dict[str, Any] = copy.deepcopy(dict(corpus))
    _name_truly(spec, config.get("overrides"))
    spec["seed"] = config["seed"]
    for key in (*_PLAIN, "shard_tokens", "row_group_tokens"):
        if config[key] is not None:
            spec[key] = config[key]
    for key in ("pack", "dedup"):
        spec[key] = _merged(spec.get(key), config[key], key, command)
    for name, entry in spec["datasets"].items():
        if not isinstance(entry, Mapping):
            raise ConfigError(
                f"{command}: dataset {name}={shown(entry)} must be a mapping, as in conf/dataset"
            )
        splits = entry.get("splits", config["splits"])
        if not isinstance(splits, Mapping):
            raise ConfigError(f"{command}: splits={shown(splits)} must be a mapping, as in conf/splits")
        asked = config["splits"] if isinstance(config["splits"], Mapping) else {}
        left_out = {key for names in (splits, asked) for key in names if names[key] is None}
        splits = {key: name for key, name in copy.deepcopy(dict(splits)).items() if key not in left_out}
        if not splits:
            raise ConfigError(f"{command}: dataset {name} has no split left; leave one that is not null")
        spec["datasets"][name] = {**entry, "splits": splits}
    _share_out(spec, config["examples"], config["tokens"], command)
    return spec


def _name_truly(spec: dict[str, Any], overrides: Sequence[str] | None) -> None:
    """Give every dataset, and the corpus, a name that is not a preset's unless it has that preset's config.

    What the call changes gets a name of its own; a name that the call or a file chose must be true already.
    overrides: the words of the call; None where it is not known who chose what.
    """
    renamed: dict[str, str] = {}
    datasets: dict[str, Any] = {}
    for name, entry in spec["datasets"].items():
        called = _true_name(str(name), entry, overrides)
        renamed[str(name)] = called
        datasets[called] = entry
    if len(datasets) < len(renamed):
        datasets = spec["datasets"]  # two of one config: refused later, by their own names
    spec["datasets"] = datasets
    keys = {key_of(word) for word in overrides or ()}
    if len(renamed) == 1 and str(spec.get("name")) in renamed:  # a corpus of one dataset is called as it is
        (spec["name"],) = renamed.values()
    elif "corpus.name" not in keys and any(map(_CHANGES_CONFIG.fullmatch, keys)):
        configs = {
            name: [entry.get("task"), entry.get("config")] if isinstance(entry, Mapping) else None
            for name, entry in datasets.items()
        }
        spec["name"] = f"{spec.get('name', 'corpus')}-{mark_of(configs)}"


def dataset_name(config: Mapping[str, Any]) -> str:
    """What the dataset of a command is called: by its preset's name only where it has its config."""
    entry = config["dataset"]
    return _true_name(str(entry["name"]), entry, config.get("overrides"))


def _true_name(name: str, entry: Any, overrides: Sequence[str] | None) -> str:
    """The name that a dataset may have; as it is where the entry is none that can be understood."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("task"), str) or entry["task"] not in TASKS:
        return name
    keys = {key_of(word) for word in overrides or ()}
    changed = any(key.startswith((f"corpus.datasets.{name}.", "dataset.")) for key in keys)
    given = overrides is not None and (not changed or "dataset.name" in keys)
    own, splits = entry.get("config") or {}, entry.get("splits")
    train = splits.get("train") if isinstance(splits, Mapping) else None
    more = train.get("config") if isinstance(train, Mapping) else None
    if not isinstance(own, Mapping) or not isinstance(more, Mapping | None):
        return name
    return true_name(name, entry["task"], {**own, **(more or {})}, given=given)


def _share_out(spec: dict[str, Any], examples: Any, tokens: Any, command: str) -> None:
    """Make the train splits so large, all together, each in its proportion to what it would have been."""
    if examples is None and tokens is None:
        return
    if examples is not None and tokens is not None:
        raise ConfigError(f"{command}: examples={shown(examples)} and tokens={shown(tokens)}: give only one")
    key, asked = ("examples", examples) if tokens is None else ("tokens", tokens)
    trains = {
        name: entry["splits"]["train"]
        for name, entry in spec["datasets"].items()
        if isinstance(entry["splits"].get("train"), Mapping)
    }
    if not trains:
        raise ConfigError(f"{command}: {key}= is for the split train, and there is none")
    shares = dict.fromkeys(trains, 1.0)
    if len(trains) > 1:
        asked = check_integer(f"{command}: {key}", asked, len(trains), MAX_TOKENS)
        for name, entry in check_spec({**spec, "dedup": None})["datasets"].items():
            if name in trains:
                train = entry["splits"]["train"]
                mean = get_task(entry["task"]).mean_tokens(train["config"]) if key == "tokens" else 1.0
                shares[name] = train["examples"] * mean
    whole = sum(shares.values())
    for name, train in trains.items():
        size = asked if len(trains) == 1 else max(1, round(asked * (shares[name] / whole)))
        other = "tokens" if key == "examples" else "examples"
        spec["datasets"][name]["splits"]["train"] = {**train, other: None, key: size}


def _merged(own: Any, asked: Any, key: str, command: str) -> Any:
    """A corpus's own settings with those asked for over them; None where there are none."""
    if not isinstance(asked, Mapping) or not isinstance(own, Mapping | None):
        raise ConfigError(f"{command}: {key}={shown(asked)} must be a mapping; set {key}.{{...}}=...")
    given = {name: value for name, value in asked.items() if value is not None and name != "memory"}
    merged = {**(own or {}), **given}
    return merged or None
