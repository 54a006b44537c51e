"""Measurements of `make bench loaders`; see run.py. Each prints one line of JSON."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measures import best, depo_spec, say

LINE = {"batch_size": 8, "length": 2048}
PEERS = Path(__file__).parents[1] / "peers"
EXAMPLES = 200_000  # of Depo1, 57 M tokens


def built(folder: str) -> Path:
    """The corpus that all measurements read; built once."""
    from ostraca import build

    root = Path(folder) / "corpus"
    if not (root / "manifest.json").exists():
        build(depo_spec({}, EXAMPLES), root, engine="local")
    return root


def mixed(folder: str) -> Path:
    """Four datasets with shared ids."""
    from ostraca import build

    root = Path(folder) / "mixed"
    split = {"train": {"tokens": 12_000_000}}
    datasets = {name: {"task": name, "splits": split} for name in ("depo", "brevo", "mano", "lano")}
    if not (root / "manifest.json").exists():
        build({"vocabulary": "shared", "datasets": datasets}, root, engine="local")
    return root


def rate(batches: Iterable[Any], tokens: int, count: int = 1000, repetitions: int = 3) -> float:
    """M tokens a second of an iterator's batches, of `tokens` each, once it runs."""
    iterator = iter(batches)
    for _ in range(20):
        next(iterator)
    return count * tokens / 1e6 / best(lambda: list_nothing(itertools.islice(iterator, count)), repetitions)


def list_nothing(items: Iterator[Any]) -> None:
    for _ in items:
        pass


def streams(folder: str) -> None:
    """Streams of one corpus and others, beside reading the same columns and nothing else."""
    import pyarrow.parquet as pq

    from ostraca import CorpusSource, Mixture, TaskSource, TokenStream, open_stream

    root, four = built(folder), mixed(folder)
    tokens = LINE["batch_size"] * LINE["length"]
    parts = {name: (CorpusSource(four, datasets=name), 1.0) for name in ("depo", "brevo", "mano", "lano")}
    makers = {
        "corpus": lambda: open_stream(root, **LINE),
        "four": lambda: open_stream(four, **LINE),
        "mixture": lambda: TokenStream(Mixture(parts), **LINE),
        "replay": lambda: open_stream(root, source="replay", **LINE),
        "task": lambda: TokenStream(TaskSource("depo"), **LINE),
        "torch": lambda: open_stream(root, device="cpu", **LINE),
    }
    paths, columns = sorted(root.rglob("train-*.parquet")), ["input_ids", "loss_mask"]
    held = json.loads((root / "manifest.json").read_text())["splits"]["train"]["tokens"]

    def read() -> None:
        for path in paths:
            pq.read_table(path, columns=columns, use_threads=False)

    figures = dict.fromkeys([*makers, "pyarrow"], 0.0)
    for _ in range(3):  # in turns: a busy machine is busy for all
        for name, make in makers.items():
            figures[name] = max(figures[name], rate(make(), tokens, repetitions=2))
        figures["pyarrow"] = max(figures["pyarrow"], held / 1e6 / best(read, 2))

    def first() -> None:
        next(iter(open_stream(root, **LINE)))

    stream = open_stream(root, **LINE)
    state = {**stream.state_dict(), "step": 40 * (stream.steps_per_epoch or 0) + 1000}

    def resume() -> None:
        stream = open_stream(root, **LINE)
        stream.load_state_dict(state)
        next(iter(stream))

    say(**figures, first=best(first, 5), resume=best(resume, 5))


def memory(folder: str) -> None:
    """Peak memory of a process that streams, in MB."""
    from ostraca import open_stream

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    list_nothing(itertools.islice(open_stream(built(folder), **LINE), 4000))
    say(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, before=before)


def ranks(folder: str, world: str) -> None:
    """What the ranks read, one after another, of what there is: the largest share, times the ranks."""
    from ostraca import open_stream
    from ostraca.loaders.groups import Groups

    root, count = built(folder), int(world)
    read, real = [0] * count, Groups.read

    def counted(self: Any, *place: Any) -> Any:
        batch = real(self, *place)
        read[rank] += len(batch.column("input_ids").values)
        return batch

    Groups.read = counted  # type: ignore[method-assign]
    for rank in range(count):
        list_nothing(iter(open_stream(root, epochs=1, rank=rank, world_size=count, **LINE)))
    held = json.loads((root / "manifest.json").read_text())["splits"]["train"]["tokens"]
    say(largest=max(read) * count / held, all=sum(read) / held)


def shuffle() -> None:
    """How far apart rows come that stand side by side, and how many shards a batch is of."""
    from ostraca.loaders import Blocks, Rows, TokenStream

    shards, groups, rows = 20, 64, 900
    count = shards * groups * rows

    class Numbers:
        """Rows of one token, their number."""

        vocab_size, row_length, identity, recipe = count, None, {"kind": "numbers"}, None

        def blocks(self, tokens: bool) -> Blocks:
            sizes = np.full(shards * groups, rows)
            return Blocks(rows=sizes, tokens=sizes, strata=(len(sizes),), names=("numbers",))

        def read(self, blocks: Any) -> Rows:
            ids = np.concatenate([np.arange(block * rows, (block + 1) * rows) for block in blocks])
            offsets = np.arange(len(ids) + 1, dtype=np.int32)
            mask = np.ones(len(ids), np.uint8)
            return Rows(tokens=ids.astype(np.int32), mask=mask, offsets=offsets)

    batch = 64
    stream = TokenStream(Numbers(), batch_size=batch, length=1, mode="padded", epochs=1)
    ours = np.concatenate([one["input_ids"][:, 0] for one in stream])
    full = np.random.default_rng(0).permutation(count)[: len(ours)]

    def told(order: Any) -> tuple[float, float, float]:
        batches = order.reshape(-1, batch)
        distance = np.abs(np.diff(batches, axis=1)).mean() / count
        place = np.empty(count, np.int64)
        place[order] = np.arange(len(order))
        neighbours = np.abs(np.diff(place[np.sort(order)])).mean() / len(order)
        return (
            float(distance),
            float(neighbours),
            float(np.mean([len(set(own)) for own in (batches // (groups * rows)).tolist()])),
        )

    (a, b, c), (d, e, f) = told(ours), told(full)
    say(distance=a, neighbours=b, shards=c, full_distance=d, full_neighbours=e, full_shards=f)


def peers(folder: str) -> None:
    """Other readers of the same tokens in rows of 2,049, with their default settings, in this process."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HOME"] = folder
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq
    import webdataset as wds

    count, length = 12_288, 2049
    rows = np.random.default_rng(0).integers(0, 9000, (count, length), dtype=np.int32)
    path, tar = Path(folder) / "rows.parquet", f"{folder}/rows.tar"
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), length).cast(pa.list_(pa.int32()))
    pq.write_table(pa.table({"input_ids": lists}), path, row_group_size=512, compression="zstd")
    memory_map = np.memmap(f"{folder}/rows.bin", np.int32, "w+", shape=rows.shape)
    memory_map[:] = rows
    with contextlib.redirect_stdout(sys.stderr), wds.TarWriter(tar) as writer:
        for number, row in enumerate(rows[:3000]):
            data = io.BytesIO()
            np.save(data, row)
            writer.write({"__key__": f"{number:06d}", "npy": data.getvalue()})
    order = np.random.default_rng(1).permutation(count)

    def mapped() -> None:
        for first in range(0, count, 8):
            np.asarray(memory_map[order[first : first + 8]]).astype(np.int64)

    def arrow() -> None:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=8):
            batch.column(0).values.to_numpy().reshape(-1, length).astype(np.int64)

    def hugging_face(shuffled: bool, most: int) -> None:
        stream = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        stream = stream.with_format("numpy")
        if shuffled:
            stream = stream.shuffle(seed=0, buffer_size=1000)
        list_nothing(itertools.islice(stream.iter(batch_size=8), most // 8))

    def webdataset() -> None:
        list_nothing(iter(wds.WebDataset(tar, shardshuffle=False).shuffle(1000).decode().batched(8)))

    total = rows.size / 1e6
    say(
        memmap=total / best(mapped, 3),
        arrow=total / best(arrow, 3),
        hf=4096 * length / 1e6 / best(lambda: hugging_face(False, 4096), 2),
        hf_shuffled=2048 * length / 1e6 / best(lambda: hugging_face(True, 2048), 2),
        webdataset=3000 * length / 1e6 / best(webdataset, 2),
    )


def shuffled(folder: str) -> None:
    """Packed rows of 2,048, shuffled: our own stream, and readers of what is exported from the same corpus.

    A reader whose environment is not there (`make peers` makes it) is left out.
    """
    from ostraca import build, open_stream
    from ostraca.pipeline.export.export import export

    root = Path(folder) / "rows"
    build(depo_spec({}, EXAMPLES) | {"pack": {"length": 2048, "mode": "concat"}}, root, engine="local")
    tokens = json.loads((root / "manifest.json").read_text())["splits"]["train"]["tokens"]
    lines = {"batch_size": 8, "epochs": 1}
    figures = {"ours": tokens / 1e6 / best(lambda: list_nothing(iter(open_stream(root, **lines))), 3)}
    sys.path.insert(0, str(PEERS))
    import environments

    for name, to, environment in (("mosaic", "mds", "mosaic"), ("litdata", "litdata", "readers")):
        if environments.is_ready(environment):
            out = f"{folder}/{name}"
            export(root, to, out)
            done = subprocess.run(
                [
                    environments.python(environment),
                    str(Path(__file__).parent / "shuffled_peers.py"),
                    name,
                    f"{out}/depo/train",
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            figures[name] = json.loads(done.stdout.splitlines()[-1])["rate"]
    say(**figures)


def trillion(folder: str) -> None:
    """A corpus of 10^12 tokens of Depo1, by its manifest: seconds until a stream is open, peak memory."""
    from ostraca import open_stream
    from ostraca.pipeline.corpus.manifest import make_manifest, write_manifest
    from ostraca.pipeline.corpus.numbers import encode_numbers
    from ostraca.pipeline.corpus.records import ShardRecord
    from ostraca.pipeline.corpus.split import Split
    from ostraca.pipeline.spec.check import check_spec
    from ostraca.pipeline.spec.shards import shards_of

    if os.fork() == 0:  # what writes it takes memory of its own
        spec = check_spec(depo_spec({}, 3_500_000_000) | {"dedup": {"mode": "off"}})
        split, rng, records = Split.of(spec, "depo", "train"), np.random.default_rng(0), []
        for shard in shards_of(spec, "depo", "train"):
            tokens = rng.integers(270_000, 280_000, -(-shard.count // split.row_group_examples))
            digest = rng.bytes(32).hex()
            records.append(
                ShardRecord(
                    dataset="depo",
                    split="train",
                    path=shard.path,
                    rows=shard.count,
                    tokens=int(tokens.sum()),
                    bytes=int(tokens.sum()),
                    sha256=digest,
                    content_digest=digest[:32],
                    first_index=shard.first_index,
                    count=shard.count,
                    changes="",
                    group_rows="",
                    group_tokens=encode_numbers(tokens),
                    tail=f"1000:{digest[:32]}",
                )
            )
        write_manifest(folder, make_manifest(spec, records))
        os._exit(0)
    os.wait()
    seconds, stream = [], None
    for _ in range(3):
        stream = None
        begun = time.perf_counter()
        stream = open_stream(folder, **LINE)
        seconds.append(time.perf_counter() - begun)
    assert stream is not None
    tokens = (stream.steps_per_epoch or 0) * LINE["batch_size"] * LINE["length"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    say(seconds=min(seconds), tokens=tokens, peak=peak)


def opening(folder: str) -> None:
    """From the path of a built corpus to an order that stands anywhere: seconds, best of five."""
    from ostraca import open_stream

    root = built(folder)
    begun = time.perf_counter()
    open_stream(root, **LINE)
    cold = time.perf_counter() - begun
    say(cold=cold, warm=best(lambda: open_stream(root, **LINE), 5))
