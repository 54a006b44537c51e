"""Virtual environments of the projects that read our exports: .venv-peers/NAME, exact versions, on demand.

    python tests/peers/environments.py [NAME ...]

NAME.txt beside this file pins everything but PyTorch, and nothing is installed that it does not name: what a
project asks for and its readers do not use (cloud clients, torchvision) stays out. PyTorch has the version of
constraints.txt. mosaicml-streaming is apart because it wants transformers below 5 and NumPy below 2.2.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".venv-peers"
NAMES = ("mosaic", "readers")


def python(name: str) -> Path:
    """The interpreter of an environment, whether it is there or not."""
    return CACHE / name / "bin" / "python"


def is_ready(name: str) -> bool:
    """Whether an environment is there, whole, as its pins say."""
    mark = CACHE / name / "ready"
    return mark.is_file() and mark.read_text() == _digest(name)


def make(name: str) -> None:
    """Make an environment anew; CalledProcessError where something cannot be installed."""
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, _torch()], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(HERE / f"{name}.txt")], check=True)
    (folder / "ready").write_text(_digest(name))


def _torch() -> str:
    (pin,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(pin)


def _digest(name: str) -> str:
    return hashlib.sha256((HERE / f"{name}.txt").read_bytes() + _torch().encode()).hexdigest()


def main(names: list[str]) -> int:
    """Make those environments that are not ready."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(
            f"no such environment: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}",
            file=sys.stderr,
        )
        return 2
    for name in names or NAMES:
        if not is_ready(name):
            print(f"Setting up {(CACHE / name).relative_to(ROOT)}; this takes some minutes, once.")
            make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
