"""The floors of pyproject.toml: stated, not above what `make setup` installs, those of `make test-lowest`."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
from harness.lowest import APART, HOME, TOOLS, constraints, floors, pins, project
from packaging.version import Version

CORE = floors(project()["dependencies"])
EXTRAS = {
    name: floors([each for each in requirements if not each.startswith("ostraca[")])
    for name, requirements in project()["optional-dependencies"].items()
}
UNPINNED = {"gcsfs"}  # no test has a store of Google's, so `make setup` leaves it out


@pytest.mark.parametrize("name", ["core", *EXTRAS])
def test_no_floor_is_above_what_is_installed(name: str) -> None:
    exact = constraints()
    for library, floor in (CORE if name == "core" else EXTRAS[name]).items():
        if library not in UNPINNED:
            assert Version(exact[library]) >= Version(floor), library


def test_a_library_has_one_floor() -> None:
    every = [CORE, *EXTRAS.values()]
    for library in set().union(*every):
        assert len({each[library] for each in every if library in each}) == 1, library


def test_the_lowest_environment_has_exactly_the_floors() -> None:
    wanted = {f"{library}=={floor}" for library, floor in CORE.items() if library not in APART}
    assert wanted <= set(pins())
    assert {each.partition("==")[0] for each in set(pins()) - wanted} == set(TOOLS)
    if sys.prefix == str(HOME):  # under `make test-lowest`
        for library, floor in CORE.items():
            if library not in APART:
                assert Version(importlib.metadata.version(library)) == Version(floor), library


@pytest.mark.parametrize("requirement", ["numpy", "numpy==2.1", "numpy>=2.1,<3", "numpy>2"])
def test_a_requirement_without_a_floor_is_told(requirement: str) -> None:
    with pytest.raises(ValueError, match="states no floor"):
        floors([requirement])
