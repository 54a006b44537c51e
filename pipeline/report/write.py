"""What a corpus tells of itself: a table on the screen, a dataset card, Croissant, a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...tasks.errors import OstracaError
from ..corpus.manifest import spec_in
from ..corpus.reader import split_reader
from ..corpus.split import Split, SplitId
from ..corpus.split_statistics import Counts, Statistics
from ..corpus.totals import Totals, read_totals
from ..store.folder import Folder, write_bytes, write_json
from ..store.open import open_folder
from .card import make_card
from .croissant import make_croissant
from .figures import keys_of
from .page import make_page
from .pictures import draw_pictures

_SAMPLES = 3  # rows of each split that are read back from the shards
FILES = ("README.md", "croissant.json", "report.html")  # and report/*.png, where matplotlib is there


def write_report(
    folder: Folder,
    manifest: Mapping[str, Any],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
) -> list[str]:
    """Write all files of the report into a corpus's folder; returns their paths, sorted.

    statistics, samples: by (dataset, split); a sample is a few of the split's rows, just as its shards have
    them. The same manifest, statistics and samples give the same bytes: nothing is of the day or the machine.
    """
    drawn = dict(draw_pictures(manifest, statistics))
    for path, content in drawn.items():
        write_bytes(folder, path, content)
    write_bytes(folder, "README.md", make_card(manifest, statistics, samples, list(drawn)).encode())
    write_json(folder, "croissant.json", make_croissant(manifest, samples))
    write_bytes(folder, "report.html", make_page(manifest, statistics, samples).encode())
    return sorted([*FILES, *drawn])


def write_reports(folder: Folder, manifest: Mapping[str, Any], totals: Totals) -> list[str]:
    """Write the dataset card, croissant.json, report.html and the pictures; returns their paths."""
    spec = spec_in(folder, manifest)
    samples: dict[tuple[str, str], pa.RecordBatch] = {}
    for dataset, split in keys_of(manifest):
        batches = list(split_reader(folder, manifest, Split.of(spec, dataset, split)).rows_from(0, _SAMPLES))
        if batches:
            samples[dataset, split] = pa.concat_batches(batches)
    manifest = {**manifest, "spec": spec}  # so that no tokenizer from elsewhere is asked
    return write_report(folder, manifest, told_of(manifest, totals), samples)


def statistics_of(root: Path | str, manifest: Mapping[str, Any]) -> dict[tuple[str, str], Counts]:
    """The statistics that a corpus has of itself; empty ones where its file is gone or another."""
    try:
        totals = read_totals(open_folder(root), manifest)
    except OstracaError:
        totals = Totals()
    return told_of(manifest, totals)


def told_of(manifest: Mapping[str, Any], totals: Totals) -> dict[tuple[str, str], Counts]:
    """The statistics of all splits, and how many of their examples were redrawn."""
    found = {part: Counts(before=Statistics(), after=Statistics()) for part in keys_of(manifest)}
    for part, counts in totals.items():
        dedup = (manifest["dedup"] or {}).get("/".join(part), {"redrawn": 0})
        found[part] = replace(counts, redrawn=dedup["redrawn"])
    return found
