"""The webdataset library, PyTorch's loader and Hugging Face's datasets read our shards as documented."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_shards import made, shard


def write_shards(folder: Path, name: str) -> list[dict[str, Any]]:
    """Three shards of a task as .tar and as .tar.zst; returns their rows."""
    rows = []
    for number in range(3):
        batch = made(name, *range(10 * number, 10 * number + 10))
        rows += batch.to_pylist()
        for compression, ending in ((None, "tar"), ("zstd", "tar.zst")):
            path = folder / f"{name}-{number:05d}.{ending}"
            path.write_bytes(shard(batch, compression=compression, vocabulary=1 << 16)[0])
    return rows


def as_documented(sample: dict[str, Any]) -> dict[str, Any]:
    """A row, from a sample that the webdataset library decoded."""
    row = {**sample["meta.json"]}
    if "input_ids.npy" in sample:
        tokens = sample["input_ids.npy"].astype("int64")
        mask = sample.get("loss_mask.npy", np.ones_like(tokens))
        row |= {"input_ids": tokens.tolist(), "loss_mask": np.asarray(mask).tolist()}
    if "txt" in sample:
        row["text"] = sample["txt"]
    assert int(sample["__key__"]) == row["index"]
    return row


# The library leaves what it reads to the garbage collector; this machine may have fewer cores than workers.
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes:UserWarning")
@pytest.mark.parametrize("name", ["depo", "lano", "capo-text"])  # every token counts in Lano
@pytest.mark.parametrize("url", ["{}-{{00000..00002}}.tar", "pipe:zstd -dc {}-{{00000..00002}}.tar.zst"])
def test_the_webdataset_library_and_a_data_loader_give_the_same_examples(
    tmp_path: Path, name: str, url: str
) -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("webdataset")

    rows = write_shards(tmp_path, name)
    samples = library.WebDataset(url.format(tmp_path / name), shardshuffle=False).decode()
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(samples.map(as_documented), batch_size=None, num_workers=workers)
        found = sorted(loader, key=lambda row: row["index"])
        assert [int(row.pop("__key__")) for row in found] == [row["index"] for row in rows]
        assert found == rows
    gc.collect()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
@pytest.mark.parametrize("name", ["depo", "lano", "capo-text"])
def test_hugging_faces_datasets_give_the_same_examples(tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets")

    rows = write_shards(tmp_path, name)
    files = {"data_files": str(tmp_path / f"{name}-*.tar"), "split": "train", "cache_dir": str(tmp_path)}
    found = datasets.load_dataset("webdataset", **files, streaming=True).with_format("numpy")
    assert [as_documented(row) for row in map(plain_values, found)] == rows
    gc.collect()


def plain_values(row: dict[str, Any]) -> dict[str, Any]:
    """Lists instead of arrays in meta.json."""
    meta = {name: np.asarray(value).tolist() for name, value in row["meta.json"].items()}
    return {**row, "meta.json": meta}
