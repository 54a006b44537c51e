"""What `run.py webdataset` measures: our tars against those of the webdataset library, same samples."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measures import best, preset_task, say

from ostraca.tasks.core.batch import column, list_type, ragged, unragged

LENGTH = 2048
GROUPS = 8


def made_and_packed(preset: str) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch], int]:
    """Row groups of examples, the same tokens in rows of 2,048, and the size of the vocabulary."""
    from ostraca.tasks import examples
    from ostraca.tasks.base import vocab_size

    task, given = preset_task(preset)
    config = examples.complete_config(task, given, 0)
    key = examples.stream_of(task, config, 0, "train")
    rows = examples.batch_rows(task, config)
    made = [task.generate(config, key, np.arange(g * rows, (g + 1) * rows)) for g in range(GROUPS)]
    return made, [packed(batch) for batch in made], vocab_size(task, config)


def packed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The documents one after the other in rows of 2,048 tokens; what is too much is left out."""
    tokens, begins = unragged(batch.column("input_ids"))
    mask, _ = unragged(batch.column("loss_mask"))
    rows = len(tokens) // LENGTH
    offsets = np.arange(rows + 1, dtype=np.int32) * LENGTH
    first = np.searchsorted(begins, offsets, side="right") - 1  # the document that is open where a row begins
    counts = first[1:] - first[:-1] + (begins[first[1:]] < offsets[1:])
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    documents = np.arange(ends[-1]) + np.repeat(first[:-1] - ends[:-1], counts)
    starts = np.maximum(begins[documents] - np.repeat(offsets[:-1], counts), 0).astype(np.int32)
    index = batch.column("index").to_numpy()
    columns = {
        "input_ids": (list_type(pa.int32()), ragged(tokens[: rows * LENGTH], offsets)),
        "loss_mask": (list_type(pa.uint8()), ragged(mask[: rows * LENGTH], offsets)),
        "index": (pa.int64(), pa.array(index[first[:-1]])),
        "offset": (pa.int32(), pa.array((offsets - begins[first])[:-1].astype(np.int32))),
        "starts": (list_type(pa.int32()), ragged(starts, ends)),
        "documents": (list_type(pa.int64()), ragged(index[documents], ends)),
    }
    schema = pa.schema([column(name, kind) for name, (kind, _) in columns.items()])
    return pa.RecordBatch.from_arrays([array for _, array in columns.values()], schema=schema)


def library_samples(batch: pa.RecordBatch, rows: int) -> list[dict[str, Any]]:
    """The first rows as the library takes them."""
    samples = []
    for row in batch.slice(0, rows).to_pylist():
        key = f"{row['index']:012d}" + (f"-{row['offset']:010d}" if "offset" in row else "")
        tokens = np.array(row.pop("input_ids"), dtype=np.uint16)
        mask = np.array(row.pop("loss_mask"), dtype=np.uint8)
        samples.append({"__key__": key, "input_ids.npy": tokens, "loss_mask.npy": mask, "meta.json": row})
    return samples


def webdataset(preset: str) -> None:
    made, rows, vocabulary = made_and_packed(preset)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard"
        for kind, batches in (("examples", made), ("packed", rows)):
            for ending, compression in (("tar", None), ("zst", "zstd")):
                found = ours(batches, compression, vocabulary, path)
                figures |= {f"{kind}_{ending}{name}": figure for name, figure in found.items()}
            figures[f"{kind}_library"] = library(library_samples(batches[0], 400), path)
    say(**figures)


def ours(
    batches: list[pa.RecordBatch], compression: str | None, vocabulary: int, path: Path
) -> dict[str, float]:
    """Mtok/s of writing and of reading, and bytes a token."""
    from ostraca.pipeline.corpus.formats.webdataset import WebDatasetShardWriter
    from ostraca.pipeline.corpus.formats.webdataset_reader import read_group

    schema = batches[0].schema

    def write() -> list[int]:
        with open(path, "wb") as file:
            writer = WebDatasetShardWriter(file, schema, {}, compression=compression, vocab_size=vocabulary)
            with writer:
                for batch in batches:
                    writer.write(batch)
        return [0, *writer.group_ends]

    bounds, data = write(), path.read_bytes()
    groups = [data[start:end] for start, end in pairwise(bounds)]
    tokens = sum(len(batch.column("input_ids").values) for batch in batches)
    return {
        "": tokens / 1e6 / best(write),
        "_bytes": len(data) / tokens,
        "_read": tokens / 1e6 / best(lambda: [read_group(group, schema, compression) for group in groups]),
    }


def library(samples: list[dict[str, Any]], path: Path) -> float:
    """Mtok/s of webdataset.ShardWriter."""
    from webdataset import ShardWriter

    def write() -> None:
        with ShardWriter(f"{path}-%05d.tar", verbose=0) as sink:
            for sample in samples:
                sink.write(sample)

    return sum(len(sample["input_ids.npy"]) for sample in samples) / 1e6 / best(write, 3)
