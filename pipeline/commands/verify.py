"""`ostraca verify`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.errors import check_bool, check_path
from ..check import verify as checks
from ..check.duplicates import find_in_corpus
from ..corpus.manifest import NAME as MANIFEST
from ..corpus.manifest import read_manifest
from ..spec.shards import is_eval
from ..spec.words import word
from ..store.open import open_folder
from .progress import ShardProgress


def run(config: Mapping[str, Any]) -> int:
    """`ostraca verify`: see conf/verify.yaml."""
    root = check_path("path", config["path"])
    content = check_bool("content", config["content"])
    duplicates = check_bool("duplicates", config["duplicates"])
    manifest = read_manifest(root, parts=not duplicates)
    totals = manifest["totals"]
    rows = {s["path"]: s["rows"] for entry in manifest["splits"].values() for s in entry["shards"]}
    with ShardProgress("verify", totals["shards"], totals["rows"]) as progress:
        problems = checks.verify(
            root,
            content=content,
            on_shard=lambda path: progress.advance(rows[path]),
        )
    if problems:
        for problem in problems:
            print(problem)
        folder = str(open_folder(root))
        words = (word("manifest", f"{folder}/{MANIFEST}"), word("out", folder))
        advice = f"what is damaged or missing is rebuilt by: ostraca build {' '.join(words)} mend=true"
        if any(problem.startswith(MANIFEST) for problem in problems):
            advice = f"restore {MANIFEST}, or build the corpus again in another folder"
        print(f"{root}: {len(problems)} problem(s); the corpus is not what its manifest says; {advice}")
        return 1
    how = "bytes and content" if content else "every byte"
    rows_are = "examples" if manifest["spec"]["pack"] is None else "packed rows"
    print(
        f"{root}: OK: {totals['shards']:,} shards, {totals['rows']:,} {rows_are}, "
        f"{totals['tokens']:,} tokens, {how} as the manifest says"
    )
    return _look_for_duplicates(root, manifest) if duplicates else 0


def _look_for_duplicates(root: str, manifest: Mapping[str, Any]) -> int:
    """Say how many duplicates a corpus holds; status 1 where it promises to have none."""
    dedup, totals = manifest["spec"]["dedup"], manifest["totals"]
    with ShardProgress("duplicates", totals["shards"], totals["rows"]) as progress:
        duplicates = find_in_corpus(root, on_shard=lambda: progress.advance(0))
    for split, counts in duplicates.items():
        also = "".join(f", {count:,} also in {before}" for before, count in counts.shared.items())
        twice = f"{counts.twice:,} of them twice by {dedup['key']}"
        print(f"  {split}: {counts.examples:,} examples, {twice}{also}")
    if dedup["mode"] == "disjoint":
        broken = any(
            count
            for split, counts in duplicates.items()
            for before, count in counts.shared.items()
            if is_eval(before) and not is_eval(split)
        )
    else:
        broken = dedup["mode"] != "off" and any(
            counts.twice or any(counts.shared.values()) for counts in duplicates.values()
        )
    if broken:
        print(f"{root}: its spec (dedup.mode={dedup['mode']}) promises none of these; build it again")
    return int(broken)
