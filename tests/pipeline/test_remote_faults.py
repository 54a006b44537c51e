"""A store that fails: each request may break in every way; then the bytes are right, or one line says why."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Callable, Iterator

import fsspec.config
import numpy as np
import pytest
from s3 import Exchange, Proxy, S3Server, running_proxy

from ostraca.pipeline.store import remote
from ostraca.pipeline.store.errors import Patience
from ostraca.pipeline.store.folder import write_bytes
from ostraca.pipeline.store.remote import RemoteFolder
from ostraca.tasks.errors import OstracaError

PAYLOAD = np.random.default_rng(0).bytes(300_000)
QUICK = Patience(attempts=6, first=0.001, longest=0.002)
READ_TIMEOUT = 0.4  # seconds; s3fs waits for 15


@pytest.fixture(scope="module")
def listening(s3_server: S3Server) -> Iterator[Proxy]:
    with running_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def proxy(listening: Proxy, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy, breaking nothing yet, in the place of the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", listening.endpoint)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": READ_TIMEOUT}})
    listening.fault = lambda exchange: False
    listening.seen.clear()
    yield listening
    listening.fault = lambda exchange: False


@pytest.fixture
def folder(proxy: Proxy, s3: str) -> RemoteFolder:
    """A folder whose requests go through the proxy."""
    return RemoteFolder(f"{s3}/corpus", QUICK)


@pytest.fixture
def stored(s3: str, s3_server: S3Server) -> Callable[[str], bytes | None]:
    """What stands in the store under a name, seen past proxy and library; None where nothing does."""

    def read(path: str) -> bytes | None:
        status, content = s3_server.request("GET", f"/{s3.removeprefix('s3://')}/corpus/{path}")
        return content if status == 200 else None

    return read


def slow_down(exchange: Exchange) -> None:
    exchange.fail(503, "SlowDown")


def internal_error(exchange: Exchange) -> None:
    exchange.fail(500, "InternalError")


def no_xml(exchange: Exchange) -> None:
    exchange.answer(502, [("Content-Type", "text/html")], b"<h1>Bad gateway")


def reset(exchange: Exchange) -> None:
    exchange.reset()


def lost_answer(exchange: Exchange) -> None:
    """The server does it, but nobody hears of it."""
    exchange.ask()
    exchange.reset()


def torn_upload(exchange: Exchange) -> None:
    """Half of it is stored as if it were all, and that is called a success."""
    exchange.answer(*exchange.ask(exchange.body[: len(exchange.body) // 2]))


def torn_upload_and_reset(exchange: Exchange) -> None:
    """Half of it is stored, then the connection breaks."""
    exchange.ask(exchange.body[: len(exchange.body) // 2])
    exchange.reset()


def changed_upload(exchange: Exchange) -> None:
    """As many bytes are stored, but one bit is wrong."""
    exchange.answer(*exchange.ask(bytes([exchange.body[0] ^ 1]) + exchange.body[1:]))


def torn_download(exchange: Exchange) -> None:
    """The connection ends in the middle of the body."""
    status, headers, content = exchange.ask()
    exchange.answer(status, headers, content[: len(content) // 2], length=len(content))
    exchange.reset()


def short_download(exchange: Exchange) -> None:
    """Half of the body, and no sign that it is half."""
    status, headers, content = exchange.ask()
    exchange.answer(status, headers, content[: len(content) // 2])


PASSING = [slow_down, internal_error, no_xml, reset, lost_answer]


def one_line(error: pytest.ExceptionInfo[OstracaError], path: str) -> str:
    """The line that the user gets; it must be one, and name the file."""
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("s3://")
    assert path in text
    return text


@pytest.mark.parametrize("fault", PASSING)
def test_every_operation_outlives_faults_that_pass(
    proxy: Proxy, folder: RemoteFolder, fault: Callable[[Exchange], None]
) -> None:
    """A failure of each kind of request in each operation."""
    operations: list[tuple[str, Callable[[], object], object]] = [
        ("PUT", lambda: write_bytes(folder, "a/file", PAYLOAD).size, len(PAYLOAD)),
        ("HEAD", lambda: write_bytes(folder, "a/file", PAYLOAD).size, len(PAYLOAD)),
        ("GET", lambda: folder.read("a/file"), PAYLOAD),
        ("HEAD", lambda: folder.read("a/file"), PAYLOAD),
        ("GET", lambda: folder.read_range("a/file", 1000, 9000), PAYLOAD[1000:9000]),
        ("GET", lambda: folder.open("a/file").read(), PAYLOAD),
        ("GET", lambda: folder.sha256("a/file"), hashlib.sha256(PAYLOAD).hexdigest()),
        ("HEAD", lambda: folder.size("a/file"), len(PAYLOAD)),
        ("GET", lambda: folder.size("missing"), None),
        ("GET", lambda: folder.names(), ["a/file"]),
        ("GET", lambda: folder.exists(), True),
        ("DELETE", lambda: folder.remove("a/file"), None),
        ("GET", lambda: folder.names(), []),
    ]
    for method, operation, expected in operations:
        proxy.breaks(1, method, fault)
        assert operation() == expected, (method, fault)


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_request_that_is_never_answered_is_sent_again(
    proxy: Proxy, folder: RemoteFolder, method: str
) -> None:
    """Given up after the client's time for reading, then repeated."""
    proxy.breaks(1, method, proxy.never_answer)
    write_bytes(folder, "file", PAYLOAD)
    assert folder.read("file") == PAYLOAD


@pytest.mark.parametrize(
    ("method", "fault"),
    [("PUT", slow_down), ("PUT", internal_error), ("PUT", no_xml), ("PUT", reset), ("HEAD", slow_down)],
)
def test_a_store_that_goes_on_failing_ends_in_one_line(
    proxy: Proxy,
    folder: RemoteFolder,
    stored: Callable[[str], bytes | None],
    method: str,
    fault: Callable[[Exchange], None],
) -> None:
    """After six attempts, no more; nothing stands under the name."""
    proxy.breaks(1000, method, fault)
    with pytest.raises(OstracaError, match=r"the store (fails|does not answer) \(.*6 attempts\)") as error:
        write_bytes(folder, "file", PAYLOAD)
    one_line(error, "/corpus/file:")
    assert sum(seen == method for seen, _ in proxy.seen) <= 2 * QUICK.attempts
    assert stored("file") is None


def test_a_store_that_never_answers_ends_in_one_line(
    proxy: Proxy, s3: str, stored: Callable[[str], bytes | None]
) -> None:
    """That says where to look."""
    proxy.fault = lambda exchange: proxy.never_answer(exchange) is None
    folder = RemoteFolder(f"{s3}/corpus", Patience(attempts=2, first=0.001))
    with pytest.raises(OstracaError, match=r"does not answer .*2 attempts.*AWS_ENDPOINT_URL") as error:
        write_bytes(folder, "file", PAYLOAD)
    one_line(error, "/corpus/file:")
    assert stored("file") is None


def test_a_store_that_takes_no_bytes_ends_in_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts connections and reads nothing; the library's own times do not see that."""
    monkeypatch.setattr(remote, "PATIENT", 0.3)
    monkeypatch.setattr(remote, "SLOWEST", 1 << 40)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        folder = RemoteFolder(f"{s3}/corpus", Patience(attempts=2, first=0.001))
        with pytest.raises(OstracaError, match=r"/lease: the store does not answer \(.*2 attempts"):
            folder._create_new("lease", bytes(32 << 20))


@pytest.mark.parametrize("before", [None, b"an older version"])
@pytest.mark.parametrize("fault", [torn_upload, torn_upload_and_reset, changed_upload])
def test_a_torn_upload_is_sent_again(
    proxy: Proxy,
    folder: RemoteFolder,
    stored: Callable[[str], bytes | None],
    fault: Callable[[Exchange], None],
    before: bytes | None,
) -> None:
    """Whether the store called it a success or not; if it stays torn, it does not stay at all."""
    if before is not None:
        write_bytes(folder, "file", before)
    proxy.breaks(2, "PUT", fault)
    write_bytes(folder, "file", PAYLOAD)
    assert stored("file") == PAYLOAD

    proxy.breaks(1000, "PUT", fault)
    with pytest.raises(OstracaError, match=r"6 attempts") as error:
        write_bytes(folder, "file", PAYLOAD + b"more")
    one_line(error, "/corpus/file:")
    assert stored("file") in (None, PAYLOAD)


def test_a_failed_write_leaves_the_file_that_stood_there(
    proxy: Proxy, folder: RemoteFolder, stored: Callable[[str], bytes | None]
) -> None:
    """Where nothing of the new one arrived, the old one is not removed as torn."""
    write_bytes(folder, "file", b"old")
    proxy.breaks(1000, "PUT", internal_error)
    with pytest.raises(OstracaError):
        write_bytes(folder, "file", PAYLOAD)
    assert stored("file") == b"old"


@pytest.mark.parametrize("fault", [torn_download, short_download])
def test_a_torn_download_is_asked_for_again(
    proxy: Proxy, folder: RemoteFolder, fault: Callable[[Exchange], None]
) -> None:
    """By every way of reading; if it stays torn, one line says so."""
    write_bytes(folder, "file", PAYLOAD)
    ways: list[tuple[Callable[[], bytes | str], bytes | str]] = [
        (lambda: folder.read("file"), PAYLOAD),
        (lambda: folder.read_range("file", 5, 200_000), PAYLOAD[5:200_000]),
        (lambda: folder.open("file").read(), PAYLOAD),
        (lambda: folder.sha256("file"), hashlib.sha256(PAYLOAD).hexdigest()),
    ]
    for read, expected in ways:
        proxy.breaks(2, "GET", fault)
        assert read() == expected
    for read, _ in ways[1::2]:
        proxy.breaks(1000, "GET", fault)
        with pytest.raises(OstracaError, match=r"6 attempts") as error:
            read()
        one_line(error, "/corpus/file:")


def test_an_etag_that_is_no_md5_is_not_taken_for_one(
    proxy: Proxy, folder: RemoteFolder, stored: Callable[[str], bytes | None]
) -> None:
    """Encrypted objects have such ETags. The file is read back once; from then on its size must do."""

    def other_etag(exchange: Exchange) -> bool:
        if exchange.method != "HEAD":
            return False
        status, headers, content = exchange.ask()
        etag = hashlib.md5(exchange.path.encode(), usedforsecurity=False).hexdigest()
        kept = [(name, value) for name, value in headers if name.lower() != "etag"]
        exchange.answer(status, [*kept, ("ETag", f'"{etag}"')], content)
        return True

    def reads() -> int:
        return sum(method == "GET" and "list-type" not in path for method, path in proxy.seen)

    proxy.fault = other_etag
    write_bytes(folder, "file", PAYLOAD)
    assert stored("file") == PAYLOAD
    assert reads() == 1
    write_bytes(folder, "second", PAYLOAD)
    assert reads() == 1


@pytest.mark.parametrize(
    ("status", "code", "line"),
    [
        (
            403,
            "AccessDenied",
            "access denied; the credentials must allow reading, writing, listing and deleting there",
        ),
        (403, "InvalidAccessKeyId", "the store refuses these credentials"),
        (403, "SignatureDoesNotMatch", "the store refuses these credentials"),
        (404, "NoSuchBucket", "there is no such bucket; create it first, or correct its name"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    proxy: Proxy, folder: RemoteFolder, status: int, code: str, line: str
) -> None:
    """One request, one line."""
    write_bytes(folder, "there", b"1")
    for method, operation in (
        ("PUT", lambda: write_bytes(folder, "file", PAYLOAD)),
        ("GET", lambda: folder.read("there")),
        ("GET", lambda: folder.names()),
        ("DELETE", lambda: folder.remove("there")),
    ):
        proxy.breaks(1000, method, lambda exchange: exchange.fail(status, code))
        proxy.seen.clear()
        with pytest.raises(OstracaError, match=line) as error:
            operation()
        one_line(error, "/corpus")
        assert sum(seen == method for seen, _ in proxy.seen) == 1


def test_a_missing_bucket_is_named(s3: str) -> None:
    """By a real server, for every operation; it is not taken for an empty folder."""
    folder = RemoteFolder("s3://no-such-bucket/corpus", QUICK)
    for operation in (
        lambda: write_bytes(folder, "file", b"1"),
        lambda: folder.read("file"),
        lambda: folder.open("file"),
        lambda: folder.size("file"),
        lambda: folder.names(),
        lambda: folder.exists(),
        lambda: folder.remove("file"),
        lambda: folder.remove_unfinished(),
        lambda: folder.lock("lock").__enter__(),
    ):
        with pytest.raises(OstracaError, match=r"no-such-bucket/corpus.*: there is no such bucket"):
            operation()


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the places where they are looked for."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(OstracaError, match=r"no credentials for this store .*AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
        RemoteFolder(f"{s3}/corpus", QUICK).read("file")


def test_a_profile_that_is_not_there_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's variable, in the library's words."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(OstracaError, match=r"no credentials for this store .*\(nobody\)"):
        RemoteFolder(f"{s3}/corpus", QUICK).read("file")


def test_an_endpoint_where_nobody_listens_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address that was tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(OstracaError, match=rf"does not answer \(.*{port}.*6 attempts\)"):
        RemoteFolder(f"{s3}/corpus", QUICK).exists()


def test_a_file_that_is_replaced_while_it_is_hashed_is_hashed_anew(
    proxy: Proxy, folder: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the hash of a mixture of two files."""
    monkeypatch.setattr(remote, "BLOCK", 25_000)  # three blocks
    write_bytes(folder, "file", PAYLOAD)
    second = PAYLOAD[::-1]
    through = iter([False, True])

    def replace(exchange: Exchange) -> None:
        answer = exchange.ask()
        if next(through):
            write_bytes(RemoteFolder(folder.url, QUICK), "file", second)
        exchange.answer(*answer)

    proxy.breaks(2, "GET", replace)
    assert folder.sha256("file") == hashlib.sha256(second).hexdigest()


def test_a_store_that_fails_at_random_holds_what_was_written(
    proxy: Proxy, folder: RemoteFolder, stored: Callable[[str], bytes | None]
) -> None:
    """One request in four breaks, in any way; a write ends well or in its line, and never torn."""
    rng = random.Random(5)
    uploads = [torn_upload, torn_upload_and_reset, changed_upload]
    downloads = [torn_download, short_download]

    def fault(exchange: Exchange) -> bool:
        if rng.random() > 0.25:
            return False
        kinds = PASSING + {"PUT": uploads, "GET": downloads if "list-type" not in exchange.path else []}.get(
            exchange.method, []
        )
        rng.choice(kinds)(exchange)
        return True

    proxy.fault = fault
    contents = {f"d/{number}": PAYLOAD[number * 1000 : number * 5000 + 1000] for number in range(12)}
    failed = 0
    for path, content in contents.items():
        try:
            write_bytes(folder, path, content)
            assert folder.read(path) == content
        except OstracaError:
            failed += 1
    proxy.fault = lambda exchange: False
    assert failed < 3
    for path, content in contents.items():
        assert stored(path) in ((content, None) if failed else (content,))
