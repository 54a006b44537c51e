"""The report of a corpus that has just been built: what it takes is read back from the shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.folder import Folder
from pipeline.manifest import spec_in
from pipeline.readers import split_reader
from pipeline.report import write_report
from pipeline.totals import Totals

_SAMPLES = 3  # rows of each split


def write_reports(folder: Folder, manifest: Mapping[str, Any], totals: Totals) -> list[str]:
    """Write the dataset card, croissant.json, report.html and the pictures; returns their paths."""
    spec = spec_in(folder, manifest)
    samples: dict[tuple[str, str], pa.RecordBatch] = {}
    for dataset, split in totals:
        batches = list(split_reader(folder, spec, manifest, dataset, split).rows_from(0, _SAMPLES))
        if batches:
            samples[dataset, split] = pa.concat_batches(batches)
    return write_report(folder, manifest, totals, samples)
