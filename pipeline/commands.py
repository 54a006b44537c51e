"""The commands that make and check corpora and what they are made of: a config in, lines of text out."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import verify as checks
from pipeline.build import build as build_corpus
from pipeline.dedup.against import with_against
from pipeline.inspect import show
from pipeline.manifest import read_manifest, with_own_tokenizers
from pipeline.merge import merge as merge_parts
from pipeline.plan import WHOLE, count_examples, count_shards
from pipeline.progress import ShardProgress
from pipeline.shard import ShardRecord
from pipeline.spec import check_spec
from pipeline.storage import write_bytes
from tasks.errors import ConfigError, check_bool, check_path, shown


def corpus_spec(config: Mapping[str, Any]) -> dict[str, Any]:
    """The spec that a config of `build` asks for (see conf/build.yaml), not yet checked."""
    corpus, dataset = config.get("corpus"), config.get("dataset")
    if (corpus is None) == (dataset is None):
        raise ConfigError(
            "build: say what to build with either corpus=NAME or dataset=NAME, e.g. corpus=depo1"
        )
    if corpus is None:
        assert dataset is not None
        if not isinstance(dataset, Mapping) or not isinstance(dataset.get("name"), str):
            raise ConfigError(f"build: dataset={shown(dataset)} must be a file of conf/dataset")
        corpus = {"name": dataset["name"], "datasets": {dataset["name"]: dataset}}
    if not isinstance(corpus, Mapping) or not isinstance(corpus.get("datasets"), Mapping):
        raise ConfigError(f"build: corpus={shown(corpus)} has no datasets; name a file of conf/corpus")
    if "seed" in corpus:
        raise ConfigError(f"build: corpus.seed={shown(corpus['seed'])}: set seed=... instead")
    spec: dict[str, Any] = copy.deepcopy(dict(corpus))
    spec["seed"] = config["seed"]
    for key in ("vocabulary", "format", "compression", "shard_tokens", "row_group_tokens"):
        if config[key] is not None:
            spec[key] = config[key]
    for key in ("pack", "dedup"):
        spec[key] = _merged(spec.get(key), config[key], key)
    for name, entry in spec["datasets"].items():
        if not isinstance(entry, Mapping):
            raise ConfigError(f"build: dataset {name}={shown(entry)} must be a mapping, as in conf/dataset")
        splits = entry.get("splits", config["splits"])
        if not isinstance(splits, Mapping):
            raise ConfigError(f"build: splits={shown(splits)} must be a mapping, as in conf/splits")
        splits = copy.deepcopy(dict(splits))
        for key, other in (("examples", "tokens"), ("tokens", "examples")):
            if config[key] is not None:
                if not isinstance(splits.get("train"), Mapping):
                    raise ConfigError(f"build: {key}= is for the split train, and {name} has none")
                splits["train"] = {**splits["train"], other: config[other], key: config[key]}
        spec["datasets"][name] = {**entry, "splits": splits}
    return spec


def _merged(own: Any, asked: Any, key: str) -> Any:
    """A corpus's own settings with those asked for over them; None where there are none."""
    if not isinstance(asked, Mapping) or not isinstance(own, Mapping | None):
        raise ConfigError(f"build: {key}={shown(asked)} must be a mapping; set {key}.{{...}}=...")
    given = {name: value for name, value in asked.items() if value is not None and name != "memory"}
    found = {**(own or {}), **given}
    return found or None


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
    spec = check_spec(with_own_tokenizers(out, with_against(corpus_spec(config))))
    begun = time.perf_counter()
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
            on_shard=on_shard,
            on_step=progress.step,
        )
    seconds = time.perf_counter() - begun
    print(_summary(out, manifest))
    if made == 0:
        print("it was whole already: nothing was made")
    else:
        found = f" ({kept / 1e6:,.1f} M tokens were there already)" if kept else ""
        print(f"made {made / 1e6:,.1f} M tokens in {seconds:.1f} s, {made / seconds / 1e6:.1f} Mtok/s{found}")
    return 0


def _summary(root: str, manifest: Mapping[str, Any]) -> str:
    lines = [f"{manifest['name']} in {root}"]
    for name, entry in manifest["spec"]["datasets"].items():
        for split in entry["splits"]:
            shards = [s for s in manifest["splits"][split]["shards"] if s["dataset"] == name]
            rows, tokens, size = (sum(s[key] for s in shards) for key in ("rows", "tokens", "bytes"))
            lines.append(
                f"  {name + '/' + split:<24} {rows:>13,} examples {tokens:>17,} tokens "
                f"{len(shards):>6,} shards {size / 1e6:>10,.1f} MB"
            )
            if manifest["dedup"] is not None:
                lines += _of_dedup(manifest, f"{name}/{split}")
    lines.append(
        f"  content digest {manifest['content_digest']}   spec digest {manifest['spec_digest'][:16]}…"
    )
    return "\n".join(lines)


def _of_dedup(manifest: Mapping[str, Any], part: str) -> list[str]:
    """What deduplication did to a split, where it did anything."""
    counts, dedup = manifest["dedup"][part], manifest["spec"]["dedup"]
    asked, redrawn, dropped = (counts[key] for key in ("asked", "redrawn", "dropped"))
    lines = [f"    {redrawn:,} of these drawn again: their first draws were duplicates"] if redrawn else []
    if dropped and dedup["mode"] == "drop":
        lines.append(f"    {dropped:,} of {asked:,} dropped as duplicates")
    elif dropped:
        why = f"its config has no more that differ in {dedup['key']}"
        if not counts["exhausted"]:
            why = "long drawing found no more that are new"
        lines.append(f"    {asked - dropped:,} of {asked:,} asked: {why}")
    return lines


def verify(config: Mapping[str, Any]) -> int:
    """`ostraca verify`: see conf/verify.yaml."""
    root = check_path("path", config["path"])
    content = check_bool("content", config["content"])
    manifest = read_manifest(root, parts=True)
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
        print(
            f"{root}: {len(problems)} problem(s); the corpus is not what its manifest says; "
            "remove the files named and run the same `ostraca build` again: it makes what is missing"
        )
        return 1
    how = "bytes and content" if content else "every byte"
    print(
        f"{root}: whole: {totals['shards']:,} shards, {totals['rows']:,} examples, "
        f"{totals['tokens']:,} tokens, {how} as the manifest says"
    )
    return 0


def reproduce(config: Mapping[str, Any]) -> int:
    """`ostraca reproduce`: see conf/reproduce.yaml."""
    root = check_path("path", config["path"])
    manifest = read_manifest(root, parts=True)
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
    print(_summary(out, manifest))
    return 0


def inspect(config: Mapping[str, Any]) -> int:
    """`ostraca inspect`: see conf/inspect.yaml."""
    show(config)
    return 0


def random_grammar(config: Mapping[str, Any]) -> int:
    """`ostraca random-grammar`: see conf/random-grammar.yaml."""
    from tasks.lano import grammar as grammars

    out = Path(check_path("out", config["out"]))
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
    from tasks.capo.tokenizer import train_tokenizer_command

    return train_tokenizer_command(config)
