"""Damaged and swapped shards: every reader gives what the whole corpus gives, or tells in one line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from attacks import (
    BATCHES,
    CONTENT,
    DUPLICATES,
    EVERY_FORMAT,
    EXPORT,
    LOAD,
    ROWS,
    VERIFY,
    build_small,
    flips,
    replaced,
    without_tails,
)
from harness.hostile import command, main, try_all

CHOSEN = ("shards 0 and 1 swapped", "row groups 0 and 1 swapped", "shard 0 of another seed")
ALL = [LOAD, BATCHES, ROWS, EXPORT, DUPLICATES, VERIFY, CONTENT]
SOME = [LOAD, ROWS, VERIFY]


@pytest.fixture(scope="module", params=EVERY_FORMAT)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small corpus of each format, and that of another seed."""
    folder = tmp_path_factory.mktemp("hostile")
    extra = EVERY_FORMAT[request.param]
    return build_small(folder / "c", **extra), build_small(folder / "other", seed=1, **extra)


def test_shards_where_they_do_not_belong(built: tuple[Path, Path], tmp_path: Path) -> None:
    corpus, other = built
    readers = ALL if list(corpus.rglob("*.parquet")) else SOME
    try_all(corpus, replaced(other), readers, tmp_path).check()


def test_single_bits(built: tuple[Path, Path], tmp_path: Path) -> None:
    try_all(built[0], flips(built[0], 16), SOME, tmp_path).check()


def test_shards_from_before_there_were_tails(built: tuple[Path, Path], tmp_path: Path) -> None:
    """They are still read, with spec digest, index and lengths compared; what is left only sha256 tells."""
    old = without_tails(built[0], tmp_path / "old")
    cases = itertools.chain(replaced(built[1], tails=False), flips(old, 8, seed=1))
    try_all(old, cases, [ROWS, VERIFY], tmp_path / "trials").check()


def test_commands_tell(built: tuple[Path, Path], tmp_path: Path) -> None:
    """What reads rows for people: in this process, and once as they call it."""
    corpus, other = built
    export = ("export", "path={path}", "to=jsonl", "out={out}")
    first = corpus.parent.name == "hostile0"
    readers = [main("inspect", "path={path}", "show=2", "index=30"), *[main(*export)] * first]
    chosen = [case for case in replaced(other) if case.name in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    try_all(corpus, chosen, readers, tmp_path).check()
    if first:
        try_all(corpus, chosen[:1], [command(*export)], tmp_path / "own").check()
