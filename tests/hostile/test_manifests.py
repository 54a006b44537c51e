"""Manifests that were edited, forged or made to harm: every command tells in one line, or is unharmed."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import CONTENT, DUPLICATES, EXPORT, VERIFY, digest
from harness.hostile import Reader, main, try_all
from manifests import FORMS, build_form, edits, forgeries, raw, record_edits

from loaders import CorpusSource
from pipeline.manifest import read_manifest

MOST_MORE = 3 << 30  # bytes of address space that a reader may ask for beyond what there is


def _loaded(root: Path, out: Path) -> str:
    """What a loader gives of every dataset."""
    parts = []
    for name in read_manifest(root)["spec"]["datasets"]:
        for rows in CorpusSource(root, dataset=name, shuffle=False, epochs=1).rows_from(0):
            parts += [rows.tokens, rows.offsets, rows.mask, rows.order]
    return digest(*parts)


LOAD = Reader(name="load", read=_loaded)
INSPECT = main("inspect", "path={path}", "show=1")
REPRODUCE = main("reproduce", "path={path}")
AUDIT = main("audit", "path={path}", "examples=20")
BUILT = main("build", "manifest={path}", "out={out}", "engine=local", "report=false")
BUILD = Reader(name="build", read=lambda root, out: bool(BUILT.read(root, out)))  # it prints times
FEW = [LOAD, VERIFY, INSPECT]
READING = [*FEW, CONTENT, EXPORT, DUPLICATES]
ALL = [*READING, REPRODUCE, AUDIT, BUILD]


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What asks for very much is refused it, and counted."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MOST_MORE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module", params=FORMS)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_form(request.param, tmp_path_factory.mktemp("manifests") / "c")


def test_edited_values(corpus: Path, tmp_path: Path) -> None:
    """Any value of the manifest, and any of the spec's with the digest of what it then is."""
    try_all(corpus, edits(corpus, 50), FEW, tmp_path / "few").check()
    try_all(corpus, edits(corpus, 10, seed=1), ALL, tmp_path / "all").check()


def test_edited_records_in_files(tmp_path: Path) -> None:
    root = build_form("records in files", tmp_path / "c")
    try_all(root, record_edits(root, 60), FEW, tmp_path).check()
    try_all(root, record_edits(root, 10, seed=1), ALL, tmp_path / "all").check()


def test_what_is_no_manifest(corpus: Path, tmp_path: Path) -> None:
    try_all(corpus, raw(), [*FEW, BUILD], tmp_path).check()


def test_manifests_that_agree_with_themselves(corpus: Path, tmp_path: Path) -> None:
    """Of specs that ask for very much, or are not the shards'; of sizes as the files have them."""
    try_all(corpus, forgeries(sizes=False), [LOAD, VERIFY, REPRODUCE], tmp_path).check()


def test_manifests_of_as_much_as_they_tell(tmp_path: Path) -> None:
    """The same, of sizes as such shards would have. A large corpus is made again for as long as it takes."""
    root = build_form("parquet", tmp_path / "c")
    try_all(root, forgeries(sizes=True), FEW, tmp_path).check()


@pytest.mark.soak
def test_thousands_of_edits(corpus: Path, tmp_path: Path) -> None:
    try_all(corpus, edits(corpus, 2_000, seed=2), ALL, tmp_path / "edits").check()
    if (corpus / "manifest").exists():
        try_all(corpus, record_edits(corpus, 1_000, seed=2), ALL, tmp_path / "records").check()
    try_all(corpus, forgeries(sizes=True), READING, tmp_path / "large").check()
    try_all(corpus, forgeries(sizes=False), ALL, tmp_path / "forged").check()
