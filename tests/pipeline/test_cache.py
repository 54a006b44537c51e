"""What is read of a store through a cache is fetched once, and nothing that befalls the cache is noticed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import make_spec
from s3 import Proxy, S3Server, running_proxy

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus import shard_files
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.store import cache as caches
from ostraca.pipeline.store.cache import Cache, CacheWarning, cached
from ostraca.pipeline.store.folder import Folder
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import ConfigError, OstracaError

PLENTY = 1 << 30


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """As in a process that has read nothing."""
    shard_files._footer.cache_clear()
    caches._TOLD.clear()
    yield
    shard_files._footer.cache_clear()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus. Tests must not change it."""
    root = tmp_path_factory.mktemp("corpus") / "c"
    build(make_spec(train=600, shard_tokens=10_000, row_group_tokens=2_000), root, engine="local")
    return root


def rows_of(folder: Folder) -> list[pa.RecordBatch]:
    """All row groups of the split train, read as in a process that has read nothing."""
    shard_files._footer.cache_clear()
    manifest = read_manifest(folder)
    (name,) = manifest["spec"]["datasets"]
    reader = split_reader(folder, manifest, Split.of(manifest["spec"], name, "train"))
    return [batch for _, batch in reader.batches()]


def entries(cache_dir: Path) -> list[Path]:
    return sorted(path for path in cache_dir.rglob("*") if caches._ENTRY.fullmatch(path.name))


def others(cache_dir: Path) -> list[str]:
    known = {*entries(cache_dir)}
    return sorted(path.name for path in cache_dir.rglob("*") if path.is_file() and path not in known)


def size_of(cache_dir: Path) -> int:
    return sum(path.stat().st_size for path in entries(cache_dir))


@pytest.fixture
def store(
    s3: str, s3_server: S3Server, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Proxy]]:
    """The corpus in a real S3 store behind a proxy that sees each request."""
    for path in corpus.rglob("*"):
        if path.is_file():
            where = f"/{s3.removeprefix('s3://')}/c/{path.relative_to(corpus).as_posix()}"
            assert s3_server.request("PUT", where, path.read_bytes())[0] == 200
    with running_proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield f"{s3}/c", proxy


def gets(proxy: Proxy) -> int:
    """How often bytes of a shard were asked for since the last call."""
    count = sum(method == "GET" and ".parquet" in path for method, path in proxy.seen)
    proxy.seen.clear()
    return count


def test_a_store_is_asked_once(store: tuple[str, Proxy], corpus: Path, tmp_path: Path) -> None:
    url, proxy = store
    wanted = rows_of(open_folder(corpus))
    assert rows_of(cached(open_folder(url), tmp_path, PLENTY)) == wanted
    first = gets(proxy)
    assert first == len(entries(tmp_path)) > len(wanted)  # each row group, and each shard's tail
    assert rows_of(cached(open_folder(url), tmp_path, PLENTY)) == wanted
    assert gets(proxy) == 0
    assert rows_of(open_folder(url)) == wanted
    assert gets(proxy) == first
    assert others(tmp_path) == ["lock"]


def test_what_arrives_damaged_is_not_kept(store: tuple[str, Proxy], corpus: Path, tmp_path: Path) -> None:
    url, proxy = store
    folder = cached(open_folder(url), tmp_path, PLENTY)

    def damage(exchange: Any) -> None:
        status, headers, content = exchange.ask()
        exchange.answer(status, headers, content[:-1] + bytes([content[-1] ^ 1]))

    proxy.breaks(1, "GET", damage, path="train-00000")
    with pytest.raises(OstracaError, match="digest differs"):
        rows_of(folder)
    assert rows_of(folder) == rows_of(open_folder(corpus))


def test_faults_of_the_store_are_as_without(store: tuple[str, Proxy], corpus: Path, tmp_path: Path) -> None:
    url, proxy = store
    proxy.breaks(2, "GET", lambda exchange: exchange.fail(503, "SlowDown"), path=".parquet")
    assert rows_of(cached(open_folder(url), tmp_path, PLENTY)) == rows_of(open_folder(corpus))


def test_another_corpus_at_the_same_place_is_another(tmp_path: Path) -> None:
    """Of the same names, and of a spec that differs in the seed alone."""
    both = []
    for seed in (0, 1):
        place = tmp_path / "c"
        build(make_spec(train=300, seed=seed), place, engine="local")
        both.append(rows_of(cached(open_folder(place), tmp_path / "cache", PLENTY)))
        assert both[-1] == rows_of(open_folder(place))
        place.rename(tmp_path / str(seed))
    assert both[0] != both[1]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "torn": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.filterwarnings("ignore::ostraca.pipeline.store.cache.CacheWarning")
def test_damaged_entries_are_fetched_again(how: str, corpus: Path, tmp_path: Path) -> None:
    wanted = rows_of(cached(open_folder(corpus), tmp_path, PLENTY))
    whole = {path: path.read_bytes() for path in entries(tmp_path)}
    for path in entries(tmp_path):
        DAMAGE[how](path)
    assert rows_of(cached(open_folder(corpus), tmp_path, PLENTY)) == wanted
    assert {path: path.read_bytes() for path in entries(tmp_path)} == whole


def put(cache: Cache, *numbers: int, size: int = 100) -> None:
    for number in numbers:
        data = bytes([number]) * size
        cache.put(hashlib.sha256(data).digest()[:16], data)
        time.sleep(0.002)  # so that times differ


def kept(cache: Cache, numbers: range, size: int = 100) -> list[int]:
    found = []
    for number in numbers:
        data = bytes([number]) * size
        path = cache._path(hashlib.sha256(data).digest()[:16], size)
        if path.exists():
            assert path.read_bytes() == data
            found.append(number)
    return found


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 800)
    put(cache, *range(8))
    assert kept(cache, range(8)) == list(range(8))
    for number in (0, 2):
        data = bytes([number]) * 100
        assert cache.get(hashlib.sha256(data).digest()[:16], 100) == data
        time.sleep(0.002)
    put(cache, 8, 9)
    assert kept(cache, range(10)) == [0, 2, *range(4, 10)][-8:] or kept(cache, range(10)) == [
        0,
        2,
        5,
        6,
        7,
        8,
        9,
    ]
    put(cache, 10, size=801)
    assert kept(cache, range(10, 11), size=801) == []


@pytest.mark.parametrize("said", [b"", b"many", b"-5", b"9" * 30, b"0"])
def test_a_wrong_total_rights_itself(said: bytes, tmp_path: Path) -> None:
    """It is what a killed process left, or nobody knows what; one that is too small lets more in, once."""
    cache = Cache(tmp_path / "c", 800)
    put(cache, *range(8))
    (tmp_path / "c" / "lock").write_bytes(said)
    put(cache, *range(8, 30))
    assert size_of(tmp_path) <= (1600 if said == b"0" else 800)
    put(cache, *range(30, 50))
    assert size_of(tmp_path) <= 800
    assert 49 in kept(cache, range(50))


@pytest.mark.parametrize("most", [1, 3_000, 40_000])
def test_no_more_is_kept_than_may_be(most: int, corpus: Path, tmp_path: Path) -> None:
    wanted = rows_of(open_folder(corpus))
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            folder = cached(open_folder(corpus), tmp_path, most)
            assert all(rows == wanted for rows in pool.map(rows_of, [folder] * 4))
        assert size_of(tmp_path) <= most


READ = """
import sys
sys.path.insert(0, {tests!r})
sys.path.insert(0, {tests!r} + "/pipeline")
from pathlib import Path
from test_cache import rows_of
from ostraca.pipeline.store.cache import cached
from ostraca.pipeline.store.open import open_folder
wanted = rows_of(open_folder({corpus!r}))
print("ready", flush=True)
for _ in range({times}):
    assert rows_of(cached(open_folder({corpus!r}), {cache!r}, {most})) == wanted
print("same")
"""


def reading(corpus: Path, cache: Path, most: int, times: int) -> subprocess.Popen[str]:
    tests = str(Path(__file__).resolve().parent.parent)
    code = READ.format(tests=tests, corpus=str(corpus), cache=str(cache), most=most, times=times)
    return subprocess.Popen([sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True)


def test_processes_share_it(corpus: Path, tmp_path: Path) -> None:
    most = 60_000
    readers = [reading(corpus, tmp_path, most, 8) for _ in range(3)]
    while any(reader.poll() is None for reader in readers):
        with contextlib.suppress(FileNotFoundError):  # one may go while its size is asked for
            assert size_of(tmp_path) <= most
        time.sleep(0.02)
    assert [reader.communicate()[0].split()[-1] for reader in readers] == ["same"] * 3
    assert size_of(tmp_path) <= most
    assert others(tmp_path) == ["lock"]


def test_killed_processes_leave_nothing_that_stays(corpus: Path, tmp_path: Path) -> None:
    most = 60_000
    for number in range(5):
        reader = reading(corpus, tmp_path, most, 10_000)
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.03 * number)
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
        assert set(others(tmp_path)) <= {"lock", "incoming"}
        assert size_of(tmp_path) <= most
    (tmp_path / caches._FORM / "incoming").write_bytes(b"half")  # surely
    for path in entries(tmp_path)[:2]:
        path.unlink()
    assert rows_of(cached(open_folder(corpus), tmp_path, most)) == rows_of(open_folder(corpus))
    assert others(tmp_path) == ["lock"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_breaks_no_reading(
    code: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = rows_of(open_folder(corpus))
    write = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        if path.name == "incoming":
            write(path, data[: len(data) // 2])
            raise OSError(code, os.strerror(code), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    folder = cached(open_folder(corpus), tmp_path, PLENTY)
    with pytest.warns(CacheWarning) as told:
        assert rows_of(folder) == wanted
    where = tmp_path / caches._FORM
    assert [str(each.message) for each in told] == [
        f"{where}: this cache cannot be used ({os.strerror(code)}); reading goes on without it"
    ]
    assert rows_of(folder) == wanted  # and says nothing more
    assert entries(tmp_path) == []
    assert others(tmp_path) == ["lock"]


def test_a_file_where_the_cache_should_be(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.warns(CacheWarning, match="this cache cannot be used"):
        rows = rows_of(cached(open_folder(corpus), tmp_path / "file", PLENTY))
    assert rows == rows_of(open_folder(corpus))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_cache_is_read_where_nothing_can_be_written(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = rows_of(cached(open_folder(corpus), tmp_path, PLENTY))

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, name, refused)
    folder = cached(open_folder(corpus), tmp_path, PLENTY)
    monkeypatch.setattr(type(open_folder(corpus)), "read_known", refused)
    assert rows_of(folder) == wanted


def test_who_holds_the_lock_for_long_is_not_waited_for(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that was stopped."""
    monkeypatch.setattr(caches, "_PATIENCE", 0.01)
    (tmp_path / caches._FORM).mkdir()
    with open(tmp_path / caches._FORM / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert rows_of(cached(open_folder(corpus), tmp_path, PLENTY)) == rows_of(open_folder(corpus))
        assert entries(tmp_path) == []
    rows_of(cached(open_folder(corpus), tmp_path, PLENTY))
    assert entries(tmp_path)


def test_it_is_a_folder_that_goes_to_other_processes(corpus: Path, tmp_path: Path) -> None:
    folder = pickle.loads(pickle.dumps(cached(open_folder(corpus), tmp_path, PLENTY)))
    below = open_folder(corpus)
    assert (folder.url, str(folder), folder.names(), folder.exists()) == (
        below.url,
        str(below),
        below.names(),
        True,
    )
    assert folder.read("manifest.json") == below.read("manifest.json")
    assert folder.size("manifest.json") == below.size("manifest.json")
    assert rows_of(folder) == rows_of(below)
    assert entries(tmp_path)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "x", True])
def test_what_is_no_number_of_bytes_is_refused(bad: Any, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cache_bytes"):
        cached(open_folder(corpus), tmp_path, bad)
    with pytest.raises(ConfigError, match="must be a path on this machine"):
        cached(open_folder(corpus), "s3://bucket/cache", PLENTY)
