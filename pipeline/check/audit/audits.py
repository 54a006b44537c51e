"""Examples of a preset, or of a corpus, held to their laws and to one another."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from ....tasks import get_task
from ....tasks.base import Task
from ....tasks.errors import ConfigError, check_bool, check_path, shown
from ....tasks.examples import check_seed, check_split, complete_config, generate_batches
from ...corpus.manifest import read_manifest, spec_in
from ...corpus.manifest_checks import require_records
from ...corpus.reader import split_reader
from ...corpus.split import Split
from ...spec.given import dataset_name
from ...spec.packing import CUTTING
from .judge import Finding, judge
from .streams import Sample, compare, count_made, rows_of_split, sample_of
from .tally import KEPT, Tally

MOST_EXAMPLES = 10**9


Audited = tuple[str, int, list[Finding], str, float]


def audit_made(config: Mapping[str, Any], most: int, workers: int) -> Iterator[Audited]:
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
        label: sample_of(label, audit, number, generate_batches(task, config, key, name, 0, most), most)
        for number, (label, key, name) in enumerate(
            ((split, seed, split), (f"seed {next_seed}", next_seed, split), (other, seed, other))
        )
    }
    own, by_seed, by_split = streams.values()
    return compare("seeds", audit, own, by_seed) + compare("splits", audit, own, by_split)


def audit_corpus(config: Mapping[str, Any], most: int) -> Iterator[Audited]:
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
            reader = split_reader(root, manifest, Split.of(spec, dataset, split))
            cut[split] = Counter()
            for batch in rows_of_split(reader, most, cut[split]):
                # Rows of a packed corpus may stand in any order; neighbours are told by their index.
                batch = batch.sort_by("index")
                tally.add(batch.column("index").to_numpy(), audit.tables(batch))
            samples[split] = sample_of(split, audit, len(samples), rows_of_split(reader, KEPT))
            tallies[split] = tally
            times[split] = time.perf_counter() - begun
        between: dict[str, list[Finding]] = {split: [] for split in held["splits"]}
        for one, other in combinations(held["splits"], 2):
            first, second = (task.audit(held["splits"][side]["config"]) for side in (one, other))
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
        why.append(f"{changed:,} of {counts['asked']:,} examples were left out or redrawn")
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
        raise ConfigError(f"audit: {task.name} declares no laws to audit against")
    return task
