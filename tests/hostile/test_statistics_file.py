"""report/statistics.json is listed in the manifest: verified, mended, and merged only as it was written."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import make_spec
from harness.hostile import Case, Reader, ToldError, try_all
from manifests import places, replaced, value_at

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.merge import merge
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.layout import STATISTICS
from ostraca.pipeline.corpus.manifest import read_manifest, write_manifest
from ostraca.tasks.errors import OstracaError

ODD = [None, True, "3", -5, 2.5, 10**30, [], {}, float("nan"), [1, 2], {"counts": 3}, "x" * 1000]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both parts of a corpus."""
    root = tmp_path_factory.mktemp("parts")
    for number in (1, 2):
        build(_spec(), root / f"part{number}", engine="local", part=(number, 2))
    return root


def _spec(**extra: Any) -> dict[str, Any]:
    return make_spec(train=300, test=20, shard_tokens=6_000, vocabulary="shared", **extra)


def _edit(change: Callable[[Any], object], root: Path) -> None:
    path = root / "part1" / STATISTICS
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=1))


def _merged(root: Path, out: Path) -> str:
    merge([root / "part1", root / "part2"], out)
    return (out / STATISTICS).read_text()


def _verified(root: Path, out: Path) -> str:
    problems = verify(root / "part1")
    if problems:
        raise ToldError("\n".join(problems))
    return "whole"


MERGE, VERIFY = Reader(name="merge", read=_merged), Reader(name="verify", read=_verified)


def _cases(root: Path, told_by: frozenset[str], values: Callable[[Any], list[Any]]) -> list[Case]:
    plain = json.loads((root / "part1" / STATISTICS).read_text())
    rng = random.Random(0)
    found = []
    for keys in places(plain):
        old = value_at(plain, keys)
        new = rng.choice([each for each in values(old) if each != old])
        found.append(
            Case(
                name=f"{'/'.join(map(str, keys))} = {new!r:.40}",
                damage=partial(_edit, partial(replaced, keys=keys, new=new)),
                told_by=told_by,
            )
        )
    return rng.sample(found, min(len(found), 60))


def test_edits_are_told_by_merge_and_verify(parts: Path, tmp_path: Path) -> None:
    """Plausible ones too: a count that is one higher."""
    told = frozenset({"merge", "verify"})
    found = _cases(parts, told, lambda old: [old + 1] if isinstance(old, int) else [{}, None])
    found += [
        Case(name="gone", damage=lambda root: (root / "part1" / STATISTICS).unlink(), told_by=told),
        Case(name="empty", damage=lambda root: (root / "part1" / STATISTICS).write_text(""), told_by=told),
        Case(name="a list", damage=partial(_edit, lambda plain: [plain]), told_by=told),
    ]
    try_all(parts, found, [MERGE, VERIFY], tmp_path).check()


def test_parts_from_before_it_was_listed_break_nothing(parts: Path, tmp_path: Path) -> None:
    """What could not have been written is told; so are other numbers of examples."""
    old = tmp_path / "old"
    for number in (1, 2):
        manifest = read_manifest(parts / f"part{number}", parts=True)
        manifest["files"] = [file for file in manifest["files"] if file["path"] != STATISTICS]
        target = old / f"part{number}"
        target.mkdir(parents=True)
        for path in (parts / f"part{number}").rglob("*"):
            if path.is_file():
                (target / path.relative_to(parts / f"part{number}")).parent.mkdir(parents=True, exist_ok=True)
                (target / path.relative_to(parts / f"part{number}")).write_bytes(path.read_bytes())
        write_manifest(target, manifest)
    assert _merged(old, tmp_path / "merged") == _merged(parts, tmp_path / "other")
    found = _cases(old, frozenset({"merge"}), lambda _: ODD)
    try_all(old, found, [MERGE], tmp_path / "trials").check()


@pytest.mark.parametrize("dedup", ["off", "redraw"])
def test_build_writes_it_again_where_it_is_lost(tmp_path: Path, dedup: str) -> None:
    spec = _spec(dedup={"mode": dedup})
    spec["datasets"] = {"m": {"task": "mano", "config": {"L": 2}, "splits": {"train": {"examples": 900}}}}
    root = tmp_path / "c"
    build(spec, root, engine="local")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / STATISTICS).unlink()
    (problem,) = verify(root)
    assert f"{STATISTICS}: is missing" in problem
    build(spec, root, engine="local")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_merged_corpus_lists_it_as_a_build_does(parts: Path, tmp_path: Path) -> None:
    merged = merge([parts / "part1", parts / "part2"], tmp_path / "merged")
    built = build(_spec(), tmp_path / "built", engine="local")
    assert merged["files"] == built["files"]
    assert verify(tmp_path / "merged") == []
    (tmp_path / "merged" / STATISTICS).write_text("{}")
    with pytest.raises(OstracaError, match="not empty"):
        merge([parts / "part1", parts / "part2"], tmp_path / "merged")
