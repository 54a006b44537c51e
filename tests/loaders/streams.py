"""What the tests of streams share: many kinds of them, and the comparison after every step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ostraca.loaders import CorpusSource, Source, TaskSource, TokenStream, resume_stream

CONFIG = {"N": 20, "K": 4, "M": 5}
Batch = dict[str, Any]
# The same stream as some ranks of it; batch sizes here are multiples of 12.
MakeStream = Callable[..., TokenStream]


def make_sources(corpus: Path) -> dict[str, Callable[[], Source]]:
    return {
        "endless task": lambda: TaskSource("depo", CONFIG, seed=3),
        "finite task": lambda: TaskSource("depo", CONFIG, seed=3, start=7, count=700),
        "corpus": lambda: CorpusSource(corpus),
        "test split": lambda: CorpusSource(corpus, split="test"),
    }


SOURCES = ["endless task", "finite task", "corpus", "test split"]
SETTINGS: dict[str, dict[str, Any]] = {
    "left_aligned": {"batch_size": 12, "length": 96, "mode": "left_aligned", "remainder": "pad"},
    "concat": {"batch_size": 12, "length": 96, "mode": "concat", "remainder": "wrap"},
    "padded": {"batch_size": 24, "length": 80, "mode": "padded", "lanes": 6, "window_blocks": 1},
    "unshuffled": {"batch_size": 12, "length": 96, "mode": "left_aligned", "shuffle": False},
}


def take(stream: Iterable[Batch], count: int) -> list[Batch]:
    return list(itertools.islice(stream, count))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def joined(ranks: Iterable[Batch]) -> Batch:
    """The batch of one process: the ranks' lines, end to end."""
    ranks = list(ranks)
    return {name: np.concatenate([batch[name] for batch in ranks]) for name in ranks[0]}


def of_ranks(make: MakeStream, world: int, state: Any = None) -> list[TokenStream]:
    """The stream as each rank makes it, all of them with a state."""
    streams = [make(rank=rank, world_size=world) for rank in range(world)]
    if state is not None:
        for stream in streams:
            stream.load_state_dict(state)
    return streams


def resume_after_every_step(make: MakeStream, steps: int = 12, worlds: Iterable[int] = (1, 3, 4, 12)) -> None:
    """Stop after every step, at one world size, and go on at another: the rest is the same."""
    reference = take(make(), steps + 2)
    sizes = itertools.cycle(worlds)
    world = next(sizes)
    streams = of_ranks(make, world)
    iterators = [iter(stream) for stream in streams]
    for step in range(min(steps, len(reference))):
        state = json.loads(json.dumps(streams[step % world].state_dict()))
        assert len(json.dumps(state)) < 4000
        next_world = next(sizes)
        resumed = of_ranks(make, next_world, state)
        if state["source"] is not None and step % 4 == 1:  # from the state alone
            resumed = [resume_stream(state, rank=rank, world_size=next_world) for rank in range(next_world)]
        rest = zip(*(take(stream, 2) for stream in resumed), strict=True)
        assert_same([joined(batches) for batches in rest], reference[step : step + 2])
        assert_same([joined(next(iterator) for iterator in iterators)], [reference[step]])
    for iterator in iterators:
        iterator.close()  # type: ignore[attr-defined]
