"""`ostraca merge`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, check_bool, check_path, shown
from ..build.merge import merge as merge_parts
from .corpus_table import show_corpus
from .progress import ShardProgress


def run(config: Mapping[str, Any]) -> int:
    """`ostraca merge`: see conf/merge.yaml."""
    parts = config["parts"]
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(
            f"parts={shown(parts)} must be a list of folders, e.g. 'parts=[corpora/a,corpora/b]'"
        )
    out = check_path("out", config["out"])
    manifest = merge_parts(parts, out, report=check_bool("report", config["report"]), progress=ShardProgress)
    show_corpus(out, manifest)
    return 0
