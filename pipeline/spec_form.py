"""Whether what stands in a manifest is a complete spec, before anything in it is believed."""

from __future__ import annotations

from typing import Any

from pipeline.dedup.settings import check_dedup
from pipeline.pack import check_pack
from pipeline.plan import SUFFIXES, count_shards
from pipeline.spec import MAX_SHARDS, VOCABULARIES, is_dataset_name, is_name
from tasks.errors import ConfigError
from tasks.examples import check_seed, check_split

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
            and (spec["format"], spec["compression"]) in SUFFIXES
            and check_pack(spec["pack"], "") == spec["pack"]
            and check_dedup(spec["dedup"], "") == spec["dedup"]
            and len(entries) > 0
            and all(is_dataset_name(name) for name, _ in entries)
            and all((type(e["task"]), type(e["version"])) == (str, int) for _, e in entries)
            and all(len(entry["splits"]) > 0 for _, entry in entries)
            and all(type(each[key]) is int and each[key] > 0 for _, each in splits for key in _SIZES)
            and all(isinstance(each["config"], dict) for _, each in splits)
            and count_shards(spec) <= MAX_SHARDS
        )
    except (ConfigError, KeyError, TypeError, AttributeError):
        return False
