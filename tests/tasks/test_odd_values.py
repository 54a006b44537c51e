"""Values that Python cannot simply compare or hash get one line; plain ids are an example too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.errors import OstracaError
from ostraca.tasks.examples import complete_config, generate_example, validate_example

ARRAYS = [np.array([1, 2]), np.array([]), np.array("x"), [np.array([1, 2])], {"a": np.array([1, 2])}]

SPEC: dict[str, Any] = {
    "name": "x",
    "seed": 0,
    "format": "parquet",
    "compression": "zstd",
    "vocabulary": "published",
    "pack": {"length": 9, "mode": "whole"},
    "dedup": {"mode": "off", "key": "tokens", "against": []},
    "shard_tokens": 100,
    "row_group_tokens": 10,
    "datasets": {
        "m": {
            "task": "mano",
            "config": {"L": 2},
            "splits": {"train": {"examples": 5, "form": "train", "config": {}, "shard_examples": 3}},
        }
    },
}


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    for key in value if isinstance(value, dict) else ():
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("name", TASKS)
def test_an_array_as_the_value_of_a_config(name: str) -> None:
    task = get_task(name)
    for key in task.keys:
        for value in ARRAYS:
            with pytest.raises(OstracaError) as caught:
                task.check({key: value})
            assert "\n" not in str(caught.value)
            assert key in str(caught.value)


@pytest.mark.parametrize("path", list(places(SPEC)), ids=".".join)
def test_an_array_anywhere_in_a_spec(path: tuple[str, ...]) -> None:
    for value in ARRAYS:
        spec = copy.deepcopy(SPEC)
        place = spec
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(OstracaError) as caught:
            check_spec(spec)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
def test_plain_ids_are_an_example(name: str) -> None:
    task = get_task(name)
    config = complete_config(task, {}, 0)
    ids = generate_example(task, config, 0, 3, "train")["input_ids"]
    for given in (ids, tuple(ids), np.array(ids), {"input_ids": ids}):
        assert validate_example(task, given, config)
    for wrong in (ids[:-1], [*ids, ids[0]], [], None, "text", 5, [[1]], np.array(ids, float)):
        assert not validate_example(task, wrong, config)
