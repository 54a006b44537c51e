"""What is installed is one package: no top-level module of ours can meet one of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import ostraca

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("conf", "loaders", "pipeline", "tasks", "training")


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel and the source archive of a clean copy of the repository."""
    pytest.importorskip("setuptools", minversion="77")
    root = tmp_path_factory.mktemp("package")
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    copy = root / "copy"
    for file in files:
        if file.startswith("tests/") or not (ROOT / file).exists():
            continue
        target = copy / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / file).is_symlink():
            target.symlink_to(os.readlink(ROOT / file))
        else:
            target.write_bytes((ROOT / file).read_bytes())
    code = (
        "from setuptools import build_meta\n"
        f"build_meta.build_sdist({str(root)!r})\n"
        f"build_meta.build_wheel({str(root)!r})\n"
    )
    run("-c", code, cwd=copy)
    return root


def test_every_folder_of_ours_is_installed() -> None:
    """The list in pyproject.toml names each; what it does not name would be missing from a wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert set(listed) == {"ostraca", *("ostraca." + ".".join(folder.parts) for folder in folders)}


def test_the_wheel_holds_one_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"ostraca"}
    tracked = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {f"ostraca/{name}" for name in tracked} <= set(names)
    assert "ostraca/py.typed" in names
    assert not any("/tests/" in name or name.endswith(".pyc") for name in names)


def test_the_source_archive_makes_the_same_wheel(built: Path) -> None:
    (archive,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    unpacked = built / "unpacked"
    with tarfile.open(archive) as file:
        file.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    run("-c", f"from setuptools import build_meta\nbuild_meta.build_wheel({str(unpacked)!r})", cwd=source)
    (again,) = unpacked.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("how", ["wheel", "PYTHONPATH"])
def test_modules_of_the_users_own_do_no_harm(
    how: str, built: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In a folder with a tasks.py, a pipeline.py, loaders.py, training/ and conf/ that fail on import.

    The wheel is found by a Ray that the command starts, this checkout by one that runs already.
    """
    pytest.importorskip("ray")
    home, engine = ROOT, ["engine=ray", "workers=1"]
    if how == "PYTHONPATH":
        ray = request.getfixturevalue("ray_session")
        engine.append(f"ray.address={ray.get_runtime_context().gcs_address}")
    else:
        home = tmp_path / "site"
        (wheel,) = built.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(home)
    here = tmp_path / "here"
    for name in ("tasks.py", "pipeline.py", "loaders.py", "training/__init__.py", "conf/__init__.py"):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise SystemExit('this is no module of ostraca')\n")
    words = ["-m", "ostraca", "build", "dataset=mano", "examples=50", "splits.test.examples=5", "out=c"]
    done = run(*words, *engine, cwd=here, PYTHONPATH=str(home))
    assert "mano-10 in c" in done.stdout
    code = (
        "import ostraca\n"
        "from ostraca import CorpusSource, TokenStream, loaders\n"
        f"assert ostraca.__file__.startswith({str(home)!r}), ostraca.__file__\n"
        "stream = TokenStream(CorpusSource('c', split='train'), batch_size=2, length=64)\n"
        "print(next(iter(stream))['input_ids'].shape)\n"
    )
    assert run("-c", code, cwd=here, PYTHONPATH=str(home)).stdout == "(2, 64)\n"


def test_public_names_are_there_and_light() -> None:
    """Each is what its home has; the list of them imports nothing heavy."""
    for name in ostraca.__all__:
        assert getattr(ostraca, name) is not None
        assert name in dir(ostraca)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ostraca.nothing
    assert {"build", "verify", "CorpusSource", "TokenStream"} <= set(ostraca.__all__)
