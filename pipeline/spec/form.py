"""Whether what stands in a manifest is a complete spec, before anything in it is believed.

First its form alone, then the same door that a user's spec goes through.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...tasks import get_task
from ...tasks.core.rng import canonical_json
from ...tasks.errors import ConfigError, OstracaError, shown
from ...tasks.examples import check_seed, check_split
from .check import MAX_SHARDS, VOCABULARIES, check_spec, configs_of, is_dataset_name, is_name
from .dedup import check_dedup
from .formats import FORMATS
from .packing import check_pack
from .shards import count_shards

_SIZES = ("examples", "shard_examples", "row_group_examples")


def is_spec(spec: Any) -> bool:
    """Whether a spec has the form of a complete one; what its configs hold is the tasks' business.

    Names that are as they must be make no path that leaves the corpus's folder.
    """
    try:
        check_seed(spec["seed"])
        entries = list(spec["datasets"].items())
        splits = [split for _, entry in entries for split in entry["splits"].items()]
        for name, _ in splits:
            check_split(name)
        return (
            is_name(spec["name"])
            and spec["vocabulary"] in tuple(VOCABULARIES)
            and type(spec.get("vocabulary_offset", 0)) is int
            and spec["compression"] in FORMATS[spec["format"]].suffixes
            and check_pack(spec["pack"], "") == spec["pack"]
            and check_dedup(spec["dedup"], "") == spec["dedup"]
            and len(entries) > 0
            and all(is_dataset_name(name) for name, _ in entries)
            and all((type(e["task"]), type(e["version"])) == (str, int) for _, e in entries)
            and all(len(entry["splits"]) > 0 for _, entry in entries)
            and all(type(split[key]) is int and split[key] > 0 for _, split in splits for key in _SIZES)
            and all(isinstance(split["config"], dict) for _, split in splits)
            and count_shards(spec) <= MAX_SHARDS
        )
    except (ConfigError, KeyError, TypeError, AttributeError):
        return False


def has_tokenizers(spec: Mapping[str, Any]) -> bool:
    """Whether a config names a tokenizer: then the door needs the one that lies in the corpus."""
    return any(config.get("tokenizer_name_or_path") is not None for config in configs_of(spec))


def through_the_door(spec: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A complete spec as `check_spec` gives it, of any version of the tasks; OstracaError where it is not.

    Nothing is read by it: of a config that names a file or folder nothing is believed.
    """
    try:
        for entry in spec["datasets"].values():
            paths = [name for name, key in get_task(entry["task"]).keys.items() if key.kind is Path]
            for split in entry["splits"].values():
                named = [name for name in paths if split["config"].get(name) is not None]
                if named:
                    value = shown(split["config"][named[0]])
                    raise ConfigError(
                        f"{named[0]}={value}: a manifest holds what a file says, never its path"
                    )
        checked = check_spec(spec, any_version=True)
    except OstracaError as error:
        raise OstracaError(f"{where}: its spec is refused: {error}") from None
    if canonical_json(checked) != canonical_json(spec):
        raise OstracaError(
            f"{where}: its spec is not one that this release would make; restore the manifest, or install "
            "the release that made it"
        )
    return checked
