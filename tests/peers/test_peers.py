"""Exports, read by the libraries of the projects that they are for, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import environments
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostraca.pipeline.build.build import build
from ostraca.pipeline.export import litdata, mds
from ostraca.pipeline.export.export import export

pytestmark = pytest.mark.peers

BLOCK = 64
SPLITS = (("depo", "train"), ("depo", "test"), ("mano", "train"))
# Small, so that a split has several chunks.
CHUNK_BYTES = 50_000


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mds, "_SHARD_BYTES", CHUNK_BYTES)
        patch.setattr(litdata, "_CHUNK_BYTES", CHUNK_BYTES)
        yield


@pytest.fixture(scope="module", params=[None, 65_536], ids=["16 bits", "32 bits"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depo with documents below and over 255 ids, some of them over 65,535 on request; Mano."""
    root = tmp_path_factory.mktemp("corpus") / "mixed"
    depo = {"N": 40, "K": 4, "M": 5} | ({} if request.param is None else {"bos_token_id": request.param})
    splits = {"train": {"examples": 700}, "test": {"examples": 60, "config": {"qa": True}}}
    datasets = {
        "depo": {"task": "depo", "config": depo, "splits": splits},
        "mano": {"task": "mano", "config": {"L": 5}, "splits": {"train": {"examples": 500}}},
    }
    sizes = {"shard_tokens": 30_000, "row_group_tokens": 7_000}
    build({"name": "mixed", **sizes, "datasets": datasets}, root, engine="local")
    return root


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of several documents, the last and the first often cut."""
    root = tmp_path_factory.mktemp("packed") / "mixed"
    spec = {
        "name": "mixed",
        "shard_tokens": 30_000,
        "row_group_tokens": 7_000,
        "pack": {"length": 300, "mode": "concat"},
        "datasets": {"mano": {"task": "mano", "config": {"L": 5}, "splits": {"train": {"examples": 3000}}}},
    }
    build(spec, root, engine="local")
    return root


def starts_of(root: Path) -> list[list[int]]:
    """Where documents begin in packed rows."""
    paths = sorted((root / "mano").glob("train-*.parquet"))
    starts: list[list[int]] = pa.concat_tables([pq.read_table(path) for path in paths])["starts"].to_pylist()
    assert max(map(len, starts)) > 2
    return starts


def rows_of(root: Path, dataset: str, split: str) -> tuple[list[list[int]], list[list[int]]]:
    """The ids and masks of a split, straight from its Parquet files."""
    paths = sorted((root / dataset).glob(f"{split}-*.parquet"))
    table = pa.concat_tables([pq.read_table(path, columns=["input_ids", "loss_mask"]) for path in paths])
    return table["input_ids"].to_pylist(), list(map(list, table["loss_mask"].to_pylist()))


def dtype_of(made: dict[str, Any], dataset: str) -> str:
    return str(made["datasets"][dataset]["dtype"])


def read(environment: str, script: str, source: Path, work: Path, *more: str) -> dict[str, Any]:
    """What a reader finds in `source`; what it writes again is in work/again."""
    assert environments.is_ready(environment), f"run `make peers`: .venv-peers/{environment} is not ready"
    work.mkdir()
    home = {**os.environ, "HOME": str(work), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        home.pop(name, None)
    paths = [str(source), str(work / "again"), str(work / "out.json")]
    done = subprocess.run(
        [str(environments.python(environment)), str(environments.HERE / script), *paths, *more],
        env=home,
        cwd=work,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((work / "out.json").read_text())
    return found


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_mosaicml_streaming_reads_mds_and_writes_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    export(corpus, "mds", tmp_path / "out")
    shards = 0
    for dataset, split in SPLITS:
        folder = tmp_path / "out" / dataset / split
        found = read("mosaic", "read_mosaic.py", folder, tmp_path / f"{dataset}-{split}")
        documents, masks = rows_of(corpus, dataset, split)
        assert found["documents"] == documents
        assert found["masks"] == masks
        assert found["dtypes"] == ["int32 uint8"]
        assert sorted(found["epoch"]) == sorted(documents)
        assert bytes_of(tmp_path / f"{dataset}-{split}" / "again") == bytes_of(folder)
        shards += len(list(folder.glob("*.mds")))
    assert shards > 6


def test_litdata_reads_items_and_writes_the_same_chunks(corpus: Path, tmp_path: Path) -> None:
    made = export(corpus, "litdata", tmp_path / "out")
    for dataset, split in SPLITS:
        folder = tmp_path / "out" / dataset / split
        found = read("readers", "read_litdata.py", folder, tmp_path / f"{dataset}-{split}")
        documents, masks = rows_of(corpus, dataset, split)
        assert found["documents"] == documents
        assert found["masks"] == masks
        assert found["dtypes"] == [f"{dtype_of(made, dataset)} uint8"]
        assert found["last"] == documents[-1]
        check_chunks(folder, tmp_path / f"{dataset}-{split}" / "again")


def test_litgpts_loader_reads_ids_and_litdata_writes_the_same_chunks(corpus: Path, tmp_path: Path) -> None:
    made = export(corpus, "litgpt", tmp_path / "out")
    for dataset, split in SPLITS:
        folder = tmp_path / "out" / dataset / split
        documents, _ = rows_of(corpus, dataset, split)
        lengths = json.dumps(list(map(len, documents)))
        found = read(
            "readers", "read_litgpt.py", folder, tmp_path / f"{dataset}-{split}", str(BLOCK), lengths
        )
        flat = list(chain(*documents))
        assert found["flat"] == flat
        assert found["dtype"] == f"torch.{dtype_of(made, dataset)}"
        blocks, start = [], 0
        for each in json.loads((folder / "index.json").read_text())["chunks"]:
            ids = flat[start : start + each["dim"]]
            blocks += [ids[at : at + BLOCK] for at in range(0, len(ids) - BLOCK + 1, BLOCK)]
            start += each["dim"]
        assert start == len(flat)
        assert found["blocks"] == blocks
        assert sorted(found["batches"]) == sorted(blocks)
        check_chunks(folder, tmp_path / f"{dataset}-{split}" / "again")


def check_chunks(ours: Path, theirs: Path) -> None:
    """The same chunks; of the index, the same chunks and everything that ours says of the items."""
    mine, other = bytes_of(ours), bytes_of(theirs)
    index, again = (json.loads(files.pop("index.json")) for files in (mine, other))
    assert mine == other
    assert index["chunks"] == again["chunks"]
    assert index["config"].items() <= again["config"].items()
    assert type(index["updated_at"]) is type(again["updated_at"])


def test_megatron_core_reads_documents_and_writes_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    made = export(corpus, "megatron", tmp_path / "out")
    for dataset, split in SPLITS:
        stem = tmp_path / "out" / dataset / split
        found = read("readers", "read_megatron.py", stem, tmp_path / f"{dataset}-{split}")
        documents, _ = rows_of(corpus, dataset, split)
        assert found["documents"] == documents
        assert found["dtypes"] == [dtype_of(made, dataset)]
        assert found["lengths"] == list(map(len, documents))
        assert found["document_indices"] == list(range(len(documents) + 1))
        again = bytes_of(tmp_path / f"{dataset}-{split}" / "again")
        assert again == {f"data.{kind}": stem.with_suffix(f".{kind}").read_bytes() for kind in ("bin", "idx")}


def test_datatrove_reads_windows_and_positions_and_writes_the_same_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    export(corpus, "datatrove", tmp_path / "out")
    for dataset, split in SPLITS:
        path = tmp_path / "out" / dataset / f"{split}.ds"
        found = read("readers", "read_datatrove.py", path, tmp_path / f"{dataset}-{split}", str(BLOCK))
        documents, masks = rows_of(corpus, dataset, split)
        flat = list(chain(*documents))
        assert found["flat"] == flat
        places = list(chain(*(range(len(document)) for document in documents)))
        starts = range(0, len(flat) - BLOCK + 1, BLOCK)
        assert found["windows"] == [flat[start : start + BLOCK] for start in starts]
        # A document that began before its window is counted from the window's first id.
        assert found["positions"] == [
            [min(place, at) for at, place in enumerate(places[start : start + BLOCK])] for start in starts
        ]
        again = bytes_of(tmp_path / f"{dataset}-{split}" / "again")
        assert again.keys() == {f"{split}.ds{kind}" for kind in ("", ".index", ".loss", ".metadata")}
        assert again == {name: (path.parent / name).read_bytes() for name in again}
        assert again[f"{split}.ds.loss"] == bytes(chain(*masks))


def test_olmo_core_reads_documents_and_masks_and_packs_them(corpus: Path, tmp_path: Path) -> None:
    made = export(corpus, "olmo", tmp_path / "out")
    for dataset, split in SPLITS:
        folder = tmp_path / "out" / dataset / split
        work = tmp_path / f"{dataset}-{split}"
        found = read("readers", "read_olmo.py", folder, work, dtype_of(made, dataset))
        documents, masks = rows_of(corpus, dataset, split)
        assert found["documents"] == documents
        assert found["masks"] == masks
        assert found["instances"] > 1
        packed = [each for each in found["packed"] if any(each[1])]  # padding is not learned
        assert sorted(packed) == sorted(map(list, zip(documents, masks, strict=True)))


@pytest.mark.parametrize(("to", "environment"), [("mds", "mosaic"), ("litdata", "readers")])
def test_packed_rows_and_where_documents_begin(
    packed: Path, tmp_path: Path, to: str, environment: str
) -> None:
    export(packed, to, tmp_path / "out")
    folder = tmp_path / "out/mano/train"
    script = {"mds": "read_mosaic.py", "litdata": "read_litdata.py"}[to]
    found = read(environment, script, folder, tmp_path / "work")
    rows, masks = rows_of(packed, "mano", "train")
    assert (found["documents"], found["masks"], found["starts"]) == (rows, masks, starts_of(packed))
    if to == "mds":
        assert bytes_of(tmp_path / "work/again") == bytes_of(folder)
    else:
        check_chunks(folder, tmp_path / "work/again")


def test_megatron_core_finds_documents_in_packed_rows(packed: Path, tmp_path: Path) -> None:
    """A sequence is a document, or a piece of one; Megatron's document is a row."""
    export(packed, "megatron", tmp_path / "out")
    stem = tmp_path / "out/mano/train"
    found = read("readers", "read_megatron.py", stem, tmp_path / "work")
    rows, _ = rows_of(packed, "mano", "train")
    starts = starts_of(packed)
    assert found["documents"] == [
        row[start:end]
        for row, places in zip(rows, starts, strict=True)
        for start, end in pairwise([*places, len(row)])
    ]
    assert found["document_indices"] == [0, *accumulate(map(len, starts))]
    again = bytes_of(tmp_path / "work/again")
    assert again == {f"data.{kind}": stem.with_suffix(f".{kind}").read_bytes() for kind in ("bin", "idx")}
