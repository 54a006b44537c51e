"""What all tests share: one Ray for the session, small specs, the command line in a process of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from s3 import S3Server

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests may import `oracles`

# Processes that tests start find this ostraca, whether or not it is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait for each other
os.environ.setdefault(
    "OSTRACA_PROGRESS_SECONDS", "3600"
)  # what a test prints must not hang on the machine's load

# Models are trained where the extra `train` is installed; other tests skip by themselves.
collect_ignore_glob = [] if find_spec("torch") else ["training/test_*.py"]

_BUCKETS = itertools.count(1)

# Files of few tests that take long, the longest first: one that began last would have a core to itself.
LONG = (
    "cluster",
    "kill",
    "faults",
    "ray_errors",
    "lost_locks",
    "package",
    "cluster_examples",
    "remote_build",
    "audits",
)

# `-m quick`: of these files, what needs neither Ray nor a store. Each room at its thinnest.
QUICK = {
    *("contract", "golden", "words", "batch", "api", "capo_text"),
    *("depo_laws", "mano_laws", "lano_laws"),
    *("spec_and_plan", "verify", "statistics", "fingerprint", "row_groups"),
    *("stream", "mixture", "packed_stream", "models", "layering"),
}
SLOW_FIXTURES = {"ray_session", "s3", "s3_server"}

SMALL = {"N": 20, "K": 4, "M": 5}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; mark what is quick."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))
    for item in items:
        long = SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or any(
            item.get_closest_marker(name) for name in ("soak", "peers")
        )
        if item.path.stem.removeprefix("test_") in QUICK and not long:
            item.add_marker("quick")


def make_spec(
    train: int = 2000, test: int = 100, seed: int = 0, shard_tokens: int = 20_000, **extra: Any
) -> dict[str, Any]:
    """A Depo spec of some small shards."""
    splits = {"train": {"examples": train}, "test": {"examples": test, "config": {"qa": True}}}
    return {
        "name": "small",
        "seed": seed,
        "shard_tokens": shard_tokens,
        "row_group_tokens": 5_000,
        "datasets": {"small": {"task": "depo", "config": SMALL, "splits": splits}},
        **extra,
    }


@pytest.fixture
def spec() -> Callable[..., dict[str, Any]]:
    """A maker of small specs."""
    return make_spec


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small built corpus. Tests must not change it: copy it first."""
    from ostraca.pipeline.build.build import build

    root = tmp_path_factory.mktemp("corpus") / "small"
    build(make_spec(), root, engine="local")
    return root


@pytest.fixture
def corpus_copy(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the small corpus, to be damaged."""
    import shutil

    return Path(shutil.copytree(corpus, tmp_path / "copy"))


@pytest.fixture(scope="session")
def ray_session(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One local Ray with 3 cores for all tests that need it; its workers find the session's S3."""
    ray = pytest.importorskip("ray")
    own = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("moto") and find_spec("s3fs"):
            for name, value in request.getfixturevalue("s3_server").environment.items():
                patch.setenv(name, value)
        # "local": never one that somebody else runs on this machine.
        ray.init(address="local", num_cpus=3, **own)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for the session, on loopback. Most tests want `s3`."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from s3 import running_s3

    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket of its own, e.g. s3://bucket-1; this process and its children find it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{next(_BUCKETS)}"
    s3_server.make_bucket(bucket)
    return f"s3://{bucket}"


@pytest.fixture
def run_ostraca() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `ostraca ...` as a user does; its output is captured (a pipe, no terminal)."""

    def run(*words: str, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "ostraca"), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def run_here(capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `ostraca ...` in this process, which saves the second that one of its own takes to start."""
    from ostraca import cli

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        status = cli.main(list(words))
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return run


def files_of(root: Path) -> dict[str, bytes]:
    """Every shard of a corpus with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}
