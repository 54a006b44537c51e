"""Long runs: a bit of every byte of a shard, in every format, with tails and as before there were any."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from attacks import EVERY_FORMAT, LOAD, flip, shards_of, without_tails
from conftest import make_spec
from harness.hostile import Case, try_all

from ostraca.pipeline.build.build import build


def _every_byte(root: Path, told_by: frozenset[str]) -> Iterator[Case]:
    (path,) = shards_of(root, "train")
    number = shards_of(root).index(path)
    for place in range(path.stat().st_size):
        bit = place * 5 % 8
        name = f"bit {bit} of byte {place} of {path.name}"
        yield Case(name=name, damage=partial(flip, number, place, bit), told_by=told_by)


@pytest.mark.soak
@pytest.mark.parametrize("tails", [True, False])
@pytest.mark.parametrize("form", EVERY_FORMAT)
def test_a_bit_of_every_byte(form: str, tails: bool, tmp_path: Path) -> None:
    """With tails each is told; without them nothing breaks, and what is read is what was written."""
    spec = make_spec(train=12 if "parquet" in form else 5, test=1, **EVERY_FORMAT[form])
    build({**spec, "row_group_tokens": 600}, tmp_path / "c", engine="local")
    root = tmp_path / "c" if tails else without_tails(tmp_path / "c", tmp_path / "old")
    told_by = frozenset({"load"}) if tails else frozenset()
    try_all(root, _every_byte(root, told_by), [LOAD], tmp_path / "trials").check()
