"""A build that is held up, loses its folder to another, and wakes up when that one has finished: no harm.

It is stopped (SIGSTOP) at each look whether it may still write, just before and just after. On S3 its lease
runs out meanwhile; on a disk its lock goes, as on a file server that was cut off.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from harness.forks import Forks
from test_kill import specs

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.jobs.engine import open_engine
from ostraca.pipeline.build.shards.shard import make_shard
from ostraca.pipeline.build.shards.warm import warm_kernels
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.layout import LOCK, STATE
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.shards import plan
from ostraca.pipeline.store.fence import Fence, LostLockError
from ostraca.pipeline.store.folder import Folder, write_json
from ostraca.pipeline.store.lease import Term
from ostraca.pipeline.store.local import LocalFolder
from ostraca.pipeline.store.open import open_folder
from ostraca.pipeline.store.remote import RemoteFolder
from ostraca.tasks.errors import OstracaError

NAMES = ("plain", "packed-drop", "redraw")
TERM = Term(expires=1.0, settle=0.01)


@pytest.fixture(params=["s3", "disk"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Where a corpus may be, by a name."""
    base = request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path)
    return lambda name: f"{base}/{name}"


@pytest.fixture(scope="module")
def forks(request: pytest.FixtureRequest) -> Iterator[Forks]:
    """Its processes find S3, where this environment has one."""
    found = request.getfixturevalue("s3_server").environment if find_spec("moto") else {}
    with Forks([specs()[name] for name in NAMES], **found) as server:
        yield server


def folder_of(where: str) -> Folder:
    return RemoteFolder(where, term=TERM) if "://" in where else LocalFolder(where)


def finish_as_another(where: str, spec: dict[str, Any]) -> None:
    """Build the corpus though another has begun it and does not answer."""
    folder = folder_of(where)
    if isinstance(folder, LocalFolder):
        folder.remove(LOCK)
    for _ in range(100):
        try:
            build(spec, folder, engine="local")  # type: ignore[arg-type]
            return
        except LostLockError:  # on a busy machine: it was too slow to renew so short a lease
            continue
        except OstracaError as error:
            if "another build is running" not in str(error):
                raise
            time.sleep(0.1)
    raise AssertionError("the lock of the one that was stopped never ran out")


def files_of(where: str) -> dict[str, bytes]:
    """All files of a corpus but its state; of the manifest all but when and how it was written."""
    folder = open_folder(where)
    found = {name: folder.read(name) for name in folder.names() if not name.startswith(STATE)}
    if "manifest.json" in found:
        plain = json.loads(found["manifest.json"])
        found["manifest.json"] = json.dumps({**plain, "created": None}).encode()
    return found


def try_all(forks: Forks, places: Callable[[str], str], name: str, most: int | None) -> int:
    """Hold a build before or after some of its looks, or before and after each; how often it was held."""
    spec = specs()[name]
    for attempt in range(10):  # on a busy machine even this one may be too slow to renew so short a lease
        first = places(f"reference-{attempt}")
        assert not forks.hold(first, spec, number=10**6, after=False)
        ended = forks.go_on()
        if not (ended["error"] or "").startswith("LostLockError: "):
            break
    assert ended["error"] is None
    reference = files_of(first)
    held, looks = 0, range(1, len(ended["stages"]))
    for number in looks if most is None else looks[len(looks) // (2 * most) :: len(looks) // most]:
        for after in (False, True) if most is None else (number % 2 == 0,):
            where = places(f"{number}-{after}")
            if not forks.hold(where, spec, number=number, after=after):
                assert forks.go_on()["error"] is None
                continue
            held += 1
            finish_as_another(where, spec)
            manifest = open_folder(where).read("manifest.json")
            error = forks.go_on()["error"]
            at = f"{name}, {'after' if after else 'before'} look {number}: {error}"
            assert error is None or error.startswith(("LostLockError: ", "OstracaError: ")), at
            if not after:
                assert error is None or error.startswith("LostLockError: "), at
            assert open_folder(where).read("manifest.json") == manifest, at
            assert files_of(where) == reference, at
            assert verify(where) == [], at
            build(spec, where, engine="local")
            assert not [name for name in open_folder(where).names() if name.startswith(STATE)], at
    return held


@pytest.mark.parametrize(("name", "holds"), [("plain", 1), ("packed-drop", 1), ("redraw", 2)])
def test_one_that_wakes_up_changes_nothing(
    forks: Forks, places: Callable[[str], str], name: str, holds: int
) -> None:
    """At some looks, spread over the stages of a build."""
    assert try_all(forks, places, name, holds) >= holds


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_one_that_wakes_up_anywhere_changes_nothing(
    forks: Forks, places: Callable[[str], str], name: str
) -> None:
    held = try_all(forks, places, name, None)
    print(f"\n{name}: held up {held} times, and never any harm")
    assert held > (30 if name == "plain" else 50)  # a plain build on disk looks at its lock some 20 times


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_workers_of_a_build_that_lost_its_folder_stop(
    places: Callable[[str], str], engine: str, request: pytest.FixtureRequest
) -> None:
    """A worker that is cut off from its driver looks for itself, before it writes or removes."""
    if engine == "ray":
        request.getfixturevalue("ray_session")
    spec = check_spec(specs()["plain"])
    folder = open_folder(places("corpus"))
    shards = list(plan(spec))
    lost = r"lost the folder to another|is gone, so this build stops"
    with folder.lock(LOCK) as owner:
        fenced = folder.fenced(Fence(path=LOCK, owner=owner))
        job = functools.partial(make_shard, spec, "digest", Changes(), fenced)
        with open_engine(functools.partial(warm_kernels, spec), engine=engine) as runner:
            assert len(list(runner.map(job, shards[:1]))) == 1
            with folder.create(LOCK) as file:  # another's
                file.write(b"another")
            time.sleep(1.1)  # for so long the last look counts in a store
            before = sorted(folder.names())
            with pytest.raises(OstracaError, match=lost):
                list(runner.map(job, shards[1:2]))
        first = shards[0].path
        for write in (
            lambda: fenced.remove(first),
            lambda: fenced.remove_all(STATE),
            fenced.remove_unfinished,
            lambda: fenced.move(first, "elsewhere"),
            lambda: write_json(fenced, first, {}),
        ):
            with pytest.raises(LostLockError, match=lost):
                write()
        assert sorted(folder.names()) == before
