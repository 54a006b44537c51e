"""One contract of all folders: local, in memory, on a real S3 server, in a store without atomic puts."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostraca.pipeline.store import remote
from ostraca.pipeline.store.atomic import lock, lock_owner
from ostraca.pipeline.store.folder import Folder, read_json, write_bytes, write_json
from ostraca.pipeline.store.lease import Term
from ostraca.pipeline.store.local import LocalFolder
from ostraca.pipeline.store.open import open_folder
from ostraca.pipeline.store.remote import RemoteFolder
from ostraca.tasks.errors import ConfigError, OstracaError

PAYLOAD = np.random.default_rng(0).bytes(1 << 20)


@pytest.fixture(params=["local", "memory", "s3", "plain"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a folder of each kind can be made."""
    match request.param:
        case "memory":
            return f"memory://{tmp_path.name}/corpus"
        case "s3":
            return f"{request.getfixturevalue('s3')}/some/corpus"
        case "plain":
            return f"file://{tmp_path}/corpus"
    return str(tmp_path / "corpus")


@pytest.fixture
def folder(url: str) -> Folder:
    # open_folder gives file:// a LocalFolder; here it stands for stores such as sftp://.
    return RemoteFolder(url, term=Term(settle=0.01)) if url.startswith("file://") else open_folder(url)


def everything(folder: Folder, url: str) -> list[str]:
    """The names of all files, those that `names` hides too."""
    if isinstance(folder, RemoteFolder):
        return folder._all_names("")
    return sorted(str(path.relative_to(url)) for path in Path(url).rglob("*") if path.is_file())


def test_a_file_is_what_was_written(folder: Folder) -> None:
    """By every way of reading it; the writer knows its size and sha256."""
    with folder.create("a/b/file.bin") as file:
        for start in range(0, len(PAYLOAD), 100_000):
            file.write(PAYLOAD[start : start + 100_000])
    assert (file.size, file.sha256) == (len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest())
    assert folder.read("a/b/file.bin") == PAYLOAD
    with folder.open("a/b/file.bin") as reading:
        assert reading.read() == PAYLOAD
    assert folder.sha256("a/b/file.bin") == file.sha256
    assert folder.size("a/b/file.bin") == len(PAYLOAD)
    stamp = folder.stamp("a/b/file.bin")
    assert stamp is not None
    assert stamp[0] == len(PAYLOAD)
    assert folder.stamp("a/b/file.bin") == stamp


@pytest.mark.parametrize("size", [1000, pytest.param(120 << 20, marks=pytest.mark.soak)])
def test_a_new_file_is_never_another_of_its_size(folder: Folder, url: str, size: int) -> None:
    """Where one stands already, also where the store tells no MD5 (S3: of what was sent in parts)."""
    if size > 1000 and not url.startswith("s3://"):
        pytest.skip("one size tells all of it")
    for content in (bytes(size), bytes(size - 1) + b"x"):
        with folder.create("file.bin", new=True) as file:
            file.write(content)
        assert folder.sha256("file.bin") == file.sha256 == hashlib.sha256(content).hexdigest()
        assert everything(folder, url) == ["file.bin"]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_tiny_files_are_files(folder: Folder, content: bytes) -> None:
    """Empty ones too, though a store cannot give a range of nothing."""
    write_bytes(folder, "tiny", content)
    assert folder.read("tiny") == content
    assert folder.size("tiny") == len(content)
    assert folder.sha256("tiny") == hashlib.sha256(content).hexdigest()
    with folder.open("tiny") as file:
        assert file.read() == content
    assert folder.read_range("tiny", 0, 10) == content
    assert folder.names() == ["tiny"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 1100), length=st.integers(0, 1100))
def test_a_range_is_a_slice(folder: Folder, start: int, length: int) -> None:
    """Also where it goes beyond the end, and where it begins there."""
    if folder.size("file") is None:
        write_bytes(folder, "file", PAYLOAD[:1000])
    assert folder.read_range("file", start, start + length) == PAYLOAD[:1000][start : start + length]


def test_an_open_file_seeks_like_a_file_in_memory(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random walk beside io.BytesIO, with blocks so small that it often leaves them."""
    monkeypatch.setattr(remote, "BLOCK", 1000)
    write_bytes(folder, "file", PAYLOAD[:20_000])
    rng = np.random.default_rng(1)
    oracle = io.BytesIO(PAYLOAD[:20_000])
    with folder.open("file") as file:
        assert file.seekable()
        for _ in range(60):
            whence = int(rng.integers(3))
            low = {0: 0, 1: -oracle.tell(), 2: -20_000}[whence]
            offset = int(rng.integers(low, low + 21_000))
            assert file.seek(offset, whence) == oracle.seek(offset, whence)
            length = int(rng.integers(3000))
            assert file.read(length) == oracle.read(length)
            assert file.tell() == oracle.tell()
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)


def test_arrow_reads_and_writes_shards_here(folder: Folder) -> None:
    """pyarrow.parquet itself, on the files that this interface gives."""
    table = pa.table({"input_ids": [[1, 2, 3], [], [4]] * 1000, "index": range(3000)})
    with folder.create("shard.parquet") as file, pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table, row_group_size=500)
    with folder.open("shard.parquet") as reading:
        parquet = pq.ParquetFile(reading)
        assert parquet.num_row_groups == 6
        assert parquet.read().equals(table)
        assert parquet.read_row_group(3).equals(table.slice(1500, 500))


def test_what_is_not_there_is_said_in_one_line(folder: Folder) -> None:
    """Every way to read names the file; sizes are None."""
    write_bytes(folder, "other", b"1")
    for read in (
        lambda: folder.open("no/such"),
        lambda: folder.read("no/such"),
        lambda: folder.read_range("no/such", 0, 1),
        lambda: folder.read_range("no/such", 1, 1),
        lambda: folder.sha256("no/such"),
        lambda: read_json(folder, "no/such"),
    ):
        with pytest.raises(OstracaError, match=r"no/such: no such file or folder$"):
            read()
    assert folder.size("no/such") is None
    assert folder.stamp("no/such") is None
    assert folder.names("no") == []
    folder.remove("no/such")
    folder.remove_all("no")


def test_an_error_while_writing_leaves_nothing(folder: Folder, url: str) -> None:
    """Neither a new file, nor a change of the one that stood there, nor anything temporary."""
    write_bytes(folder, "file", b"first")

    def fail(path: str) -> None:
        with folder.create(path) as file:
            file.write(PAYLOAD)
            raise ZeroDivisionError

    for path in ("file", "sub/new"):
        with pytest.raises(ZeroDivisionError):
            fail(path)
    assert everything(folder, url) == ["file"]
    assert folder.read("file") == b"first"


def test_an_error_of_the_system_while_writing_is_one_line(folder: Folder, url: str) -> None:
    """A full disk, or another file that is gone, as the system reports it; nothing is left."""
    for number, line in (
        (errno.ENOSPC, "no space left on the disk"),
        (errno.ENOENT, "no such file or folder"),
    ):
        with pytest.raises(OstracaError, match=line), folder.create("file"):
            raise OSError(number, os.strerror(number))
    assert everything(folder, url) == []


def test_a_file_is_written_again(folder: Folder) -> None:
    """The second content stands, and the stamp says so; in place of a longer one too."""
    write_bytes(folder, "file", b"first, long")
    before = folder.stamp("file")
    write_bytes(folder, "file", b"second")
    assert folder.read("file") == b"second"
    assert folder.stamp("file") != before


def test_names_are_those_of_whole_files(folder: Folder, url: str) -> None:
    """Sorted, all or below a folder, which is no mere prefix; what is being written is left out."""
    paths = ["a.json", "train/00001.bin", "train/deep/x", "train2/00001.bin", "train/.hidden", "é ü+%.bin"]
    for path in paths:
        write_bytes(folder, path, b"1")
    write_bytes(folder, "train/.x.tmp-0123456789ab", b"half")
    assert folder.names() == sorted(paths)
    assert folder.names("train") == ["train/.hidden", "train/00001.bin", "train/deep/x"]
    assert folder.names("train/deep") == ["train/deep/x"]
    assert len(everything(folder, url)) == len(paths) + 1


def test_names_are_never_stale(folder: Folder, url: str) -> None:
    """What another opener of the folder has written or removed is seen at once."""
    other = RemoteFolder(url) if url.startswith("file://") else open_folder(folder.url)
    write_bytes(folder, "d/1", b"1")
    assert other.names() == folder.names() == ["d/1"]
    write_bytes(folder, "d/2", b"22")
    assert other.names("d") == ["d/1", "d/2"]
    assert other.size("d/2") == 2
    write_bytes(folder, "d/2", b"333")
    assert other.size("d/2") == 3
    folder.remove("d/1")
    assert other.names() == ["d/2"]
    assert other.size("d/1") is None


def test_a_folder_is_there_once_something_is_in_it(folder: Folder) -> None:
    """And its prefix alone, or a file beside it whose name begins like it, does not make it so."""
    assert not folder.exists()
    write_bytes(open_folder(folder.url + "-beside"), "x", b"1")
    assert not folder.exists()
    assert folder.names() == []
    write_bytes(folder, "deep/down/file", b"1")
    assert folder.exists()


def test_removals(folder: Folder, url: str) -> None:
    """One file; a folder and nothing beside it; what a killed process left and nothing else."""
    for path in ("train/1", "train/deep/2", "train2/3", "top", ".top.tmp-0123456789ab"):
        write_bytes(folder, path, b"1")
    write_bytes(folder, "train2/.3.tmp-0123456789ab", b"1")
    folder.remove_unfinished()
    assert everything(folder, url) == ["top", "train/1", "train/deep/2", "train2/3"]
    folder.remove("top")
    folder.remove_all("train")
    assert everything(folder, url) == ["train2/3"]


def test_json_goes_around(folder: Folder) -> None:
    """And what is none is one line that names the file."""
    write_json(folder, "value.json", {"a": [1, "é"]})
    assert read_json(folder, "value.json") == {"a": [1, "é"]}
    write_bytes(folder, "torn.json", b'{"a": ')
    with pytest.raises(OstracaError, match=r"torn.json: is not readable JSON"):
        read_json(folder, "torn.json")


def test_a_second_lock_is_refused_until_the_first_ends(folder: Folder) -> None:
    """With the line that says so; after an error in the body, too, it is free again."""
    second = folder.lock("corpus/.build/lock")
    refusal = r"another build is running in this folder.*choose another out="
    with folder.lock("corpus/.build/lock"), pytest.raises(OstracaError, match=refusal):
        second.__enter__()
    with pytest.raises(ZeroDivisionError), folder.lock("corpus/.build/lock"):
        raise ZeroDivisionError
    with folder.lock("corpus/.build/lock"):
        pass


def test_threads_share_a_folder(folder: Folder) -> None:
    """Eight write, read and list at once; nobody sees another's bytes."""

    def work(number: int) -> bool:
        content = PAYLOAD[number * 1000 : number * 1000 + 50_000]
        for turn in range(3):
            path = f"{number}/{turn}"
            write_bytes(folder, path, content)
            with folder.open(path) as file:
                file.seek(10)
                if file.read(100) != content[10:110] or folder.read(path) != content:
                    return False
        return len(folder.names(str(number))) == 3

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(folder.names()) == 24


def test_a_folder_travels_to_another_process(folder: Folder, url: str) -> None:
    """Its url opens it there; so does a pickle of it. (Memory is each process's own.)"""
    if url.startswith("memory"):
        assert pickle.loads(pickle.dumps(folder)).url == folder.url == url
        pytest.skip("memory:// does not leave its process")
    code = """
import pickle, sys
from ostraca.pipeline.store.folder import write_bytes
from ostraca.pipeline.store.open import open_folder
for number, folder in enumerate([open_folder(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2]))]):
    write_bytes(folder, f"from/{number}", b"child")
"""
    command = [sys.executable, "-W", "error", "-c", code, folder.url, pickle.dumps(folder).hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert folder.names() == ["from/0", "from/1"]
    assert folder.read("from/1") == b"child"


def _read_in_child(folder: Folder, answers: Any) -> None:
    answers.put(folder.read("file"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the point of this test
def test_a_forked_child_may_go_on_with_a_folder(folder: Folder) -> None:
    """As loaders' workers do: the thread that does a store's work in the parent is not there in the child."""
    write_bytes(folder, "file", b"content")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_read_in_child, args=(folder, answers))
    child.start()
    try:
        assert answers.get(timeout=30) == b"content"
        child.join(30)
    finally:
        child.kill()
    assert child.exitcode == 0


@pytest.mark.soak
def test_ray_workers_write_where_the_driver_reads(s3: str, ray_session: Any) -> None:
    """A folder goes to Ray's workers as an argument; test_remote_build.py has whole builds."""

    def write(folder: Folder, number: int) -> str:
        return write_bytes(folder, f"shards/{number}", PAYLOAD[: number * 1000]).sha256

    folder = open_folder(f"{s3}/corpus")
    here = {"env_vars": {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}}
    write_there = ray_session.remote(write).options(runtime_env=here)
    hashes = ray_session.get([write_there.remote(folder, number) for number in range(6)])
    assert [folder.sha256(f"shards/{number}") for number in range(6)] == hashes


def test_files_larger_than_the_spool_go_through_a_nameless_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of it is ever to be seen in the folder for temporary files."""
    monkeypatch.setattr(remote, "SPOOLED", 1000)
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spools))
    with folder.create("file") as file:
        file.write(PAYLOAD)
        assert list(spools.iterdir()) == []
    assert folder.sha256("file") == hashlib.sha256(PAYLOAD).hexdigest() == file.sha256


def test_a_file_of_many_parts_is_whole(s3: str) -> None:
    """Beyond 100 MiB, S3 gets it in parts; its ETag is no MD5 then."""
    folder = open_folder(s3)
    with folder.create("large") as file:
        for _ in range(101):
            file.write(PAYLOAD)
    stamp = folder.stamp("large")
    assert stamp is not None
    assert stamp[0] == 101 << 20
    assert stamp[1].endswith("-3")
    assert folder.sha256("large") == file.sha256


def test_parts_that_were_never_put_together_are_dropped(s3: str, s3_server: Any) -> None:
    """Those of this folder; another's upload goes on."""
    bucket = s3.removeprefix("s3://")
    for key in ("corpus/shard", "corpus2/shard"):
        assert s3_server.request("POST", f"/{bucket}/{key}?uploads")[0] == 200
    open_folder(f"{s3}/corpus").remove_unfinished()
    uploads = s3_server.request("GET", f"/{bucket}?uploads")[1]
    assert b"<Key>corpus2/shard</Key>" in uploads
    assert b"<Key>corpus/shard</Key>" not in uploads


def test_a_folder_made_by_a_console_is_no_file(s3: str, s3_server: Any) -> None:
    """Consoles keep empty folders as objects of no bytes whose names end in '/'."""
    bucket = s3.removeprefix("s3://")
    for key in ("corpus/", "corpus/train/"):
        assert s3_server.request("PUT", f"/{bucket}/{key}")[0] == 200
    folder = open_folder(f"{s3}/corpus")
    assert folder.names() == []
    write_bytes(folder, "train/x", b"1")
    assert folder.names() == ["train/x"]


def test_a_whole_bucket_may_be_a_folder(s3: str) -> None:
    """With nothing after its name."""
    folder = open_folder(f"{s3}/")
    assert str(folder) == s3
    assert not folder.exists()
    write_bytes(folder, "top", b"1")
    assert folder.exists()
    assert folder.names() == ["top"]


def test_which_folder_a_name_opens() -> None:
    """Paths and file:// are local, a folder stays what it is."""
    folder = open_folder("memory://x/y/")
    assert isinstance(folder, RemoteFolder)
    assert str(folder) == folder.url == "memory://x/y"
    assert open_folder(folder) is folder
    for where in ("some/path", Path("some/path"), "file:///some/path", "local:///some/path"):
        assert isinstance(open_folder(where), LocalFolder)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "s4://bucket/x",
            r"s4://bucket/x: unknown protocol s4:// \(did you mean 's3'\?\); use a local path, .*s3://",
        ),
        ("s3://", r"s3://: names no bucket; give s3://bucket/folder"),
        ("s3://bucket/run[1]", r"cannot have \* \? or \[ in its name"),
        ("simplecache::s3://bucket/x", r"a chain of stores"),
        ("gs://bucket/x", r"gs://bucket/x: gs:// needs gcsfs: pip install 'ostraca\[gcs\]'"),
    ],
)
def test_a_url_that_cannot_be_used_is_said_in_one_line(
    url: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is allowed, or what to install."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # not installed, whatever the machine has
    with pytest.raises(ConfigError, match=line) as error:
        open_folder(url)
    assert "\n" not in str(error.value)


def test_a_missing_library_is_named() -> None:
    """s3:// where s3fs is not installed."""
    code = """
import sys
sys.modules["s3fs"] = None
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import ConfigError
try:
    open_folder("s3://bucket/x")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "s3://bucket/x: s3:// needs s3fs: pip install 'ostraca[s3]'\n"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_local_folder_opens_regular_files_alone(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A pipe would wait forever, a device has no end."""
    make(tmp_path / "x")
    folder = LocalFolder(tmp_path)
    for read in (
        folder.open,
        folder.read,
        folder.sha256,
        lambda path: folder.read_range(path, 0, 5),
        lambda path: read_json(folder, path),
    ):
        with pytest.raises(OstracaError, match="x: is not a regular file"):
            read("x")


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_a_lock_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OstracaError, match="lock: this is a pipe or a socket"), lock(tmp_path / "lock"):
        pass
    with pytest.raises(OstracaError, match="lock: is not a regular file"):
        lock_owner(tmp_path / "lock")
