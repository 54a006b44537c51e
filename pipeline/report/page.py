"""`report.html`: one file, without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from ...tasks import get_task
from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .charts import GONE, LEARNED, charts_of, has_lost, mixture, shares_of
from .columns import about_task, columns_of, sources
from .figures import (
    Figures,
    cells_of,
    dedup_mode,
    figures_of,
    of_texts,
    split_counts,
    sums_of,
    told_mode,
    total,
    unit_of,
    usage,
)
from .render import render
from .samples import sample_rows

_MOST_CHARACTERS = 40  # of a config's value: a grammar, Capo's sentences


def make_page(
    manifest: Mapping[str, Any],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
) -> str:
    """The whole page."""
    figures, datasets = figures_of(manifest, statistics), list(manifest["spec"]["datasets"])
    every, told = total(figures.values()), told_mode(manifest, figures)
    pack = manifest["spec"].get("pack")
    texts = all(of_texts(manifest, name) for name in datasets)
    table = [
        {"dataset": dataset, "split": split, "cells": cells_of(row, told, bool(pack))}
        for (dataset, split), row in [*figures.items(), (("all", ""), every)]
    ]
    return render(
        "page.html.j2",
        manifest=manifest,
        every=every,
        units="bytes of text" if texts else "tokens",
        told=told,
        dedup=dedup_mode(manifest),
        pack=pack,
        full=every.tokens / max(every.rows * pack["length"], 1) if pack else None,
        mixture=mixture(sums_of(figures)),
        learned=LEARNED,
        gone=GONE,
        table=table,
        datasets=[_dataset(manifest, name, figures, statistics, samples) for name in datasets],
        python=usage(manifest, "."),
        facts=dict(_facts(manifest)),
        sources=sources(manifest["tasks"]),
    )


def _dataset(
    manifest: Mapping[str, Any],
    dataset: str,
    figures: Mapping[SplitId, Figures],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
) -> dict[str, Any]:
    """What `dataset.html.j2` shows of one."""
    spec = manifest["spec"]
    entry, unit = spec["datasets"][dataset], unit_of(manifest, dataset)
    splits = {split: row for (name, split), row in figures.items() if name == dataset}
    counts = split_counts(manifest, statistics, dataset)
    shown = {split: samples[dataset, split] for split in splits if (dataset, split) in samples}
    return {
        "name": dataset,
        "about": about_task(entry["task"]),
        "splits": splits,
        "lost": any(map(has_lost, counts.values())),
        "drawings": [*charts_of(counts, unit), *shares_of(counts, unit)],
        "rows": {split: sample_rows(spec, (dataset, split), batch) for split, batch in shown.items()},
        "task": entry["task"],
        "version": entry["version"],
        "config_splits": _ordered(entry),
        "config": list(_config(entry)),
        "columns": columns_of(manifest, dataset, samples),
    }


def _ordered(entry: Mapping[str, Any]) -> list[str]:
    return sorted(entry["splits"], key=lambda split: (split != "train", split))


def _config(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every key of the config, with its value in each split."""
    configs = [entry["splits"][split]["config"] for split in _ordered(entry)]
    for name, key in get_task(entry["task"]).keys.items():
        if name == "tokenizer_name_or_path" and any(config.get("tokenizer_sha256") for config in configs):
            continue  # where it once was is of one machine; its digest says which
        values = [config.get(name) for config in configs]
        differs = any(value != values[0] for value in values)
        yield {"name": name, "cells": [*map(_value, values)], "differs": differs, "help": key.help}


def _value(value: Any) -> str:
    """A config's value as JSON writes it, cut where it is long."""
    words = value if isinstance(value, str) else json.dumps(value)
    return words if len(words) <= _MOST_CHARACTERS else f"{words[: _MOST_CHARACTERS - 3]}..."


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How the corpus was made, but for what it was made without; its digests."""
    spec = manifest["spec"]
    yield "content digest", manifest["content_digest"]
    for split, entry in manifest["splits"].items():
        yield f"content digest, {split}", entry["content_digest"]
    yield "spec digest", manifest["spec_digest"]
    yield "tasks", ", ".join(f"{task} version {version}" for task, version in manifest["tasks"].items())
    for name in ("seed", "vocabulary", "vocabulary_offset", "format", "compression"):
        if name in spec:
            yield name.replace("_", " "), str(spec[name])
    for name, given in (("packing", spec.get("pack")), ("duplicates", spec.get("dedup"))):
        if given:
            said = {key: value for key, value in given.items() if value not in (None, [], "")}
            yield name, ", ".join(f"{key} {value}" for key, value in said.items())
