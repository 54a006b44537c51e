"""Locks in stores: one holder, renewed while it lives, free when it is dead; whatever the store can do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3 import Exchange, Proxy, S3Server, running_proxy

from ostraca.pipeline.store import lease
from ostraca.pipeline.store.errors import Patience
from ostraca.pipeline.store.lease import Term
from ostraca.pipeline.store.remote import RemoteFolder
from ostraca.tasks.errors import OstracaError

LOCK = ".build/lock"
QUICK = Patience(attempts=3, first=0.001, longest=0.002)
REFUSAL = r"corpus: another build is running in this folder.*choose another out="

# Holds the lock of the folder argv[1] until it is killed.
HOLDER = """
import sys, time
from ostraca.pipeline.store.lease import Term
from ostraca.pipeline.store.remote import RemoteFolder
with RemoteFolder(sys.argv[1], term=Term(expires=float(sys.argv[2]))).lock(sys.argv[3]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["s3", "memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with conditional requests, one in memory, and one that must write, wait and read back."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/corpus"
    return f"{request.param}://{tmp_path}/corpus"


@pytest.fixture
def proxy(s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with running_proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def killed_holder(s3: str) -> Iterator[Callable[[float], RemoteFolder]]:
    """A maker of folders whose lock is held by a process that was killed, with leases of so many seconds."""
    children = []

    def make(expires: float) -> RemoteFolder:
        command = [sys.executable, "-c", HOLDER, f"{s3}/corpus", str(expires), LOCK]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        folder = RemoteFolder(f"{s3}/corpus", term=Term(expires=expires, settle=0.01))
        with pytest.raises(OstracaError, match=rf"\(process {child.pid}\)"):
            folder.lock(LOCK).__enter__()
        child.send_signal(signal.SIGKILL)
        return folder

    yield make
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def renewed(folder: RemoteFolder) -> float:
    return float(json.loads(folder.read(LOCK))["renewed"])


def test_of_many_who_want_it_at_once_one_gets_it(proxy: Proxy, s3: str) -> None:
    """Eight threads; each has a folder of its own. The others get the line."""
    one_by_one = threading.Lock()

    def as_s3_does(exchange: Exchange) -> bool:
        """moto looks and then writes; S3 does both at once."""
        if "If-None-Match" not in exchange.headers:
            return False
        with one_by_one:
            exchange.pass_on()
        return True

    proxy.fault = as_s3_does
    url = f"{s3}/corpus"
    start, done = threading.Barrier(8), threading.Barrier(8)
    got: list[str] = []

    def want() -> None:
        folder = RemoteFolder(url, QUICK)
        start.wait(30)
        try:
            with folder.lock(LOCK):
                got.append("held")
                done.wait(30)
        except OstracaError as error:
            got.append(str(error))
            done.wait(30)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(line == "held" for line in got) == [False] * 7 + [True]
    assert all("another build is running in this folder" in line for line in got if line != "held")
    assert RemoteFolder(url).names() == []


def test_a_lease_is_renewed_while_it_is_held(url: str) -> None:
    """So another who comes after it would have run out is refused."""
    folder = RemoteFolder(url, term=Term(expires=0.4, settle=0.01))
    with folder.lock(LOCK):
        first = renewed(folder)
        while renewed(folder) < first + 0.5:  # the time limit of the test ends this where nothing renews it
            time.sleep(0.02)
        with pytest.raises(OstracaError, match=REFUSAL):
            folder.lock(LOCK).__enter__()
    assert folder.names() == []


def test_the_lock_of_a_killed_process_of_this_machine_is_free_at_once(
    killed_holder: Callable[[float], RemoteFolder],
) -> None:
    """Long before its lease runs out; the killed one need not even have been waited for."""
    folder = killed_holder(3600)
    with folder.lock(LOCK):
        assert folder.names() == [LOCK]


def test_the_lock_of_a_process_killed_elsewhere_runs_out(
    killed_holder: Callable[[float], RemoteFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused until then, taken over after."""
    folder = killed_holder(1.0)
    monkeypatch.setattr(lease, "this_machine", lambda: "another")
    last = renewed(folder)
    with pytest.raises(OstracaError, match=r"runs out within two minutes"):
        folder.lock(LOCK).__enter__()
    while time.time() < last + 1.0:
        time.sleep(0.02)
    with folder.lock(LOCK):
        assert renewed(folder) > last


def test_a_holder_whose_clock_is_wrong_keeps_its_lock(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that looks a day old is watched: it is renewed, so its holder lives."""
    folder = RemoteFolder(f"{s3}/corpus", term=Term(expires=1.2, settle=0.01))
    now = time.time
    with folder.lock(LOCK):
        monkeypatch.setattr(lease.time, "time", lambda: now() + 86_400 * (threading.main_thread() is me()))
        with pytest.raises(OstracaError, match=REFUSAL):
            folder.lock(LOCK).__enter__()


def me() -> threading.Thread:
    return threading.current_thread()


def test_a_holder_who_lost_its_lease_leaves_the_new_one_alone(s3: str) -> None:
    """It neither renews over it nor removes it at its end, and its work goes on: two builds agree."""
    folder = RemoteFolder(f"{s3}/corpus", term=Term(expires=0.1, settle=0.01))
    other = json.dumps({"owner": "x", "machine": "m", "pid": 1, "started": "", "renewed": 1.0}).encode()
    with folder.lock(LOCK):
        held = [thread for thread in threading.enumerate() if thread.name.endswith("(renew_until)")]
        while held[0].is_alive():  # a renewal in flight may write over it once
            with folder.create(LOCK) as file:
                file.write(other)
            held[0].join(0.05)
    assert folder.read(LOCK) == other


def _lease(pid: str) -> bytes:
    return b'{"owner": "x", "machine": "m", "pid": %s, "started": "", "renewed": 1}' % pid.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"owner": 1}',
        b"\xff",
        b"[" * 10**5,
        _lease("10000000000000000000000"),
        _lease("Infinity"),
        _lease("-1"),
    ],
)
def test_a_lock_that_cannot_be_read_is_nobodys(s3: str, content: bytes) -> None:
    """Something torn or strange there does not lock the folder for ever."""
    folder = RemoteFolder(f"{s3}/corpus", term=Term(settle=0.01))
    with folder.create(LOCK) as file:
        file.write(content)
    with folder.lock(LOCK):
        pass
    assert folder.names() == []


def test_a_lock_whose_answer_was_lost_is_known_again(proxy: Proxy, s3: str) -> None:
    """The second request finds the file there: it is the own one."""

    def lost(exchange: Exchange) -> None:
        exchange.ask()
        exchange.reset()

    proxy.breaks(1, "PUT", lost)
    with RemoteFolder(f"{s3}/corpus", QUICK).lock(LOCK):
        pass


def test_a_store_without_conditional_requests_locks_as_well(proxy: Proxy, s3: str) -> None:
    """It says so; then the lease is written, and read back after a while."""
    folder = RemoteFolder(f"{s3}/corpus", QUICK, Term(settle=0.01))

    def refuse(exchange: Exchange) -> bool:
        if "If-None-Match" not in exchange.headers:
            return False
        exchange.fail(501, "NotImplemented")
        return True

    proxy.fault = refuse
    with folder.lock(LOCK), pytest.raises(OstracaError, match=REFUSAL):
        folder.lock(LOCK).__enter__()
    with folder.lock(LOCK):
        pass


def test_a_lock_outlives_a_store_that_fails_for_a_while(proxy: Proxy, s3: str) -> None:
    """A renewal that fails is made up for by the next."""
    folder = RemoteFolder(f"{s3}/corpus", QUICK, Term(expires=0.4, settle=0.01))
    with folder.lock(LOCK):
        first = renewed(folder)
        proxy.breaks(QUICK.attempts, "PUT", lambda exchange: exchange.fail(500, "InternalError"))
        while renewed(folder) <= first:
            time.sleep(0.02)
    assert folder.names() == []
