"""Whatever was opened is closed, by whoever opened it: nothing waits for the garbage collector."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def in_dev_mode(program: str, *words: str, tail: str = "") -> str:
    """Standard error of a program that succeeds, with which Python warns of files that were never closed."""
    command = shlex.join([sys.executable, "-X", "dev", str(ROOT / program), *words])
    done = subprocess.run(
        ["bash", "-c", f"{command} {tail}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_no_command_and_no_loader_leaves_anything_open(tmp_path: Path) -> None:
    """Builds, checks, exports, streams left half-way, bad input: see tests/harness/closing.py.

    What it prints says after which step; PYTHONTRACEMALLOC=9 says where the thing was opened.
    """
    told = in_dev_mode("tests/harness/closing.py", str(tmp_path))
    assert "- no reader\n" in told, "the last step"
    for sign in ("ResourceWarning", "left open", "Exception ignored"):
        assert sign not in told, told


def test_what_stands_in_for_a_closed_standard_output_is_no_file_left_open() -> None:
    assert in_dev_mode("ostraca", "--version", tail=">&-") == ""
