"""What is printed never decides how a command ends: no encoding for it, closed, full, or nobody who reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ostraca.pipeline.check.verify import verify

ROOT = Path(__file__).resolve().parent.parent


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`ostraca` is the command of this checkout; the last line is its status."""
    ostraca = f"{sys.executable} {ROOT}/ostraca"
    return subprocess.run(
        ["bash", "-c", command.replace("ostraca", ostraca)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.mark.parametrize(
    ("tail", "encoding", "told"),
    [
        ("", "latin-1", ""),
        (">&- 2>&-", "utf-8", ""),
        ("| true", "utf-8", ""),
        ("> /dev/full", "ascii", "ostraca: standard output: No space left on device"),
    ],
)
def test_a_build_is_whole_whatever_becomes_of_its_words(
    tail: str, encoding: str, told: str, tmp_path: Path
) -> None:
    words = "dataset=mano examples=50 splits.test.examples=5 engine=local report=false"
    build = f"ostraca build {words} out={tmp_path}/c"
    done = shell(f"{build} {tail}; echo ${{PIPESTATUS[0]}} >> {tmp_path}/status", PYTHONIOENCODING=encoding)
    assert (tmp_path / "status").read_text() == "0\n", done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert told in done.stderr
    assert verify(tmp_path / "c") == []


@pytest.mark.parametrize("tail", [">&-", "2>&-", "| true", ">&- 2>&-"])
@pytest.mark.parametrize("words", ["", "inspect dataset=mano show=1", "verify path=/no/such"])
def test_no_command_minds(words: str, tail: str) -> None:
    done = shell(f"ostraca {words} {tail}; echo ${{PIPESTATUS[0]}}", PYTHONIOENCODING="ascii")
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    status = done.stdout.splitlines()[-1]
    assert status in (("1", "2") if words.startswith("verify") else ("0", "141"))
