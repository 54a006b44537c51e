"""`ostraca export`: a built corpus, or a part of it, in another format."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...tasks.errors import check_path
from ..export.export import export
from .progress import ShardProgress


def run(config: Mapping[str, Any]) -> int:
    """`ostraca export`: see conf/export.yaml."""
    begun = time.perf_counter()
    out = check_path("out", config["out"])
    path = check_path("path", config["path"])
    summary = export(path, config["to"], out, config["name"], config["split"], ShardProgress)
    seconds = time.perf_counter() - begun
    print(f"{summary['corpus']} as {summary['format']} in {out}")
    for name, entry in summary["datasets"].items():
        for split, counts in entry["splits"].items():
            unit = "tokens" if "tokens" in counts else "text_bytes"
            rows = "documents" if "documents" in counts else "packed_rows"
            ids = f" {entry['dtype']}" if entry["dtype"] else ""
            print(
                f"  {name + '/' + split:<24} {counts[rows]:>13,} {rows.replace('_', ' ')} "
                f"{counts[unit]:>17,} {unit.replace('_', ' ')}{ids}"
            )
    size = sum(file["bytes"] for file in summary["files"])
    rate = f", {summary['tokens'] / seconds / 1e6:,.1f} Mtok/s" if summary["tokens"] else ""
    print(f"  {len(summary['files'])} files, {size / 1e6:,.1f} MB in {seconds:.1f} s{rate}")
    if summary["not_carried"]:
        print(f"  not carried: {summary['not_carried']}")
    return 0
