"""Compiled kernels where no cache can be kept: one line, right results, nothing beside the source."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ostraca.tasks.core.kernels
import ostraca.tasks.core.temporary

RUN = "from tasks.core.b import f; print(f(1))"
NO_HOME = """
import pwd
def nobody(number): raise KeyError(number)
pwd.getpwuid = nobody
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small copy of the package: a kernel that inlines a function of another file."""
    root = tmp_path / "tree"
    (root / "tasks" / "core").mkdir(parents=True)
    for module in (ostraca.tasks.core.kernels, ostraca.tasks.core.temporary):
        shutil.copy(module.__file__, root / "tasks" / "core")
    (root / "tasks" / "core" / "b.py").write_text(
        "from .a import g\nfrom .kernels import kernel\n\n\n@kernel\ndef f(x):\n    return g(x)\n"
    )
    write(root, 1)
    return root


def write(root: Path, more: int) -> None:
    """The inlined function adds so much."""
    (root / "tasks" / "core" / "a.py").write_text(
        f"from .kernels import inlined\n\n\n@inlined\ndef g(x):\n    return x + {more}\n"
    )


def run(
    tree: Path, *, first: str = "", limit: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    def before() -> None:
        if limit is not None:  # bytes of a file: a write beyond fails
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", first + RUN],
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
        preexec_fn=before,
        env={**given, **environment},
    )


def compiled_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a home where nothing can be made": lambda base: {"HOME": "/proc/1", "TMPDIR": str(base)},
    "no home, no passwd": lambda base: {"first": NO_HOME, "TMPDIR": str(base)},
    "the cache is a file": lambda base: {"NUMBA_CACHE_DIR": "/dev/null", "TMPDIR": str(base)},
    "nothing can be written anywhere": lambda base: {"limit": 0, "HOME": str(base)},
    "a disk that is full by then": lambda base: {"limit": 10, "HOME": str(base)},
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_run_where_no_cache_can_be_kept(case: str, tree: Path, tmp_path: Path) -> None:
    """One line says so; a change of an inlined function is seen, since nothing is kept beside the source."""
    base = tmp_path / "base"
    base.mkdir()
    for more in (1, 5):
        write(tree, more)
        done = run(tree, **CASES[case](base))
        assert done.stdout == f"{1 + more}\n", done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("ostraca: compiled kernels cannot be kept")
        assert compiled_in(tree) == []
    assert not list(base.glob("ostraca-kernels-*")), "a temporary folder was left"


def test_an_empty_setting_is_none(tree: Path, tmp_path: Path) -> None:
    """`NUMBA_CACHE_DIR=` puts nothing into the current folder."""
    before = sorted(tree.rglob("*"))
    done = run(tree, NUMBA_CACHE_DIR="", HOME=str(tmp_path / "home"))
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert sorted(tree.rglob("*")) == before
    assert compiled_in(tmp_path / "home")


def test_every_version_of_numba_has_a_folder_of_its_own(tree: Path, tmp_path: Path) -> None:
    """Of two environments that share a home, neither writes over what the other is about to load."""
    home = tmp_path / "home"
    for first in ("", "import numba; numba.__version__ = '0.0'\n"):
        assert run(tree, first=first, HOME=str(home)).stdout == "2\n"
    assert len(list((home / ".cache" / "ostraca" / "kernels").iterdir())) == 2


def test_a_cache_that_others_can_write_to_is_not_believed(tree: Path, tmp_path: Path) -> None:
    """What lies in it would be run."""
    home = tmp_path / "home"
    assert run(tree, HOME=str(home)).stderr == ""
    (folder,) = (home / ".cache" / "ostraca" / "kernels").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    done = run(tree, HOME=str(home))
    assert done.stdout == "2\n"
    assert "can be written by others" in done.stderr
