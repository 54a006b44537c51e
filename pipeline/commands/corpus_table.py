"""A corpus on the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from ..report.table import screen_table
from ..report.write import statistics_of
from ..store.open import open_folder
from .tables import print_table


def show_corpus(root: str, manifest: Mapping[str, Any]) -> None:
    """The table of a corpus, what became of its duplicates, and its digests."""
    print(f"{manifest['name']} in {root}")
    width = None if sys.stdout.isatty() else 120
    print_table(Console(highlight=False, width=width), screen_table(manifest, statistics_of(root, manifest)))
    for line in _duplicates(manifest):
        print(line)
    print(f"  content digest {manifest['content_digest']}   spec digest {manifest['spec_digest'][:16]}…")
    if open_folder(root).size("report.html") is not None:
        print(f"  report: {root}/report.html   dataset card: {root}/README.md")


def _duplicates(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Lines on every split that deduplication changed."""
    dedup = manifest["spec"]["dedup"]
    for name, counts in (manifest["dedup"] or {}).items():
        asked, redrawn, dropped = (counts[key] for key in ("asked", "redrawn", "dropped"))
        if redrawn:
            yield f"  {name}: {redrawn:,} redrawn, since their first draws were duplicates"
        if dropped and dedup["mode"] == "disjoint":
            yield f"  {name}: {dropped:,} of {asked:,} left out, which are in an eval split too"
        elif dropped and dedup["mode"] == "drop":
            yield f"  {name}: {dropped:,} of {asked:,} dropped as duplicates"
        elif dropped:
            why = f"its config has no more that differ in {dedup['key']}"
            if not counts["exhausted"]:
                why = "long drawing found no more that are new"
            yield f"  {name}: {asked - dropped:,} of {asked:,} asked: {why}"
