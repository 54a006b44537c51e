"""Loaders at the edges: random damage, killed processes, a trillion tokens, shares, bare environments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from law import MemorySource
from streams import CONFIG, assert_same, take

from ostraca.loaders import CorpusSource, TaskSource, TokenStream, open_stream
from ostraca.loaders.order import Epochs, OrderSettings, Units
from ostraca.loaders.source import Blocks
from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus import shard_files
from ostraca.tasks.errors import CorruptWarning, OstracaError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["parquet", "webdataset"])
def small_corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of a few row groups, in each format."""
    root = tmp_path_factory.mktemp("small") / "c"
    split = {"train": {"examples": 200, "shard_examples": 100, "row_group_examples": 20}}
    spec = {"format": request.param, "datasets": {"m": {"task": "mano", "config": {"L": 5}, "splits": split}}}
    build(spec, root, engine="local")
    return root


def read(root: Path, **more: Any) -> list[Any]:
    settings = {"batch_size": 10, "length": 24, "mode": "padded", "epochs": 1, "threads": 0, "prefetch": 0}
    return list(open_stream(root, **{**settings, **more}))


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=120,
    )


def test_a_thousand_random_corruptions_never_give_a_wrong_batch(small_corpus: Path) -> None:
    """Flipped bits, zeroed, cut, moved and repeated bytes: an error, or every batch as it was."""
    rng = random.Random(11)
    wanted = read(small_corpus)
    shards = [path for path in sorted(small_corpus.rglob("train-*")) if path.is_file()]
    refused = changed = 0
    for number in range(500):  # in each of two formats
        path = rng.choice(shards)
        whole = path.read_bytes()
        data = bytearray(whole)
        at, size = rng.randrange(len(data)), rng.choice([1, 3, 50])
        if number % 5 == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif number % 5 == 1:
            data[at : at + size] = bytes(len(data[at : at + size]))
        elif number % 5 == 2:
            del data[at:]
        elif number % 5 == 3:
            other = rng.randrange(len(data))
            data[at : at + size], data[other : other + size] = (
                data[other : other + size],
                data[at : at + size],
            )
        else:
            data[at:at] = data[at : at + size]
        path.write_bytes(data)
        changed += data != whole
        shard_files._footer.cache_clear()  # else what is known of a file is not read again
        try:
            found = read(small_corpus)
        except OstracaError:
            refused += 1
        else:
            assert_same(found, wanted)
        if number % 25 == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CorruptWarning)
                assert_same(read(small_corpus, on_corrupt="replay"), wanted)
        path.write_bytes(whole)
    assert refused == changed > 350


@pytest.mark.parametrize("world", [2, 4, 8])
def test_a_rank_reads_its_share(world: int) -> None:
    """And little more: a window that two lanes share is read by both."""
    row = ([1] * 50, [1] * 50, [0])
    blocks = [[row] * 40 for _ in range(400)]
    reads = []
    for rank in range(world):
        source = MemorySource(blocks)
        stream = TokenStream(
            source, batch_size=8, length=100, mode="left_aligned", epochs=1, rank=rank, world_size=world
        )
        assert len(list(stream)) == 400 * 20 // 8
        reads.append(len(source.reads))
    assert max(reads) <= 1.3 * 400 / world
    assert sum(reads) <= 1.2 * 400


def test_the_order_of_a_trillion_tokens_is_there_at_once() -> None:
    """Of the blocks alone, in the eighth epoch, a window in its middle."""
    groups = 1 << 22
    rows, tokens = np.full(groups, 900), np.full(groups, 1 << 18)
    blocks = Blocks(rows=rows, tokens=tokens, strata=(groups,), names=("depo",))
    settings = OrderSettings(mode="left_aligned", length=2048, seed=0, shuffle=True, window_blocks=2)
    begun = time.perf_counter()
    units = Units(blocks, "left_aligned", 2048)
    order = Epochs(units, settings).order(7)
    assert units.total == groups * 128
    window, first, stop = order.window_of(units.total // 2)
    assert stop - first == 256
    assert len(order.window(window).blocks) == 2
    assert time.perf_counter() - begun < 20  # about 0.1 s: to see that nothing grows with the tokens


def test_a_killed_reader_leaves_nothing_behind(corpus: Path, tmp_path: Path) -> None:
    """With workers, threads and a cache: no process, no shared memory, no file outside of the cache."""
    pytest.importorskip("torch")
    code = f"""
import itertools, sys
from torch.utils.data import DataLoader
from ostraca import open_stream
stream = open_stream({str(corpus)!r}, batch_size=4, length=64)
for number, batch in enumerate(DataLoader(stream.dataset(), batch_size=None, num_workers=2)):
    if number == 5:
        print("reading", flush=True)
"""
    before = set(os.listdir("/dev/shm"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(process.pid)
    assert not {name for name in os.listdir("/dev/shm") if name.startswith("torch_")} - before
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "ostraca" in path.name]


def alive(group: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


BARE = (
    "fsspec",
    "ray",
    "hydra",
    "omegaconf",
    "torch",
    "transformers",
    "datasets",
    "jinja2",
    "rich",
    "tokenizers",
    "yaml",
)


def test_streams_need_numpy_numba_pyarrow_and_zstandard_alone(corpus: Path) -> None:
    """A training stack can install ostraca without what builds: `pip install --no-deps ostraca`."""
    code = f"""
import sys
for name in {BARE!r}:
    sys.modules[name] = None
import itertools
from ostraca import Mixture, ParquetSource, CorpusSource, TaskSource, TokenStream, open_stream, resume_stream
from ostraca.pipeline.corpus.manifest import read_manifest
for source in ("shards", "replay"):
    stream = open_stream({str(corpus)!r}, batch_size=4, length=64, source=source, where="n <= 15")
    print(sum(int(batch["input_ids"].sum()) for batch in itertools.islice(stream, 5)))
mixture = Mixture({{"a": (CorpusSource({str(corpus)!r}), 1), "b": (TaskSource("mano"), 1)}})
stream = TokenStream(mixture, batch_size=4, length=64)
next(iter(stream))
next(iter(resume_stream(stream.state_dict())))
print("done")
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    shards, replay, end = done.stdout.split()
    assert shards == replay
    assert end == "done"


@pytest.mark.parametrize("source", ["shards", "replay"])
@pytest.mark.parametrize("ends", ["", "raise SystemExit(3)", "raise KeyError"])
def test_no_thread_outlives_its_stream_or_the_process(corpus: Path, source: str, ends: str) -> None:
    """Python ends a process with a crash where a thread of its own is inside of native code."""
    code = f"""
import atexit, threading
def threads():
    return [each.name for each in threading.enumerate() if each.name.startswith("ostraca")]
atexit.register(lambda: print(threads()))  # called after what is registered later
from ostraca import open_stream
stream = open_stream({str(corpus)!r}, batch_size=4, length=64, source={source!r}, threads=4, prefetch=4)
for batch in stream:
    assert len(threads()) == 5
    break
print(threads())
kept = iter(stream)
next(kept)
{ends}
"""
    done = run_python(code)
    assert done.returncode == {"": 0, "raise SystemExit(3)": 3}.get(ends, 1), done.stderr[-2000:]
    assert done.stdout == "[]\n[]\n"


def test_more_lanes_than_blocks_lose_nothing() -> None:
    """Lanes that share a window read it once in a process; every example still comes once."""
    source = TaskSource("depo", CONFIG, count=30)
    stream = TokenStream(source, batch_size=10, length=120, mode="padded", epochs=1, lanes=10)
    lines = [line.tobytes() for batch in stream for line in batch["input_ids"]]
    assert len(lines) == len(set(lines)) == 30


def test_a_stream_is_not_held_up_by_one_that_stands_still(corpus: Path) -> None:
    """Iterators of one source do not share threads: one that nobody reads from stops none."""
    source = CorpusSource(corpus)
    idle = iter(TokenStream(source, batch_size=4, length=64))
    next(idle)
    whole = TokenStream(source, batch_size=4, length=64, epochs=1)
    assert len(list(whole)) == len(whole)
    state = json.dumps(whole.state_dict())
    assert json.loads(state)["step"] == len(whole)
    assert len(take(idle, 3)) == 3
