"""What is at fault is named, in one line: a path that is too long, a token that is missing, a full cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.isolation import alone

pytest.importorskip("ray")

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
RAY = str(Path(PYTHON).with_name("ray"))
KERNELS = os.environ.get("NUMBA_CACHE_DIR") or str(Path.home() / ".cache/ostraca/kernels")
# What Ray's own C++ prints where nothing can be done about it, and a namespace without a network.
NOISE = re.compile(r"\[20.*(gcs_client|network_util)\.cc:.*")


def shell(script: str, tmp_path: Path, isolated: bool = True, **environment: str) -> tuple[int, list[str]]:
    """Status and standard error of a script in which `ostraca` is the command, alone with its Ray."""
    own = alone() if isolated else []
    if isolated and not own:
        pytest.skip("this machine makes no namespaces (unshare --map-root-user)")
    text = f'ostraca() {{ {PYTHON} {ROOT}/ostraca "$@"; }}\ncd {tmp_path}\n{script}'
    given = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [*own, "bash", "-c", text],
        capture_output=True,
        text=True,
        check=False,
        env={**given, "PYTHONPATH": str(ROOT), **environment},
    )
    return done.returncode, [line for line in done.stderr.splitlines() if not NOISE.fullmatch(line)]


BUILD = "ostraca build dataset=mano examples=100 splits.test.examples=10 report=false workers=1 out=c"


def test_a_path_that_is_too_long_for_sockets_and_a_home_that_takes_no_token(tmp_path: Path) -> None:
    """How long it may be is true. Ray would keep a token in the home for its own cluster; ours does without.

    Both in one build: a Ray takes long to start.
    """
    folder = tmp_path / ("l" * 90)
    folder.mkdir()
    status, lines = shell(BUILD, tmp_path, TMPDIR=str(folder))
    assert status != 0
    (line,) = lines
    assert line.startswith(f"ostraca: TMPDIR={folder}: is too long a path for Ray's sockets")
    found = re.search(r"set RAY_TMPDIR to a folder of (\d+) bytes or fewer", line)
    assert found is not None, line
    longest = "/tmp/" + "m" * (int(found[1]) - 5)
    script = f"mkdir -p {longest}; {BUILD}; code=$?; rm -r {longest}; exit $code"
    kernels = {"NUMBA_CACHE_DIR": KERNELS}  # which would be in the home
    assert shell(script, tmp_path, RAY_TMPDIR=longest, HOME="/proc/1", **kernels) == (0, [])


def test_a_folder_that_ray_cannot_have(tmp_path: Path) -> None:
    status, (line,) = shell(BUILD, tmp_path, RAY_TMPDIR="/proc/1/x")
    assert status != 0
    assert "a local Ray cannot be used: /proc/1/x: " in line
    assert "set RAY_TMPDIR to another folder, or use engine=local" in line


CLUSTER = f"""
mkdir -p home/.ray
echo -n 0123456789abcdef0123456789abcdef > home/.ray/auth_token
HOME=$PWD/home RAY_AUTH_MODE=token {RAY} start --head --num-cpus=1 --port=6399 --include-dashboard=false \
    --temp-dir=/tmp/ray/here > start.log 2>&1 || exit 99
try() {{ echo "== $1" >&2; shift; env HOME=$PWD/none "$@" {PYTHON} {ROOT}/ostraca build dataset=mano \
    examples=100 report=false out=c ray.address=$ADDRESS; echo "status $?" >&2; }}
ADDRESS=127.0.0.1:6399
try "no token, no mode"
try "no token" RAY_AUTH_MODE=token
try "another token" RAY_AUTH_MODE=token RAY_AUTH_TOKEN=ffffffffffffffffffffffffffffffff
ADDRESS=auto
try "no token, auto"
ADDRESS=127.0.0.1:6399
try "its token" RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef
"""


def test_a_token_that_is_missing(tmp_path: Path) -> None:
    _, lines = shell(CLUSTER, tmp_path, NUMBA_CACHE_DIR=KERNELS)
    cases = [case.splitlines() for case in "\n".join(lines).split("== ")[1:]]
    assert len(cases) == 5, lines
    for name, *told, status in cases[:-1]:
        assert status == "status 1" or status == "status 2", (name, told)
        (line,) = told
        assert ": Ray asks for an authentication token, and it is missing or wrong; set RAY_AUTH_MODE" in line
    assert cases[-1] == ["its token", "status 0"]


def test_a_cache_of_kernels_that_is_full(tmp_path: Path) -> None:
    script = f"mkdir disk; mount -t tmpfs -o size=16k none disk; {BUILD} engine=local"
    status, (line,) = shell(script, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "disk"))
    assert status == 0
    assert line.startswith(f"ostraca: compiled kernels cannot be kept in {tmp_path}/disk/")
    assert line.endswith("make room there, or set NUMBA_CACHE_DIR to another folder")


def test_an_output_that_is_full(tmp_path: Path) -> None:
    status, (line,) = shell("ostraca inspect dataset=mano show=1 > /dev/full", tmp_path, isolated=False)
    assert status != 0
    assert line == "ostraca: standard output: No space left on device"
