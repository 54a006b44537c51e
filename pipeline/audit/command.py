"""`ostraca audit`: a config in, a table and a verdict on the screen."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from rich.console import Console

from ...tasks import get_task
from ...tasks.base import Task
from ...tasks.errors import ConfigError, check_bool, check_integer, check_path, shown
from ...tasks.examples import MAX_INDEX, check_seed, check_split, complete_config, generate_batches
from ..asked import dataset_name
from ..engine import available_cores
from ..folder import open_folder
from ..manifest import read_manifest, spec_in
from ..manifest_checks import require_records
from ..pack import CUTTING
from ..readers import split_reader
from ..tables import print_table
from .judge import LEVEL, Finding, judge
from .page import Told, add_to_report
from .show import table_of, verdict
from .streams import Sample, compare, count_made, rows_of_split, sample_of
from .tally import KEPT, Tally

_MOST_EXAMPLES = 10**9


def run(config: Mapping[str, Any]) -> int:
    """`ostraca audit`: see conf/audit.yaml."""
    most = check_integer("audit: examples", config["examples"], 1, min(_MOST_EXAMPLES, MAX_INDEX))
    as_json = check_bool("audit: json", config["json"])
    workers = available_cores() if config["workers"] is None else config["workers"]
    workers = check_integer("audit: workers", workers, 1)
    audits = _made(config, most, workers) if config["path"] is None else _of_corpus(config, most)
    in_report = check_bool("audit: report", config["report"])
    if in_report and config["path"] is None:
        raise ConfigError("audit: report=true adds to a corpus's report; say which with path=DIR")
    documents, off, told = [], False, []
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for title, examples, findings, note, seconds in audits:
        off = off or any(each.off for each in findings)
        told.append(Told(title=title.rpartition(": ")[2], examples=examples, note=note, findings=findings))
        if as_json:
            documents.append(
                {
                    "name": title,
                    "examples": examples,
                    "level": LEVEL,
                    "off": any(each.off for each in findings),
                    "note": note,
                    "findings": [each.plain() for each in findings],
                }
            )
            continue
        print_table(console, table_of(findings))
        for line in (note, f"{title}, {examples:,} examples, {seconds:.1f} s: {verdict(findings)}"):
            if line:
                print(line)
    if in_report:
        add_to_report(open_folder(check_path("path", config["path"])), told)
    if as_json:
        print(json.dumps({"off": off, "audits": documents}, indent=1, ensure_ascii=False))
    return int(off)


Audited = tuple[str, int, list[Finding], str, float]


def _made(config: Mapping[str, Any], most: int, workers: int) -> Iterator[Audited]:
    begun = time.perf_counter()
    entry = config["dataset"]
    if not isinstance(entry, Mapping) or "task" not in entry:
        raise ConfigError(f"audit: dataset={shown(entry)} must be a file of conf/dataset")
    task = _declared(get_task(entry["task"]))
    seed, split = check_seed(config["seed"]), check_split(config["split"])
    given = dict(entry["config"] or {})
    if check_bool("audit: test_form", config["test_form"]):
        given |= task.test_form
    complete = complete_config(task, given, seed)
    if task.count is not None:
        most = min(most, task.count(complete)[0])
    tally = count_made(task, complete, seed, split, most, workers)
    findings = judge(tally, _other_streams(task, complete, seed, split, most))
    form = ", test form" if config["test_form"] else ""
    name = f"{dataset_name(config)}{form}, seed {seed}, {split}"
    yield name, tally.examples, findings, "", time.perf_counter() - begun


def _other_streams(task: Task, config: Mapping[str, Any], seed: int, split: str, most: int) -> list[Finding]:
    """Against the next seed and against another split."""
    assert task.audit is not None
    audit, most = task.audit(config), min(most, KEPT)
    other = "test" if split != "test" else "train"
    next_seed = seed + 1 if seed + 1 < 2**63 else seed - 1
    streams = {
        label: sample_of(label, audit, number, generate_batches(task, config, each, name, 0, most), most)
        for number, (label, each, name) in enumerate(
            ((split, seed, split), (f"seed {next_seed}", next_seed, split), (other, seed, other))
        )
    }
    own, by_seed, by_split = streams.values()
    return compare("seeds", audit, own, by_seed) + compare("splits", audit, own, by_split)


def _of_corpus(config: Mapping[str, Any], most: int) -> Iterator[Audited]:
    set_too = [word for word in config.get("overrides", ()) if word.startswith("dataset")]
    if set_too:
        raise ConfigError(f"{set_too[0]}: the corpus decides its datasets; leave path or this out")
    root = check_path("path", config["path"])
    manifest = read_manifest(root)
    require_records(root, manifest)
    spec = spec_in(root, manifest)
    for dataset, held in spec["datasets"].items():
        task = _declared(get_task(held["task"]))
        samples: dict[str, Sample] = {}
        assert task.audit is not None
        tallies: dict[str, Tally] = {}
        cut: dict[str, Counter[str]] = {}
        times = {}
        for split, entry in held["splits"].items():
            begun = time.perf_counter()
            audit = task.audit(entry["config"])
            tally = Tally(audit=audit)
            reader = split_reader(root, spec, manifest, dataset, split)
            cut[split] = Counter()
            for batch in rows_of_split(reader, task, most, cut[split]):
                # Rows of a packed corpus may stand in any order; neighbours are told by their index.
                batch = batch.sort_by("index")
                tally.add(batch.column("index").to_numpy(), audit.tables(batch))
            samples[split] = sample_of(split, audit, len(samples), rows_of_split(reader, task, KEPT))
            tallies[split] = tally
            times[split] = time.perf_counter() - begun
        between: dict[str, list[Finding]] = {split: [] for split in held["splits"]}
        for one, other in combinations(held["splits"], 2):
            first, second = (task.audit(held["splits"][each]["config"]) for each in (one, other))
            if first.columns == second.columns:
                between[one] += compare("splits", first, samples[one], samples[other])
        for split, tally in tallies.items():
            kept, note = _kept(manifest, dataset, split, cut[split])
            findings = judge(tally, between[split], kept)
            yield f"{root}: {dataset}, {split}", tally.examples, findings, note, times[split]


def _kept(manifest: Mapping[str, Any], dataset: str, split: str, cut: Mapping[str, int]) -> tuple[float, str]:
    """The share of a split's examples that its settings left as they were drawn, and a line that says so."""
    mode = (manifest["spec"]["pack"] or {}).get("mode")
    counts = (manifest["dedup"] or {}).get(f"{dataset}/{split}", {})
    changed = counts.get("redrawn", 0) + counts.get("dropped", 0)
    kept, why = 1.0 - changed / max(counts.get("asked", 1), 1), []
    if changed:
        why.append(f"{changed:,} of {counts['asked']:,} examples were left out or drawn again")
    if mode in CUTTING and cut.get("begun"):
        kept *= cut["whole"] / cut["begun"]
        why.append(f"pack.mode={mode} cuts examples, {cut['whole']:,} of {cut['begun']:,} are whole")
    if kept >= 1:
        return 1.0, ""
    if kept <= 0:
        return 0.0, "; ".join(why)
    bits = -math.log2(kept)
    return kept, f"{'; '.join(why)}: what is up to {bits:.2g} bits off may be due to that and is not judged"


def _declared(task: Task) -> Task:
    if task.audit is None:
        raise ConfigError(f"audit: {task.name} has no declarations to be audited against")
    return task
