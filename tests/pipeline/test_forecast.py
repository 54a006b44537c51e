"""`plan` against real builds: counts exactly, bytes closely; what is too large to build is only counted."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostraca.pipeline.forecast.duplicates
import ostraca.pipeline.forecast.manifest_size
import ostraca.pipeline.spec.shards
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.jobs.watch import Watch
from ostraca.pipeline.corpus.layout import STATE, STATISTICS
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.forecast.duplicates import least_duplicates
from ostraca.pipeline.forecast.estimate import Cluster, Estimate, Search, Step, better_shard_tokens, estimate
from ostraca.pipeline.forecast.manifest_size import ManifestSize
from ostraca.pipeline.forecast.measure import Spread, measure_disk, measure_search
from ostraca.pipeline.forecast.splits import SplitPlan
from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks.errors import ConfigError

Spec = Callable[..., dict[str, Any]]

DEPO = {"N": 20, "K": 4, "M": 5}
CONFIGS: dict[str, dict[str, Any]] = {
    "depo": {"N": 60},
    "brevo": {},
    "mano": {},
    "lano": {},
    "capo": {"num_people": 400, "exposures": 5},
}
EXTRAS: dict[str, dict[str, Any]] = {
    "published": {},
    "packed, deduplicated": {"pack": {"length": 2048, "mode": "best_fit"}, "dedup": {"mode": "drop"}},
    "texts, tar": {"texts": True, "format": "webdataset"},
    "shared, packed, tar.zst": {
        "vocabulary": "shared",
        "format": "webdataset",
        "compression": "zstd",
        "pack": {"length": 1024, "mode": "concat"},
    },
}


def of_all_tasks(texts: bool = False, **extra: Any) -> dict[str, Any]:
    """Shards of several row groups of every task, the last ones smaller, with a test split."""
    datasets: dict[str, Any] = {}
    for task, config in CONFIGS.items():
        train = {} if task == "capo" else {"tokens": 250_000}
        config = {**config, "bio": "text"} if texts and task == "capo" else config
        splits = {"train": train, "test": {"examples": 50, "form": "test"}}
        datasets[task] = {"task": task, "config": config, "splits": splits}
    return {"shard_tokens": 120_000, "row_group_tokens": 30_000, "datasets": datasets, **extra}


def disk_usage(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", EXTRAS)
def test_a_plan_is_what_is_built(name: str, tmp_path: Path) -> None:
    given = of_all_tasks(**EXTRAS[name])
    found = estimate(given, seconds=0)
    manifest = build(given, tmp_path / "x", engine="local")
    assert found.spec == manifest["spec"]
    for each in found.splits:
        shards = [s for s in manifest["splits"][each.split]["shards"] if s["dataset"] == each.dataset]
        where = f"{each.dataset}/{each.split}"
        assert each.shards == len(shards), where
        assert each.examples == sum(shard["count"] for shard in shards), where
        assert each.shard_examples == shards[0]["count"], where
        # A sample of some hundred to some thousand examples is off by its own chance.
        assert each.bytes == pytest.approx(sum(shard["bytes"] for shard in shards), rel=0.03), where
        assert each.tokens == pytest.approx(sum(shard["tokens"] for shard in shards), rel=0.03), where
    paths = [path for path in (tmp_path / "x").rglob("*") if path.is_file()]
    assert found.files == len(paths)
    assert found.bytes == pytest.approx(disk_usage(tmp_path / "x"), rel=0.02)
    assert found.manifest.bytes == pytest.approx((tmp_path / "x/manifest.json").stat().st_size, rel=0.02)
    sizes = dict(found.side_files)
    listed = {file["path"]: file["bytes"] for file in manifest["files"]}
    assert sizes.pop(STATISTICS) == pytest.approx(listed.pop(STATISTICS), rel=0.5)
    assert sizes == listed
    assert all(seconds > 0 for costs in found.measured.values() for seconds in costs.stages.values())
    assert all(0 < costs.seconds < 10 for costs in found.measured.values())


@pytest.mark.parametrize(("mode", "memory", "workers"), [("drop", 1 << 20, 2), ("redraw", 1 << 30, 1)])
def test_the_search_for_duplicates_as_planned(
    mode: str, memory: int, workers: int, spec: Spec, tmp_path: Path
) -> None:
    """Fingerprints to the byte, as many ranges; and the disk at its fullest."""
    given = spec(train=60_000, shard_tokens=300_000, dedup={"mode": mode})
    found = estimate(given, Cluster(cores=workers, memory=memory), seconds=0)
    assert found.search is not None
    seen = {"all": 0}

    def on_step(what: str, done: int, of: int) -> None:
        seen["all"] = max(seen["all"], disk_usage(tmp_path / "x"))
        if what == "duplicates, round 1" and done == of:
            seen.update(ranges=of, prints=disk_usage(tmp_path / "x" / STATE / "dedup/prints/0000"))

    manifest = build(
        given, tmp_path / "x", engine="local", workers=workers, memory=memory, watch=Watch(on_step=on_step)
    )
    assert found.print_bytes == seen["prints"]
    assert found.search.ranges == seen["ranges"]
    assert found.search.examples == 60_100
    # Shards that are made again, and with redraw a second round's tables, are counted, and not all seen here.
    assert seen["all"] <= found.peak_bytes < 1.5 * seen["all"]
    assert found.bytes == pytest.approx(disk_usage(tmp_path / "x"), rel=0.03)
    dropped = sum(each["dropped"] + each["redrawn"] for each in manifest["dedup"].values())
    assert found.search.duplicates.total <= dropped + 3 * (dropped + 1) ** 0.5


def test_examples_of_other_corpora_are_searched_too(spec: Spec, corpus: Path) -> None:
    from ostraca.pipeline.build.dedup.against import with_against

    given = with_against(spec(seed=1, dedup={"mode": "drop", "against": [str(corpus)]}))
    found = estimate(given, seconds=0)
    assert found.search is not None
    assert found.search.examples == 2 * 2100


def test_a_split_of_one_row_group_is_known_exactly(spec: Spec, tmp_path: Path) -> None:
    given = spec(train=50, test=1, shard_tokens=1 << 24)
    found = {each.split: (each.bytes, each.tokens) for each in estimate(given, seconds=0).splits}
    manifest = build(given, tmp_path / "x", engine="local")
    for split, entry in manifest["splits"].items():
        assert found[split] == (entry["bytes"], entry["tokens"])


def test_complete_specs_are_planned_as_those_given(corpus: Path, spec: Spec) -> None:
    again = estimate(read_manifest(corpus)["spec"], seconds=0)
    given = estimate(spec(), seconds=0)
    assert [each.shards for each in again.splits] == [each.shards for each in given.splits]


def huge(tokens: int, **extra: Any) -> dict[str, Any]:
    splits = {"train": {"tokens": tokens}, "test": {"examples": 10, "form": "test"}}
    return {"datasets": {"depo": {"task": "depo", "config": DEPO, "splits": splits}}, **extra}


@pytest.mark.parametrize(
    ("extra", "least"),
    [
        ({}, 9_000),
        ({"shard_tokens": 1 << 24, "dedup": {"mode": "drop"}}, 590_000),
        ({"format": "webdataset"}, 9_000),
        # 16,384 row groups a shard, more than the lists of 16 shards may hold. (Of more than 32,768 each list
        # takes seconds to compress, zlib's window being passed.)
        ({"format": "webdataset", "shard_tokens": 1 << 32, "pack": {"length": 2048}}, 2_300),
    ],
)
def test_ten_trillion_tokens_are_arithmetic(
    extra: dict[str, Any], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No plan is listed, however many shards or row groups there are: what is sampled is of fixed size."""
    made = listed = 0
    real_init, real_encode = (
        ostraca.pipeline.spec.shards.Shard.__init__,
        ostraca.pipeline.forecast.manifest_size.encode_numbers,
    )

    def counted(self: Any, **fields: Any) -> None:
        nonlocal made
        made += 1
        real_init(self, **fields)

    def encoded(numbers: Any) -> str:
        nonlocal listed
        listed += len(numbers)
        return real_encode(numbers)

    monkeypatch.setattr(ostraca.pipeline.spec.shards.Shard, "__init__", counted)
    monkeypatch.setattr(ostraca.pipeline.forecast.manifest_size, "encode_numbers", encoded)
    cluster = Cluster(nodes=1000, cores=64, memory=1 << 44)
    found = estimate(huge(10**13, **extra), cluster, seconds=0)
    assert made < 3000
    assert listed < 1 << 20
    assert found.shards > least
    assert sum(each.tokens for each in found.splits) == pytest.approx(10**13, rel=0.05)
    better_shard_tokens(found, huge(10**13, **extra), smaller=False)
    assert made < 20_000
    assert listed < 1 << 22


def split_of(shards: int, seconds: float, size: int, name: str = "train") -> SplitPlan:
    """A split of 1,000 examples a shard."""
    return SplitPlan(
        dataset="d",
        split=name,
        examples=1000 * shards,
        tokens=100_000 * shards,
        shards=shards,
        shard_examples=1000,
        shard_groups=10,
        shard_bytes=size // shards,
        shard_tokens=100_000,
        bytes=size,
        group_examples=100,
        group_size=Spread(mean=size / shards / 10, deviation=0.0),
        token_deviation=0.0,
        rows=Spread(mean=100.0, deviation=0.0),
        seconds=seconds,
        shard_seconds=seconds / shards,
        print_bytes=24_000 * shards,
        record_bytes=1000 * shards,
    )


def estimate_of(split: SplitPlan, cluster: Cluster, search: Search | None = None) -> Estimate:
    return Estimate(
        spec={},
        cluster=cluster,
        splits=(split,),
        measured={},
        side_files=(),
        manifest=ManifestSize(bytes=0, files=1, lines=0, memory=0),
        search=search,
        base_bytes=10**8,
    )


@pytest.mark.parametrize(
    ("cluster", "bound", "wall"),
    [
        (Cluster(cores=4), "cores", 250.0),
        (Cluster(nodes=2, cores=2), "cores", 250.0),
        (Cluster(nodes=15, cores=4), "shards", 20.0),  # 100 shards of 10 s in two rounds
        (Cluster(cores=4, bandwidth=1e6), "disk", 1000.0),
        (Cluster(nodes=2, cores=2, network=1e6), "network", 500.0),
        (Cluster(cores=1, latency=0.5), "cores", 1100.0),  # a shard and its record
        (Cluster(cores=1, bandwidth=1e8), "cores", 1010.0),  # each waits until its file is written
    ],
)
def test_what_bounds_a_build(cluster: Cluster, bound: str, wall: float) -> None:
    """1,000 s of work and 1 GB in 100 shards, without fingerprints."""
    split = dataclasses.replace(split_of(100, 1000.0, 10**9), print_bytes=0)
    found = estimate_of(split, cluster)
    (step,) = found.steps()
    assert (step.bound, step.wall) == (bound, pytest.approx(wall))
    assert found.wall() == step.wall
    assert found.peak_bytes == found.bytes + 100_000


def test_more_duplicates_are_more_work() -> None:
    """A duplicate in every shard: all is made again, no more."""
    duplicates = ostraca.pipeline.forecast.duplicates.Duplicates(
        least={("d", "train"): 100.0}, unknown=(), used_up=()
    )
    search = Search(
        examples=100_000,
        ranges=4,
        table_bytes=1 << 20,
        least_memory=None,
        calls=400,
        read_bytes=2_400_000,
        written_bytes=3200,
        seconds=8.0,
        duplicates=duplicates,
    )
    found = estimate_of(split_of(100, 1000.0, 10**9), Cluster(cores=4), search)
    making, searching, again = found.steps()
    assert making.wall == pytest.approx(250.0)
    assert searching.wall == pytest.approx(2.0)
    assert again.cores == pytest.approx(250.0 * (1 - np.exp(-1)))
    assert found.wall(all_again=True) == pytest.approx(502.0)
    assert found.peak_bytes == found.bytes + 100_000 + 2_400_000 + 3200 + 4 * 10**7
    assert Step(name="", cores=1.0, jobs=2.0, disk=0.0, network=0.0, what="ranges").bound == "ranges"


@pytest.mark.parametrize(("count", "different"), [(1, 1), (2, 1), (50, 365), (1000, 100), (3000, 10**6)])
def test_the_birthday_bound_is_the_mean_of_draws(count: int, different: int) -> None:
    rng = np.random.default_rng(count)
    drawn = [count - len(np.unique(rng.integers(0, different, count))) for _ in range(400)]
    expected = ostraca.pipeline.forecast.duplicates._birthday(count, different)
    assert expected == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 20 + 0.05)


def test_the_birthday_bound_has_no_jump_and_takes_any_number() -> None:
    birthday = ostraca.pipeline.forecast.duplicates._birthday
    assert birthday(10**6, 10**10 + 1) == pytest.approx(birthday(10**6, 10**10 - 1), rel=1e-3)
    values = [birthday(10**9, 10**k) for k in (9, 12, 15, 18, 30, 400)]
    assert all(a >= b >= 0 for a, b in itertools.pairwise(values))
    assert birthday(10**15, 10**400) < 1e-300


def test_duplicates_of_a_small_space(tmp_path: Path) -> None:
    """Mano of one operation: what is expected at least is there, also where the sample alone tells it."""
    splits = {"train": {"examples": 3000}, "test": {"examples": 100, "form": "test"}}
    given = {
        "datasets": {"mano": {"task": "mano", "config": {"L": 1, "ttype": "a"}, "splits": splits}},
        "dedup": {"mode": "drop"},
    }
    manifest = build(given, tmp_path / "x", engine="local")
    dropped = sum(each["dropped"] for each in manifest["dedup"].values())
    spec = check_spec(given)
    parts = {("mano", "train"): (0, 0), ("mano", "test"): (0, 0)}
    blind = least_duplicates(spec, parts)
    seen = least_duplicates(spec, {**parts, ("mano", "train"): (900, 1500)})
    assert 0.5 * dropped < blind.total <= dropped + 3 * dropped**0.5
    assert seen.least["mano", "train"] > 0.5 * 3000
    assert blind.changed(("mano", "train"), 1) == pytest.approx(1.0)


def test_more_than_there_is() -> None:
    splits = {"train": {"examples": 10**6}}
    config = {"L": 1, "ttype": "a"}
    given = {"datasets": {"mano": {"task": "mano", "config": config, "splits": splits}}}
    known = least_duplicates(check_spec(given), {("mano", "train"): (0, 0)})
    ((part, asked, different),) = known.used_up
    assert (part, asked) == (("mano", "train"), 10**6)
    assert known.total == pytest.approx(10**6 - different, rel=0.01)


def test_rates_are_of_this_machine(tmp_path: Path) -> None:
    rates = measure_search(1000)
    assert 0 < rates.seconds < 1e-4
    assert 0 <= rates.call_seconds < 0.1
    disk = measure_disk(tmp_path / "not/yet/there")
    assert disk is not None
    assert disk.bandwidth > 0
    assert disk.latency > 0
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_checks_the_spec() -> None:
    with pytest.raises(ConfigError, match="datasets must name"):
        estimate({})
