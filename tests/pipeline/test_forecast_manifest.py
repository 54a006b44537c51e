"""The size of manifests that nobody has yet written, against ones that are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ostraca import cli
from ostraca.pipeline.corpus.changes import Changes
from ostraca.pipeline.corpus.manifest import make_manifest, read_manifest, write_manifest
from ostraca.pipeline.corpus.numbers import encode_numbers
from ostraca.pipeline.corpus.records import ShardRecord
from ostraca.pipeline.corpus.split import SplitId, splits_of
from ostraca.pipeline.corpus.split_statistics import Statistics
from ostraca.pipeline.forecast.manifest_size import LARGE_MANIFEST, manifest_size
from ostraca.pipeline.forecast.measure import Measured, Spread
from ostraca.pipeline.forecast.splits import split_plans
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.shards import plan
from ostraca.tasks import get_task

FILES = [("tokenizer.json", 12_345), ("tokenizer_config.json", 321)]


def costs_of(spec: dict[str, Any], part: SplitId) -> Measured:
    """Made-up costs: a byte a token, 2 % more or less."""
    entry = spec["datasets"][part[0]]["splits"][part[1]]
    step = min(entry["row_group_examples"], entry["shard_examples"], entry["examples"])
    mean = get_task(spec["datasets"][part[0]]["task"]).mean_tokens(entry["config"])
    return Measured(
        examples=step,
        seconds=0.01,
        stages={},
        clock=1.0,
        tokens=Spread(mean=step * mean, deviation=0.02 * step * mean),
        rows=Spread(mean=step / 3, deviation=2.0),
        kept=1.0,
        file_bytes=1000.0,
        group_bytes=1500.0,
        example_bytes=mean,
        deviation=0.02 * step * mean,
        repeated=(0, 0),
        statistics=Statistics(),
    )


@pytest.mark.parametrize(
    ("extra", "shards", "duplicates"),
    [
        ({}, 16_000, 0),
        ({}, 3_000, 0),
        ({"dedup": {"mode": "drop"}}, 15_000, 20_000),
        ({"pack": {"length": 1024}, "format": "webdataset", "compression": "zstd"}, 12_000, 0),
    ],
)
def test_the_size_is_that_of_as_many_records(
    extra: dict[str, Any], shards: int, duplicates: int, tmp_path: Path
) -> None:
    """Records whose rows, tokens, bytes and digests are drawn here, another way than there."""
    splits = {
        "train": {"examples": 50 * 320 * shards - 77, "shard_examples": 50 * 320, "row_group_examples": 320},
        "test": {"examples": 3000, "form": "test"},
    }
    spec = check_spec({"datasets": {"depo": {"task": "depo", "splits": splits}}, **extra})
    measured = {split.id: costs_of(spec, split.id) for split in splits_of(spec)}
    plans = split_plans(spec, measured)
    size = manifest_size(spec, plans, FILES, {("depo", "train"): float(duplicates)})

    rng = np.random.default_rng(7)
    lost = np.bincount(rng.integers(0, shards, duplicates), minlength=shards)
    of = {(each.dataset, each.split): each for each in plans}
    records = []
    for shard in plan(spec):
        own = of[shard.dataset, shard.split]
        groups = -(-shard.count // own.group_examples)
        steps = rng.normal(own.group_size.mean, own.group_size.deviation, groups).astype(np.int64)
        rows = rng.normal(own.rows.mean, own.rows.deviation, groups).astype(np.int64)
        tokens = rng.normal(own.shard_tokens / own.shard_groups, own.token_deviation, groups)
        places = rng.choice(shard.count, lost[shard.number] if shard.split == "train" else 0, replace=False)
        changes = Changes(places=np.sort(places), attempts=np.zeros(len(places), np.int64))
        records.append(
            ShardRecord(
                dataset=shard.dataset,
                split=shard.split,
                path=shard.path,
                rows=shard.count - len(places),
                tokens=round(rng.normal(own.shard_tokens, 8 * own.token_deviation)),
                bytes=int(steps.sum()),
                sha256=rng.bytes(32).hex(),
                content_digest=rng.bytes(16).hex(),
                first_index=shard.first_index,
                count=shard.count,
                changes=str(changes),
                group_rows=encode_numbers(rows) if "pack" in extra else "",
                group_tokens=encode_numbers(tokens.astype(np.int64)),
                tail=f"{steps.sum() - rng.integers(4_000, 5_000)}:{rng.bytes(16).hex()}",
            )
        )
    files = [{"path": path, "bytes": count, "sha256": "0" * 64} for path, count in FILES]
    write_manifest(tmp_path, make_manifest(spec, records, files))
    written = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert size.bytes == pytest.approx(sum(written), rel=0.15)
    assert size.files == len(written)
    assert (size.files > 1) == (shards > 3_000)
    assert len(read_manifest(tmp_path)["splits"]["train"]["shards"]) == shards


CORPORA = sorted(
    path.stem
    for path in (Path(cli.CONF) / "corpus").glob("*.yaml")
    if "name" in yaml.safe_load(path.read_text())
)


def preset(name: str) -> dict[str, Any]:
    """A corpus of conf/corpus with 10^12 tokens in each train split that can have them."""
    found = yaml.safe_load((Path(cli.CONF) / "corpus" / f"{name}.yaml").read_text())
    datasets: dict[str, Any] = {}
    for each in found["defaults"]:
        if not isinstance(each, dict):
            continue
        ((key, value),) = each.items()
        entry = yaml.safe_load((Path(cli.CONF) / "dataset" / f"{value}.yaml").read_text())
        train = {} if get_task(entry["task"]).count is not None else {"tokens": 10**12}
        splits = {"train": train, "test": {"form": "test"}}
        datasets[key.rpartition(".")[2]] = {**entry, "splits": splits}
    return {"datasets": datasets}


@pytest.mark.parametrize(
    ("name", "form"), [*((name, "parquet") for name in CORPORA), ("depo1-225", "webdataset")]
)
def test_the_manifest_of_a_trillion_tokens_is_small(name: str, form: str) -> None:
    """With the tokens of 4 million row groups in each."""
    spec = check_spec({**preset(name), "format": form})
    plans = split_plans(spec, {split.id: costs_of(spec, split.id) for split in splits_of(spec)})
    # With digests and sizes that nobody could compress, as they are.
    size = manifest_size(spec, plans, FILES, {})
    trillions = max(1, round(sum(each.tokens for each in plans) / 1e12))
    assert size.bytes < 12e6 * trillions
    assert size.bytes < LARGE_MANIFEST
    assert size.memory < 2**30
    tokens = sum(each.tokens for each in plans if each.split == "train")
    assert "capo" in name or tokens > 0.999e12


def test_what_is_listed_counts() -> None:
    """Records of shards that lost examples are longer; more shards are more bytes."""
    splits = {"train": {"tokens": 4 * 10**11}}
    sizes = []
    for shard_tokens, duplicates in ((1 << 26, 0.0), (1 << 24, 0.0), (1 << 24, 8e5)):
        given = {
            "shard_tokens": shard_tokens,
            "dedup": {"mode": "redraw"},
            "datasets": {"depo": {"task": "depo", "splits": splits}},
        }
        spec = check_spec(given)
        (own,) = split_plans(spec, {("depo", "train"): costs_of(spec, ("depo", "train"))})
        sizes.append(manifest_size(spec, [own], FILES, {("depo", "train"): duplicates}).bytes)
        assert dataclasses.asdict(own)["shards"] in (5960, 5961, 23837, 23842)
    assert sizes == sorted(sizes)
    assert sizes[2] - sizes[1] > 1e6
