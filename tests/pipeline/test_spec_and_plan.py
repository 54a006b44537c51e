"""Promise 2: a spec is complete, canonical, and cut into shards by arithmetic alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.pipeline.spec.shards import count_examples, count_shards, plan
from ostraca.tasks.errors import ConfigError, OstracaError

Maker = Callable[..., dict[str, Any]]


def test_a_complete_spec_checks_to_itself(spec: Maker) -> None:
    complete = check_spec(spec())
    assert check_spec(complete) == complete
    assert check_spec(json.loads(json.dumps(complete))) == complete


def test_digest_golden(spec: Maker) -> None:
    """If this changes, no folder that was begun can be finished, and no manifest passes its own check."""
    assert (
        spec_digest(check_spec(spec())) == "c41f052ffae5b1cd436011a5de1e7adc2171ae1defc9ecbd4756cef35606192d"
    )


def test_defaults_are_written_out_and_do_not_change_the_digest(spec: Maker) -> None:
    explicit = spec()
    explicit["datasets"]["small"]["config"] = {**explicit["datasets"]["small"]["config"], "qa": False}
    assert spec_digest(check_spec(explicit)) == spec_digest(check_spec(spec()))


def test_everything_that_decides_the_corpus_is_in_the_digest(spec: Maker) -> None:
    changes: list[dict[str, Any]] = [spec(), spec(seed=1), spec(train=2001), spec(shard_tokens=40_000)]
    for key, value in (("N", 21), ("K", 5), ("answer_token_id", 9501)):
        changed = spec()
        changed["datasets"]["small"]["config"] = {**changed["datasets"]["small"]["config"], key: value}
        changes.append(changed)
    assert len({spec_digest(check_spec(change)) for change in changes}) == len(changes)


@given(
    examples=st.integers(1, 10**9),
    shard=st.integers(1, 10**6),
    group=st.integers(1, 10**4),
)
@settings(max_examples=200, deadline=None)
def test_shards_are_a_partition(examples: int, shard: int, group: int) -> None:
    """Every example in exactly one shard, in order, none empty."""
    shard = max(shard, examples // 2000)
    split = {"examples": examples, "shard_examples": shard, "row_group_examples": group}
    given_spec = {"datasets": {"d": {"task": "depo", "splits": {"train": split}}}}
    complete = check_spec(given_spec)
    expected = 0
    shards = list(plan(complete))
    for number, part in enumerate(shards):
        assert (part.number, part.total, part.first_index) == (number, len(shards), expected)
        assert 1 <= part.count <= shard
        expected += part.count
    assert expected == examples == count_examples(complete)
    assert len(shards) == count_shards(complete)
    assert len({part.path for part in shards}) == len(shards)


def test_names_of_files(spec: Maker) -> None:
    shards = list(plan(check_spec(spec())))
    assert shards[-1].path == f"small/train-{len(shards) - 2:05d}-of-{len(shards) - 1:05d}.parquet"
    assert shards[0].path == "small/test-00000-of-00001.parquet"


def test_shard_sizes_follow_the_tokens_asked_for(spec: Maker) -> None:
    entry = check_spec(spec())["datasets"]["small"]["splits"]["train"]
    assert entry["shard_examples"] % entry["row_group_examples"] == 0
    larger = check_spec(spec(shard_tokens=80_000))["datasets"]["small"]["splits"]["train"]
    assert larger["shard_examples"] == 4 * entry["shard_examples"]


def test_twins_are_refused(spec: Maker) -> None:
    """Two datasets of one task and config would hold the same examples twice."""
    twins = spec()
    twins["datasets"]["other"] = copy.deepcopy(twins["datasets"]["small"])
    with pytest.raises(ConfigError, match="have the same task and config"):
        check_spec(twins)
    twins["datasets"]["other"]["config"]["N"] = 21
    check_spec(twins)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasets": {}}, ["datasets must name at least one"]),
        ({"sede": 1}, ["unknown key 'sede'", "did you mean 'seed'"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"seed": 1.5}, ["seed=1.5"]),
        ({"name": "a/b"}, ["name='a/b'"]),
        ({"format": "csv"}, ["format='csv'", "parquet"]),
        ({"shard_tokens": 0}, ["shard_tokens=0"]),
        ({"datasets": {"../x": {}}}, ["a dataset's name"]),
        ({"datasets": {"d": {"task": "depot"}}}, ["unknown task 'depot'", "did you mean 'depo'"]),
        ({"datasets": {"d": {"task": "depo"}}}, ["splits must name"]),
        ({"datasets": {"d": {"task": "depo", "version": 99, "splits": {}}}}, ["version 99", "install"]),
        ({"datasets": {"d": {"task": "depo", "splits": {"Train": {}}}}}, ["split='Train'"]),
        (
            {"datasets": {"d": {"task": "depo", "splits": {"t": {"examples": 1, "tokens": 1}}}}},
            ["both examples and tokens"],
        ),
        (
            {"datasets": {"d": {"task": "depo", "splits": {"t": {"form": "exam"}}}}},
            ["form='exam'", "train, test"],
        ),
        ({"vocabulary": "dense"}, ["vocabulary='dense'", "published, shared"]),
        ({"datasets": {"d": {"task": "depo", "splits": {"train": {"examples": 0}}}}}, ["examples=0"]),
        ({"datasets": {"d": {"task": "depo", "splits": {"train": {"examples": 10**18}}}}}, ["examples="]),
        ({"datasets": {"d": {"task": "depo", "splits": {"train": 5}}}}, ["must be a mapping"]),
        ({"datasets": {"d": 5}}, ["must be a mapping"]),
        ({"datasets": {"d": {"task": "depo", "config": 5, "splits": {"t": {"examples": 1}}}}}, ["config=5"]),
        ({"datasets": {"manifest.json": {"task": "depo"}}}, ["a dataset's name"]),
        ({"row_group_tokens": 2**30}, ["row_group_tokens"]),
        (
            {"datasets": {"d": {"task": "depo", "config": {"n": 3}, "splits": {"t": {"examples": 1}}}}},
            ["unknown key 'n'", "did you mean 'N'"],
        ),
    ],
)
def test_bad_specs_get_one_clear_line(spec: Maker, change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((ConfigError, OstracaError)) as caught:
        check_spec({**copy.deepcopy(spec()), **change})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
