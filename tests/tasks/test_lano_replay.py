"""Promise 1: anyone can replay an example with plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from lano_configs import PRESETS, VARIED, key_of, make
from oracles.lano import replay

from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.lano.config import check
from ostraca.tasks.lano.generate import generate


@pytest.mark.parametrize("name", VARIED)
def test_generate_equals_the_replay(name: str) -> None:
    """Tokens and all metadata of 60 examples, over two seeds, for grammars of all kinds."""
    for seed in (0, 2**70):
        config, batch = make(VARIED[name], 30, seed=seed)
        key = key_of(config, seed)
        assert rows_of(batch) == [replay(config, key, index) for index in range(30)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_replay(name: str) -> None:
    config, batch = make(PRESETS[name], 8, split="test")
    key = key_of(config, split="test")
    assert rows_of(batch) == [replay(config, key, index) for index in range(8)]


def test_far_indices_equal_the_replay() -> None:
    """Indices beyond 32 bits have streams of their own."""
    config = check({"config_name": "cfg3b"})
    indices = [2**31 - 1, 2**31, 2**32 + 1, 2**53 + 1, 2**62 - 1]
    batch = generate(config, key_of(config), np.array(indices, np.int64))
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in indices]


def test_rows_longer_than_expected_get_the_room_they_need() -> None:
    """A batch of nothing but the long half of the sentences outgrows its first room."""
    config = check({"grammar": "7 -> 5 | " + "5 " * 1000 + "\n5 -> 1 | 2\n"})
    key = key_of(config)
    lengths = generate(config, key, np.arange(60))["length"].to_numpy()
    long = np.flatnonzero(lengths == 1000)
    assert 20 < len(long) < 40
    batch = generate(config, key, np.tile(long, 3).astype(np.int64))
    assert rows_of(batch) == [replay(config, key, int(index)) for index in long] * 3
