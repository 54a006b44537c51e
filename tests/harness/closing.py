"""All commands, and loaders, in one process, which says what they have left open.

`python -X dev tests/harness/closing.py FOLDER`. Python itself writes a ResourceWarning on standard error for
a file or a socket that was never closed. This program adds a line for what outlives the call that opened it:
descriptors and maps of files below FOLDER, devices, pipes, sockets, and threads.
"""

from __future__ import annotations

import functools
import gc
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fsspec.asyn

from ostraca import cli
from ostraca.loaders import CorpusSource, TokenStream
from ostraca.tasks.errors import OstracaError

TINY = ["dataset=depo-demo", "examples=300", "splits.test.examples=20", "engine=local"]
TINY += ["shard_tokens=4000", "row_group_tokens=1000"]  # some of each
PACKED = ["format=webdataset", "compression=zstd", "pack.length=256", "pack.mode=whole"]
STORE = "memory://store"
OLDER = {"older": "depo"}  # which dataset is read: its two have colliding ids
SPOILT = [f"{form}-{how}" for form in ("parquet", "tars") for how in ("short", "gone")]

WHOLE = [
    ["build", *TINY, "out=parquet"],
    ["build", *TINY, *PACKED, "out=tars"],
    ["build", *TINY, f"out={STORE}", "report=false"],
    ["build", *TINY, "out=other", "seed=1", "dedup.mode=redraw", "dedup.against=[parquet]", "report=false"],
    ["build", *TINY, "out=part1", "part=1/2"],
    ["build", *TINY, "out=part2", "part=2/2"],
    ["merge", "parts=[part1,part2]", "out=merged", "report=false"],
    ["build", "manifest=tars/manifest.json", "engine=local", "out=again", "report=false"],
    ["build", *TINY, "out=parquet", "mend=true"],
    ["verify", "path=parquet", "content=true"],
    ["verify", "path=parquet", "duplicates=true"],
    ["verify", "path=tars", "content=true", "duplicates=true"],
    ["verify", f"path={STORE}", "content=true"],
    ["reproduce", "path=parquet"],
    ["inspect", "path=parquet", "show=1"],
    ["inspect", "path=tars", "show=1"],
    ["diff", "path=parquet", "other=merged"],
    ["export", "path=parquet", "to=jsonl", "out=exports/jsonl"],
    ["export", "path=tars", "to=megatron", "out=exports/megatron"],
    ["audit", "path=parquet", "report=true"],
    ["plan", "dataset=depo-demo", "examples=1000"],
]
BAD = [
    ["diff", "path=parquet", "other=other"],
    *(["verify", f"path={each}", "content=true", "duplicates=true"] for each in SPOILT),
    *(["export", f"path={each}", "to=jsonl", f"out=exports/{each}"] for each in SPOILT),
    ["inspect", "path=parquet-short", "index=299"],
    ["verify", "path=pipe"],
    ["build", "manifest=pipe/manifest.json", "engine=local", "out=x"],
    ["merge", "parts=[part1,pipe]", "out=x"],
]


def held(root: str) -> set[str]:
    """What is open now. No garbage is collected first: nothing of ours waits for that to be closed."""
    found = {f"thread {thread.name}" for thread in threading.enumerate()}
    for descriptor in sorted(map(int, os.listdir("/proc/self/fd")))[3:]:
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # that of the listing itself
            continue
        # Other files are libraries' own: matplotlib keeps its fonts open.
        if target.startswith((root, "/dev/", "pipe:", "socket:", "anon_inode:")):
            found.add(f"descriptor {descriptor} {target}")
    maps = Path("/proc/self/maps").read_text().splitlines()
    return found | {f"map {line.split(maxsplit=5)[5]}" for line in maps if root in line}


def call(statuses: tuple[int, ...], words: list[str]) -> None:
    """A command; AssertionError where it ends with another status."""
    status = cli.main(words)
    assert status in statuses, (words, status)


def spoil() -> None:
    """Copies: the last shard of train is truncated, or gone; a pipe stands in place of the manifest."""
    for name in SPOILT:
        form, how = name.split("-")
        shard = max(Path(shutil.copytree(form, name)).glob("depo-demo/train-*"))
        whole = shard.read_bytes()
        shard.unlink()
        if how == "short":
            shard.write_bytes(whole[:-100])
    shutil.copytree("parquet", "pipe")
    Path("pipe/manifest.json").unlink()
    os.mkfifo("pipe/manifest.json")


def older() -> None:
    """A corpus from before format 4; some of its shards have no digests of row groups."""
    shutil.copytree(Path(__file__).resolve().parents[1] / "pinned/format-3/dropped", "older")


def half(path: str) -> None:
    """A stream that nobody reads to its end."""
    for step, _ in enumerate(
        TokenStream(CorpusSource(path, datasets=OLDER.get(path)), batch_size=2, length=256)
    ):
        if step == 3:
            return


def refused(path: str) -> None:
    """A stream that comes to a shard that is none."""
    try:
        for _ in TokenStream(CorpusSource(path, source="shards"), batch_size=2, length=256):
            pass
    except OstracaError:
        return
    raise AssertionError(path)


def from_the_web(root: str) -> None:
    """A corpus from the manifest that a web server gives."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        manifest = f"http://127.0.0.1:{server.server_address[1]}/parquet/manifest.json"
        call((0,), ["build", f"manifest={manifest}", "engine=local", "out=fetched", "report=false"])
        server.shutdown()
        serving.join()


def unread() -> None:
    """A command whose reader has gone."""
    kept = os.dup(1)
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    os.close(writer)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # as in a process that has just started
    call((141,), ["inspect", "--help"])  # without rich, which then opens /dev/null and leaves it open
    os.dup2(kept, 1)
    os.close(kept)


def main(root: str) -> None:
    os.chdir(root)
    fsspec.asyn.get_loop()  # its thread and two sockets stay for the whole process
    steps: dict[str, Callable[[], None]] = {
        " ".join(words): functools.partial(call, (0,), words) for words in WHOLE
    }
    steps |= {f"loader of {path}": functools.partial(half, path) for path in ("parquet", "tars", STORE)}
    steps |= {"older": older, "loader of older": functools.partial(half, "older")}
    steps |= {"build from the web": functools.partial(from_the_web, root)} if find_spec("aiohttp") else {}
    steps |= {"spoil": spoil}
    steps |= {" ".join(words): functools.partial(call, (1, 2), words) for words in BAD}
    steps |= {f"loader of {path}": functools.partial(refused, path) for path in SPOILT}
    steps |= {"no reader": unread}
    before = held(root)
    for name, step in steps.items():
        print(f"- {name}", file=sys.stderr, flush=True)  # a ResourceWarning is of the step above it
        step()
        after = held(root)
        for each in sorted(after - before):
            print(f"left open: {each}", file=sys.stderr, flush=True)
        before = after
    gc.collect()


if __name__ == "__main__":
    main(os.path.realpath(sys.argv[1]))
