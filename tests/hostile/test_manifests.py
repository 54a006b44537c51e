"""Manifests that were edited, forged or made to harm: every command tells in one line, or is unharmed."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import CONTENT, DUPLICATES, EXPORT, LOAD, VERIFY
from harness.hostile import Case, Reader, main, try_all
from manifests import FORMS, build_form, edits, forgeries, raw, record_edits

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus import reader as readers
from ostraca.pipeline.corpus.manifest import read_manifest, write_manifest

MOST_MORE = 3 << 30  # bytes of address space that a reader may ask for beyond what there is


INSPECT = main("inspect", "path={path}", "show=1")
REPRODUCE = main("reproduce", "path={path}")
# What audit and build print of times is not compared.
AUDITED = main("audit", "path={path}", "examples=20")
AUDIT = Reader(name="audit", read=lambda root, out: re.sub(r",\d+\.\ds:", ":", AUDITED.read(root, out)))
BUILT = main("build", "manifest={path}", "out={out}", "engine=local", "report=false")
BUILD = Reader(name="build", read=lambda root, out: bool(BUILT.read(root, out)))
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


def test_as_many_tokens_as_told_are_read(corpus: Path, tmp_path: Path) -> None:
    """A record that tells of one token more, in sums that agree: whoever reads a whole shard tells."""

    def one_more(root: Path) -> None:
        manifest = read_manifest(root)
        entry = manifest["splits"]["train"]
        for counts in (entry["shards"][0], entry, manifest["totals"]):
            counts["tokens"] += 1
        write_manifest(root, manifest)

    told = [CONTENT, EXPORT]
    case = Case(name="a token more", damage=one_more, told_by=frozenset(each.name for each in told))
    try_all(corpus, [case], [*told, LOAD], tmp_path).check()


def test_many_row_groups_are_read_where_the_files_are_as_told(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds a million of them against the files' sizes refuses none that are there."""
    before = LOAD.read(corpus, tmp_path)
    monkeypatch.setattr(readers, "_MANY_GROUPS", 0)
    assert LOAD.read(corpus, tmp_path) == before


@pytest.mark.parametrize("compression", ["parquet", "tar.zst"])
def test_what_folds_best_is_believed(compression: str, tmp_path: Path) -> None:
    """A million tokens that are nearly all the same, thousands of them in a byte: no bound refuses them."""
    grammar = "".join(f"{level} -> {level - 1} {level - 1}\n" for level in range(13, 1, -1))
    split = {"examples": 256, "row_group_examples": 256, "shard_examples": 256}
    spec = {
        **({} if compression == "parquet" else {"format": "webdataset", "compression": "zstd"}),
        "dedup": {"mode": "off"},
        "datasets": {"same": {"task": "lano", "config": {"grammar": grammar}, "splits": {"train": split}}},
    }
    totals = build(spec, tmp_path / "c", engine="local")["totals"]
    assert totals["tokens"] > 1_000_000
    print(f"{compression}: {totals['tokens'] / totals['bytes']:.0f} tokens a byte")
    assert CONTENT.read(tmp_path / "c", tmp_path) == "whole"
    assert LOAD.read(tmp_path / "c", tmp_path)


@pytest.mark.soak
def test_thousands_of_edits(corpus: Path, tmp_path: Path) -> None:
    try_all(corpus, edits(corpus, 2_000, seed=2), ALL, tmp_path / "edits").check()
    if (corpus / "manifest").exists():
        try_all(corpus, record_edits(corpus, 1_000, seed=2), ALL, tmp_path / "records").check()
    try_all(corpus, forgeries(sizes=True), READING, tmp_path / "large").check()
    try_all(corpus, forgeries(sizes=False), ALL, tmp_path / "forged").check()
