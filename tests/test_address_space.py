"""Where a process may have too little address space, one line says so: no traceback, no abort, no hang."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ostraca
from ostraca import cli

ROOT = Path(ostraca.__file__).resolve().parent.parent
BUILD = ["build", "dataset=mano", "examples=100", "report=false", "out=c"]


def limited(kibibytes: int, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command after `ulimit -v`."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (kibibytes << 10, kibibytes << 10))

    before: Callable[[], None] = limit
    return subprocess.run(
        [sys.executable, str(ROOT / "ostraca"), *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        preexec_fn=before,
        timeout=100,
    )


@pytest.mark.parametrize("kibibytes", [900_000, 600_000])
@pytest.mark.parametrize(
    "words",
    [
        [*BUILD, "engine=local"],
        BUILD,
        ["inspect", "dataset=mano", "show=1"],
        ["verify", "path=c"],
        ["plan", "dataset=mano", "examples=100"],
    ],
    ids=["build", "build with Ray", "inspect", "verify", "plan"],
)
def test_less_than_1_gib(words: list[str], kibibytes: int, tmp_path: Path) -> None:
    done = limited(kibibytes, words, tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"ostraca: out of memory: a limit (ulimit -v) leaves {kibibytes / 2**20:.1f} GiB of address space, "
        "and ostraca needs 1.0 GiB at least; raise it, or lift it with `ulimit -v unlimited`\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_less_than_ray_maps(tmp_path: Path) -> None:
    done = limited(3 << 20, BUILD, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "ostraca: out of memory: a limit (ulimit -v) leaves 3.0 GiB of address space, and Ray"
    )
    assert line.endswith("or use engine=local")
    assert limited(3 << 20, [*BUILD, "engine=local"], tmp_path).returncode == 0


def test_what_needs_no_memory_goes_on(tmp_path: Path) -> None:
    for words in (["--version"], ["build", "--help"], []):
        assert limited(900_000, words, tmp_path).returncode == 0


def test_memory_that_runs_out_on_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than any machine has."""
    monkeypatch.setattr("ostraca.pipeline.commands.inspect_examples.run", lambda config: bytearray(1 << 60))
    assert cli.main(["inspect", "dataset=mano"]) == 1
    assert capsys.readouterr().err.startswith(
        "ostraca: out of memory; give this process more, or ask for less"
    )
