"""A search for duplicates that was stopped anywhere goes on to the same corpus; nothing torn is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpora import crowded, files_below

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.dedup import search
from ostraca.pipeline.build.jobs.watch import Watch
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.store.local import LocalFolder
from ostraca.tasks.errors import OstracaError

SPLITS = {"train": {"examples": 400}, "test": {"examples": 60}}
SPEC = crowded(
    {"a": ("mano", {"L": 1, "value_mod": 7}), "b": ("mano", {"L": 2, "value_mod": 5})},
    SPLITS,
    shard_tokens=2_500,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The spec, against a corpus of its own, and what a build that nobody stops makes of it."""
    root = tmp_path_factory.mktemp("whole")
    build({**SPEC, "seed": 3}, root / "other", engine="local")
    spec = {**SPEC, "dedup": {"mode": "redraw", "against": [str(root / "other")]}}
    build(spec, root / "c", engine="local")
    return spec, root / "c"


@pytest.fixture(autouse=True)
def many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several ranges and a round that is no tail."""
    monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots: 4)
    monkeypatch.setattr(search, "TAIL_EXAMPLES", 8)


class Stopped(BaseException):
    """What a kill is to a test."""


def check_finished(spec: dict[str, Any], root: Path, reference: Path) -> None:
    """Built again, the corpus is whole and the one that was never stopped."""
    assert not (root / "manifest.json").exists()
    build(spec, root, engine="local")
    manifest, wanted = read_manifest(root), read_manifest(reference)
    assert {**manifest, "created": 0} == {**wanted, "created": 0}
    assert files_below(root) == files_below(reference)
    assert not (root / ".ostraca-build").exists()


def test_stopped_at_any_write(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Builds that die when they are to write their n-th file, half of it written, and those after it too."""
    spec, reference = whole
    real = LocalFolder.create
    left = 0

    def create(self: LocalFolder, path: str, **how: bool) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            torn = self.root / path
            torn.parent.mkdir(parents=True, exist_ok=True)
            (torn.parent / f".{torn.name}.tmp-0123456789ab").write_bytes(b"half")
            raise Stopped
        return real(self, path, **how)

    count = 0

    def counted(self: LocalFolder, path: str, **how: bool) -> Any:
        nonlocal count
        count += 1
        return real(self, path, **how)

    monkeypatch.setattr(LocalFolder, "create", counted)
    build(spec, tmp_path / "counted", engine="local")
    monkeypatch.setattr(LocalFolder, "create", create)
    kills = 0
    for first in range(1, count, 11):
        root = tmp_path / str(first)
        for left in (first, max(1, first // 3), 2):  # noqa: B007 (`create` counts it down)
            try:
                build(spec, root, engine="local")
            except Stopped:
                kills += 1
        left = 0
        if not (root / "manifest.json").exists():
            check_finished(spec, root, reference)
        assert files_below(root) == files_below(reference)
    assert kills > 20


def test_stopped_at_every_step(whole: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """`on_step` is told of every step; a build that dies at each of them in turn still comes to its end."""
    spec, reference = whole
    seen: set[tuple[str, int]] = set()

    def on_step(what: str, done: int, of: int) -> None:
        assert 0 <= done <= of
        if (what, done) not in seen:
            seen.add((what, done))
            raise Stopped

    root = tmp_path / "c"
    for _ in range(500):
        try:
            build(spec, root, engine="local", watch=Watch(on_step=on_step))
            break
        except Stopped:
            assert not (root / "manifest.json").exists()
    names = {what for what, _ in seen}
    assert {
        "against crowded",
        "duplicates, round 1",
        "duplicates, round 2",
        "drawing again, attempt 1",
    } <= names
    assert {"drawing the last again", "shards without duplicates"} <= names
    assert files_below(root) == files_below(reference)


@pytest.mark.parametrize(
    "broken", ["draw_tail", "write_tail", "changes_of", "write_manifest", "remove_all", "outcome"]
)
def test_stopped_in_what_tells_of_no_step(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    from ostraca.pipeline.build.dedup import outcome
    from ostraca.pipeline.corpus import manifest as manifests

    def stop(*arguments: Any, **options: Any) -> Any:
        raise Stopped

    spec, reference = whole
    root = tmp_path / "c"
    with monkeypatch.context() as patch:
        if broken == "changes_of":
            patch.setattr(outcome, broken, stop)
        elif broken == "write_manifest":
            patch.setattr(manifests, broken, stop)
        elif broken == "remove_all":
            patch.setattr(LocalFolder, broken, stop)
        elif broken == "outcome":
            patch.setattr(search, "write_json", stop)
        else:
            patch.setattr(search, broken, stop)
        with pytest.raises(Stopped):
            build(spec, root, engine="local")
    check_finished(spec, root, reference)


def test_stopped_while_it_cleared_away(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the manifest written the corpus is whole; the next call takes away what is left of the build."""
    spec, reference = whole
    root = tmp_path / "c"
    real = LocalFolder.remove_all

    def stop(self: LocalFolder, below: str) -> None:
        if below == ".ostraca-build":
            raise Stopped
        real(self, below)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "remove_all", stop)
        with pytest.raises(Stopped):
            build(spec, root, engine="local")
    assert (root / "manifest.json").exists()
    assert verify(root, content=True) == []
    build(spec, root, engine="local")
    assert not (root / ".ostraca-build").exists()
    assert files_below(root) == files_below(reference)


def test_other_ranges_when_it_goes_on(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second round, and gone on with another budget: files of the first cut are not taken."""
    spec, reference = whole
    root = tmp_path / "c"
    for ranges in (16, 2, 8):
        monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots, n=ranges: n)

        def on_step(what: str, done: int, of: int) -> None:
            if what == "duplicates, round 2":
                raise Stopped

        with pytest.raises(Stopped):
            build(spec, root, engine="local", watch=Watch(on_step=on_step))
    check_finished(spec, root, reference)


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
@pytest.mark.parametrize("stage", ["first", "last"])
def test_shards_that_were_damaged_meanwhile_are_made_again(
    whole: tuple[dict[str, Any], Path], tmp_path: Path, damage: str, stage: str
) -> None:
    spec, reference = whole
    root = tmp_path / "c"
    wanted = "duplicates, round 1" if stage == "first" else "shards without duplicates"

    def on_step(what: str, done: int, of: int) -> None:
        if what == wanted:
            raise Stopped

    with pytest.raises(Stopped):
        build(spec, root, engine="local", watch=Watch(on_step=on_step))
    for path in sorted(root.rglob("*.parquet")):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(bytes(data) if damage == "flipped" else bytes(data[:-9]))
    check_finished(spec, root, reference)


def test_fingerprints_that_were_cut_are_noticed(whole: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """A file of another size is made again; one line tells of a cut that comes later."""
    spec, reference = whole
    root = tmp_path / "c"

    def cut(what: str, done: int, of: int) -> None:
        if what == "duplicates, round 1":
            for path in (root / ".ostraca-build/dedup/prints/0000").rglob("*.parquet"):
                path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(OstracaError, match="is truncated; remove it and run the same build again") as caught:
        build(spec, root, engine="local", watch=Watch(on_step=cut))
    assert "\n" not in str(caught.value)
    check_finished(spec, root, reference)


def test_no_file_of_the_search_is_read_before_it_was_written_anew(
    whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """Whatever an earlier call left below dedup/, but fingerprints and the outcome, changes nothing."""
    spec, reference = whole
    root = tmp_path / "c"

    def on_step(what: str, done: int, of: int) -> None:
        if what == "duplicates, round 2" and done == of:
            raise Stopped

    with pytest.raises(Stopped):
        build(spec, root, engine="local", watch=Watch(on_step=on_step))
    dedup = root / ".ostraca-build" / "dedup"
    for path in [*dedup.glob("lost/*/*"), *dedup.glob("table/*/*"), *dedup.glob("prints/0001/*/*")]:
        path.write_bytes(b"\xff" * 4000)
    check_finished(spec, root, reference)
