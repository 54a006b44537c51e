"""Promise 4, against an oracle: no example twice, none of an eval split in train, and all others stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpora import crowded, decoded, files_below
from dedup_cases import CASES, QUIET, SPLITS, check_is, first_draws
from oracles.dedup import identities, settle

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.dedup import counts, search, tail
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks.errors import ConfigError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces of unknown size are given up early, as the oracle is told too."""
    monkeypatch.setattr(counts, "QUIET", QUIET[0])
    monkeypatch.setattr(counts, "LEAST_QUIET", QUIET[1])


# Each case with each mode and with each key, in half of their pairs; the other half is for `make soak`.
GRID = [
    pytest.param(name, mode, key, marks=[pytest.mark.soak] if (place + drops + keys) % 2 else [])
    for place, name in enumerate(CASES)
    for drops, mode in enumerate(("redraw", "drop"))
    for keys, key in enumerate(("content", "tokens"))
]


@pytest.mark.parametrize(("name", "mode", "key"), GRID)
def test_exactly_the_rows_of_the_oracle_stay(tmp_path: Path, name: str, mode: str, key: str) -> None:
    spec = {**CASES[name], "dedup": {"mode": mode, "key": key}}
    wanted = settle(check_spec(spec), first_draws(spec), quiet=QUIET)
    assert any(entry["dropped"] + entry["redrawn"] for entry in wanted.counts.values())
    manifest = build(spec, tmp_path / "c", engine="local", workers=2)
    check_is(tmp_path / "c", manifest, wanted)
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []
    names = identities(manifest["spec"], wanted.rows, key)
    assert len(names) == manifest["totals"]["rows"]  # so no two are the same


REDRAWN = {**CASES["manos"], "dedup": {"mode": "redraw", "key": "content"}}


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """REDRAWN, built plainly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "QUIET", QUIET[0])
        patch.setattr(counts, "LEAST_QUIET", QUIET[1])
        root = tmp_path_factory.mktemp("redrawn") / "c"
        return root, build(REDRAWN, root, engine="local")


def few_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Search for duplicates with so little memory that many ranges are needed."""
    from ostraca.pipeline.build import build as module

    monkeypatch.setattr(module, "check_memory", lambda value: size)


@pytest.mark.parametrize("how", ["threads", "ray", "many ranges", "fixed ranges", "ranges of ray"])
def test_neither_engine_nor_memory_changes_a_byte(
    redrawn: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    how: str,
) -> None:
    root, manifest = redrawn
    engine: dict[str, Any] = {"engine": "local", "workers": 3}
    if "ray" in how:
        request.getfixturevalue("ray_session")
        engine = {"engine": "ray", "workers": 2}
    if "ranges" in how:
        few_bytes(monkeypatch, 3 * search.table_bytes(4000, 64))
    if how == "fixed ranges":
        monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots: 1 << 8)
    made = build(REDRAWN, tmp_path / "c", **engine)
    assert {**made, "created": 0} == {**manifest, "created": 0}
    assert files_below(tmp_path / "c") == files_below(root)


@pytest.mark.parametrize(
    ("examples", "window"), [(0, 1), (10**9, 1), (10**9, 512), (10**9, 7), (40, 512)], ids=str
)
def test_one_process_draws_the_rest_as_the_rounds_would(
    redrawn: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    examples: int,
    window: int,
) -> None:
    """However soon the last rounds are left to one process, and however many it draws ahead."""
    monkeypatch.setattr(search, "TAIL_EXAMPLES", examples)
    monkeypatch.setattr(tail, "_LONGEST_WINDOW", window)
    root, manifest = redrawn
    made = build(REDRAWN, tmp_path / "c", engine="local")
    assert {**made, "created": 0} == {**manifest, "created": 0}
    assert files_below(tmp_path / "c") == files_below(root)


@pytest.mark.parametrize("changed", ["shard_tokens", "row_group_tokens", "tar", "tar.zst"])
def test_neither_sizes_nor_format_change_what_stays(
    redrawn: tuple[Path, dict[str, Any]], tmp_path: Path, changed: str
) -> None:
    spec = {
        "shard_tokens": {**REDRAWN, "shard_tokens": 1_500},
        "row_group_tokens": {**REDRAWN, "row_group_tokens": 300},
        "tar": {**REDRAWN, "format": "webdataset"},
        "tar.zst": {**REDRAWN, "format": "webdataset", "compression": "zstd"},
    }[changed]
    root, manifest = redrawn
    made = build(spec, tmp_path / "c", engine="local")
    assert made["content_digest"] == manifest["content_digest"]
    assert made["dedup"] == manifest["dedup"]
    assert decoded(tmp_path / "c", made["spec"]) == decoded(root, manifest["spec"])
    assert verify(tmp_path / "c", content=True) == []


@pytest.mark.parametrize("examples", [1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("memory", [1 << 20, 1 << 25, 1 << 30])
@pytest.mark.parametrize("slots", [1, 3, 64])
def test_ranges_are_as_many_as_the_budget_needs(examples: int, memory: int, slots: int) -> None:
    if slots * search.table_bytes(examples, 1 << 12) > memory:
        with pytest.raises(ConfigError, match="give at least"):
            search.count_ranges(examples, memory, slots)
        return
    ranges = search.count_ranges(examples, memory, slots)
    assert ranges & (ranges - 1) == 0
    assert slots * search.table_bytes(examples, ranges) <= memory


def test_too_little_memory_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_bytes(monkeypatch, 100)
    with pytest.raises(ConfigError, match=r"dedup\.memory=100 bytes are too little.*give at least") as caught:
        build(REDRAWN, tmp_path / "c", engine="local")
    assert "\n" not in str(caught.value)


def test_tables_never_grow_past_their_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a range's table takes is what `table_bytes` counted on."""
    from ostraca.pipeline.build.shards.table import Table

    most = 0
    real = Table.insert

    def insert(self: Table, prints: Any) -> Any:
        nonlocal most
        found = real(self, prints)
        most = max(most, self.slots.nbytes)
        return found

    monkeypatch.setattr(Table, "insert", insert)
    monkeypatch.setattr(search, "TAIL_EXAMPLES", 50)
    spec = {**CASES["mano 1"], "dedup": {"mode": "redraw", "key": "tokens"}}
    examples = sum(entry["examples"] for entry in SPLITS.values())
    for ranges in (1, 16):
        monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots, n=ranges: n)
        most = 0
        build(spec, tmp_path / str(ranges), engine="local")
        assert 0 < most <= search.table_bytes(examples, ranges)


def test_another_seed_keeps_others(tmp_path: Path, redrawn: tuple[Path, dict[str, Any]]) -> None:
    made = build({**REDRAWN, "seed": 1}, tmp_path / "c", engine="local")
    assert made["content_digest"] != redrawn[1]["content_digest"]


def test_a_space_that_is_used_up_ends_the_search_and_says_so(tmp_path: Path) -> None:
    """Mano with one operator modulo 5 has 75 problems: of 700 asked for, no more can be."""
    spec = {**CASES["mano 1"], "dedup": {"mode": "redraw", "key": "content"}}
    made = build(spec, tmp_path / "c", engine="local")
    assert made["totals"]["rows"] == 75
    assert all(entry["exhausted"] == (entry["dropped"] > 0) for entry in made["dedup"].values())


def test_a_space_of_unknown_size_ends_the_search_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More examples than there are, by the rule as it is in earnest: none is sought for ever."""
    monkeypatch.undo()
    splits = {"train": {"examples": 30}}
    datasets = {"m": ("mano", {"L": 1, "value_mod": 2, "ttype": "a"})}  # 4 problems
    other = build(
        crowded(datasets, {"train": {"examples": 2}}, seed=3, dedup={"mode": "redraw", "key": "content"}),
        tmp_path / "other",
        engine="local",
    )
    assert other["totals"]["rows"] == 2
    spec = crowded(
        datasets,
        splits,
        dedup={"mode": "redraw", "key": "content", "against": [str(tmp_path / "other")]},
    )
    made = build(spec, tmp_path / "c", engine="local")
    assert made["dedup"]["m/train"]["dropped"] == 28
