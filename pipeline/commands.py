"""The commands that make and check corpora and what they are made of: a config in, lines of text out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from ..tasks.errors import ConfigError, check_bool, check_path, shown
from ..tasks.paths import local_path
from . import verify as checks
from .again import FromManifest, open_manifest
from .asked import corpus_spec
from .build import build as build_corpus
from .dedup.against import with_against
from .duplicates import find_in_corpus
from .folder import open_folder
from .inspect import show
from .manifest import NAME as MANIFEST
from .manifest import part_of, read_manifest, with_own_tokenizers
from .merge import merge as merge_parts
from .plan import WHOLE, count_examples, count_shards, is_eval
from .progress import ShardProgress
from .report import screen_table
from .reports import statistics_of
from .shard import ShardRecord
from .spec import check_spec
from .storage import write_bytes
from .tables import print_table
from .times import Times
from .version import require_versions
from .words import word


def _ray(config: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(config["ray"], Mapping):
        raise ConfigError(f"ray={shown(config['ray'])} must be a mapping; set ray.address=...")
    return config["ray"]


def _part(value: Any) -> tuple[int, int]:
    """The part of a corpus that part=2/8 means."""
    if value is None:
        return WHOLE
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value))
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"part={shown(value)} must be number/of, e.g. 2/8 for the second of eight parts")
    return int(found[1]), int(found[2])


def build(config: Mapping[str, Any]) -> int:
    """`ostraca build`: see conf/build.yaml."""
    out = check_path("out", config["out"])
    part, report = _part(config["part"]), check_bool("report", config["report"])
    mend = check_bool("mend", config["mend"])
    before = None
    if config["manifest"] is None:
        spec = check_spec(with_own_tokenizers(out, with_against(corpus_spec(config))))
    else:
        before = open_manifest(config)
        spec, part = before.spec, part_of(before.manifest)
    times = Times()
    kept = made = 0
    title = f"build {spec['name']}"
    with ShardProgress(title, count_shards(spec, part), count_examples(spec, part)) as progress:

        def on_shard(record: ShardRecord, found: bool) -> None:
            nonlocal kept, made
            kept += record.tokens if found else 0
            made += 0 if found else record.tokens
            progress.advance(record.count, 0 if found else record.tokens)

        manifest = build_corpus(
            spec,
            out,
            engine=config["engine"],
            workers=config["workers"],
            ray=_ray(config),
            part=part,
            memory=config["dedup"]["memory"],
            report=report,
            mend=mend,
            disk=config["disk"],
            times=times,
            on_shard=on_shard,
            on_step=progress.step,
        )
    making, total = times.rest(), times.total()
    _show_corpus(out, manifest)
    if made == 0:
        print("it was whole already: nothing was made")
    else:
        found = f"; {kept / 1e6:,.1f} M tokens were there already" if kept else ""
        spent = {**times.seconds, "making": making}
        parts = ", ".join(f"{what} {seconds:.1f}" for what, seconds in spent.items())
        print(
            f"made {made / 1e6:,.1f} M tokens in {total:.1f} s ({parts}): "
            f"{made / making / 1e6:.1f} Mtok/s while making{found}"
        )
    return 0 if before is None else _compare(before, manifest)


def _compare(before: FromManifest, manifest: Mapping[str, Any]) -> int:
    """Say whether a corpus that was made again is the one of the manifest; status 1 where it is not."""
    found = before.compare(manifest)
    for line in found.lines:
        print(line)
    return int(not found.same)


def _show_corpus(root: str, manifest: Mapping[str, Any]) -> None:
    """The table of a corpus, what became of its duplicates, and its digests."""
    print(f"{manifest['name']} in {root}")
    width = None if sys.stdout.isatty() else 120
    print_table(Console(highlight=False, width=width), screen_table(manifest, statistics_of(root, manifest)))
    for line in _duplicates(manifest):
        print(line)
    print(f"  content digest {manifest['content_digest']}   spec digest {manifest['spec_digest'][:16]}…")
    if open_folder(root).size("report.html") is not None:
        print(f"  look at it: {root}/report.html   dataset card: {root}/README.md")


def _duplicates(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Lines on every split that deduplication changed."""
    dedup = manifest["spec"]["dedup"]
    for name, counts in (manifest["dedup"] or {}).items():
        asked, redrawn, dropped = (counts[key] for key in ("asked", "redrawn", "dropped"))
        if redrawn:
            yield f"  {name}: {redrawn:,} drawn again, since their first draws were duplicates"
        if dropped and dedup["mode"] == "disjoint":
            yield f"  {name}: {dropped:,} of {asked:,} left out, which are in an eval split too"
        elif dropped and dedup["mode"] == "drop":
            yield f"  {name}: {dropped:,} of {asked:,} dropped as duplicates"
        elif dropped:
            why = f"its config has no more that differ in {dedup['key']}"
            if not counts["exhausted"]:
                why = "long drawing found no more that are new"
            yield f"  {name}: {asked - dropped:,} of {asked:,} asked: {why}"


def verify(config: Mapping[str, Any]) -> int:
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
        advice = f"what is damaged or missing is made again by: ostraca build {' '.join(words)} mend=true"
        if any(problem.startswith(MANIFEST) for problem in problems):
            advice = f"restore {MANIFEST}, or build the corpus again in another folder"
        print(f"{root}: {len(problems)} problem(s); the corpus is not what its manifest says; {advice}")
        return 1
    how = "bytes and content" if content else "every byte"
    rows_are = "examples" if manifest["spec"]["pack"] is None else "packed rows"
    print(
        f"{root}: whole: {totals['shards']:,} shards, {totals['rows']:,} {rows_are}, "
        f"{totals['tokens']:,} tokens, {how} as the manifest says"
    )
    return _look_for_duplicates(root, manifest) if duplicates else 0


def _look_for_duplicates(root: str, manifest: Mapping[str, Any]) -> int:
    """Say how many duplicates a corpus holds; status 1 where it promises to have none."""
    dedup, totals = manifest["spec"]["dedup"], manifest["totals"]
    with ShardProgress("duplicates", totals["shards"], totals["rows"]) as progress:
        found = find_in_corpus(root, on_shard=lambda: progress.advance(0))
    for split, counts in found.items():
        also = "".join(f", {count:,} also in {before}" for before, count in counts.shared.items())
        twice = f"{counts.twice:,} of them twice by {dedup['key']}"
        print(f"  {split}: {counts.examples:,} examples, {twice}{also}")
    if dedup["mode"] == "disjoint":
        broken = any(
            count
            for split, counts in found.items()
            for before, count in counts.shared.items()
            if is_eval(before) and not is_eval(split)
        )
    else:
        broken = dedup["mode"] != "off" and any(
            each.twice or any(each.shared.values()) for each in found.values()
        )
    if broken:
        print(f"{root}: its spec (dedup.mode={dedup['mode']}) promises none of these; build it again")
    return int(broken)


def reproduce(config: Mapping[str, Any]) -> int:
    """`ostraca reproduce`: see conf/reproduce.yaml."""
    root = check_path("path", config["path"])
    manifest = read_manifest(root, parts=True, versions=require_versions)
    rows = {s["path"]: s["rows"] for entry in manifest["splits"].values() for s in entry["shards"]}
    wanted = config["shards"]
    count = min(wanted, len(rows)) if isinstance(wanted, int) else len(rows)
    examples = sum(rows.values()) * count // max(len(rows), 1)
    with ShardProgress("reproduce", count, examples) as progress:
        made, problems = checks.reproduce(
            root,
            shards=wanted,
            seed=config["seed"],
            engine=config["engine"],
            workers=config["workers"],
            ray=_ray(config),
            on_shard=lambda path, same: progress.advance(rows[path]),
        )
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"{root}: {made} of {len(rows)} shards made again from the manifest, content digests equal")
    return 0


def merge(config: Mapping[str, Any]) -> int:
    """`ostraca merge`: see conf/merge.yaml."""
    parts = config["parts"]
    if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
        raise ConfigError(
            f"parts={shown(parts)} must be a list of folders, e.g. 'parts=[corpora/a,corpora/b]'"
        )
    out = check_path("out", config["out"])
    manifest = merge_parts(parts, out, report=check_bool("report", config["report"]))
    _show_corpus(out, manifest)
    return 0


def inspect(config: Mapping[str, Any]) -> int:
    """`ostraca inspect`: see conf/inspect.yaml."""
    show(config)
    return 0


def random_grammar(config: Mapping[str, Any]) -> int:
    """`ostraca random-grammar`: see conf/random-grammar.yaml."""
    from ..tasks.lano import grammar as grammars

    out = local_path(check_path("out", config["out"]))
    if out.exists():
        raise ConfigError(f"out={out}: exists already; choose another file")
    keys = ("depth", "symbols", "rules", "min_length", "max_length", "seed")
    grammar = grammars.random_grammar(**{key: config[key] for key in keys})
    header = "# " + ", ".join(f"{key} {config[key]}" for key in keys)
    write_bytes(out, f"{header}\n{grammar.to_text()}".encode())
    print(
        f"wrote {out}: sentences of {grammar.min_length:,} to {grammar.max_length:,} tokens, "
        f"{grammar.mean_length:,.1f} on average, {grammar.derivation_bits:,.1f} bits each"
    )
    return 0


def train_tokenizer(config: Mapping[str, Any]) -> int:
    """`ostraca train-tokenizer`: see conf/train-tokenizer.yaml."""
    from ..tasks.capo.tokenizer import train_tokenizer_command

    return train_tokenizer_command(config)
