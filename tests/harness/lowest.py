"""The environment of `make test-lowest`: .venv-lowest, with the lowest versions that pyproject.toml allows.

    python tests/harness/lowest.py

What is installed is the core at exactly its floors (the version after each `>=`, and the Python after
requires-python's), with the tools of the tests as constraints.txt pins them. No extra is there, so the tests
that need one skip. Ray stays out too, with all that it brings: the engine of threads makes the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-lowest"
APART = {"ray"}
TOOLS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "scipy")


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def floors(requirements: list[str]) -> dict[str, str]:
    """Name -> lowest version; ValueError where a requirement is anything but name>=version."""
    found = {}
    for requirement in requirements:
        parts = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement)
        if parts is None:
            raise ValueError(f"pyproject.toml: {requirement!r} states no floor; write name>=version")
        found[parts[1].lower()] = parts[2]
    return found


def constraints() -> dict[str, str]:
    """Name -> the version that `make setup` installs."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines) if version}


def pins() -> list[str]:
    """What pip is asked for."""
    core, exact = floors(project()["dependencies"]), constraints()
    lowest = {name: version for name, version in core.items() if name not in APART}
    return [
        f"{name}=={version}" for name, version in (lowest | {tool: exact[tool] for tool in TOOLS}).items()
    ]


def interpreter() -> str | None:
    """The lowest Python that is allowed, e.g. python3.11, where this machine has it."""
    lowest = project()["requires-python"].removeprefix(">=")
    if lowest == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return shutil.which(f"python{lowest}")


def main() -> int:
    """Make the environment anew where its pins are others by now."""
    python, mark = interpreter(), HOME / "ready"
    if python is None:
        print(f"the floors need Python {project()['requires-python'].removeprefix('>=')}: install it")
        return 1
    digest = hashlib.sha256("\n".join([python, *pins()]).encode()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return 0
    print(f"Setting up {HOME.name} with {', '.join(pins())}")
    shutil.rmtree(HOME, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(HOME)], check=True)
    pip = [str(HOME / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *pins()], check=True)
    mark.write_text(digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
