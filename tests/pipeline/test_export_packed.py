"""Exports of packed corpora: rows and what is learned as they are, documents begin where they began."""

from __future__ import annotations

import json
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles.exports import MASKED, READERS

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.export import base as export_base
from ostraca.pipeline.export import litdata, mds
from ostraca.pipeline.export.export import export
from ostraca.pipeline.spec.packing import PACK_MODES

SPLITS = (("depo", "train"), ("depo", "test"), ("mano", "train"))
BY_DOCUMENT = ("megatron", "olmo", "datatrove")  # the others have a sample for each row


@pytest.fixture(scope="module", params=PACK_MODES)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with a shared vocabulary; shards of several row groups."""
    root = tmp_path_factory.mktemp("packed") / "corpus"
    splits = {"train": {"examples": 500}, "test": {"examples": 70}}
    datasets = {
        "depo": {"task": "depo", "config": {"N": 20, "K": 4, "M": 5}, "splits": splits},
        "mano": {"task": "mano", "config": {"L": 5}, "splits": {"train": {"examples": 400}}},
    }
    spec = {
        "name": "packed",
        "vocabulary": "shared",
        "shard_tokens": 20_000,
        "row_group_tokens": 5_000,
        "pack": {"length": 150, "mode": request.param},
        "datasets": datasets,
    }
    build(spec, root, engine="local")
    return root


def rows_of(root: Path, dataset: str, split: str) -> dict[str, list[Any]]:
    """The columns of a split, straight from its Parquet files."""
    paths = sorted((root / dataset).glob(f"{split}-*.parquet"))
    columns: dict[str, list[Any]] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pydict()
    columns["loss_mask"] = list(map(list, columns["loss_mask"]))  # in Parquet it is bytes
    return columns


def taken_apart(rows: list[list[int]], starts: list[list[int]]) -> list[list[int]]:
    """The documents in rows, or what there is of them."""
    return [
        row[start:end]
        for row, places in zip(rows, starts, strict=True)
        for start, end in pairwise([*places, len(row)])
    ]


@pytest.mark.parametrize("to", READERS)
def test_rows_masks_and_where_documents_begin(
    to: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((mds, "_SHARD_BYTES"), (litdata, "_CHUNK_BYTES")):
        monkeypatch.setattr(module, name, 9_000)
    monkeypatch.setattr(export_base, "_SPOOL_ITEMS", 7)
    made = export(packed, to, tmp_path / "out")
    totals = json.loads((packed / "manifest.json").read_text())["totals"]
    assert (made["packed_rows"], made["tokens"]) == (totals["rows"], totals["tokens"])
    for dataset, split in SPLITS:
        read = READERS[to](tmp_path / "out" / dataset, split)
        rows = rows_of(packed, dataset, split)
        ids, masks, starts = rows["input_ids"], rows["loss_mask"], rows["starts"]
        assert max(map(len, starts)) > 1
        if to in BY_DOCUMENT:
            ids, masks = taken_apart(ids, starts), taken_apart(masks, starts)
        assert read.documents == ids
        assert read.masks == (masks if to in MASKED else None)
        assert read.starts == (starts if to in ("mds", "litdata") else None)
        assert read.indices == ([0, *accumulate(map(len, starts))] if to == "megatron" else None)


def test_nanogpt(packed: Path, tmp_path: Path) -> None:
    export(packed, "nanogpt", tmp_path / "out")
    for dataset, split, name in (*((*each, "train") for each in SPLITS[::2]), ("depo", "test", "val")):
        found = np.fromfile(tmp_path / "out" / dataset / f"{name}.bin", dtype="<u2").tolist()
        assert found == list(chain(*rows_of(packed, dataset, split)["input_ids"]))


def test_the_command_speaks_of_rows(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", f"path={packed}", "to=mds", f"out={tmp_path}/out"]) == 0
    said = capsys.readouterr().out
    assert said.count(" packed rows ") == 3
    assert " documents " not in said
