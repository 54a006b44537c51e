"""What a corpus tells of itself: a table on the screen, a dataset card, Croissant, a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ..corpus.split_statistics import Counts
from ..store.folder import Folder, write_bytes, write_json
from .card import make_card
from .croissant import make_croissant
from .figures import Key
from .page import make_page
from .pictures import draw_pictures

FILES = ("README.md", "croissant.json", "report.html")  # and report/*.png, where matplotlib is there


def write_report(
    folder: Folder,
    manifest: Mapping[str, Any],
    statistics: Mapping[Key, Counts],
    samples: Mapping[Key, pa.RecordBatch],
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
