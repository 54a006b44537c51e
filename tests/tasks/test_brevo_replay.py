"""Promise 1: anyone can replay an example with plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from brevo_configs import PRESETS, VARIED, key_of, make
from oracles.brevo import replay

from ostraca.tasks.brevo import check
from ostraca.tasks.brevo.generate import generate
from ostraca.tasks.core.batch import rows_of


@pytest.mark.parametrize("name", VARIED)
def test_generate_equals_the_replay(name: str) -> None:
    """Tokens and all metadata of 100 examples, over two seeds, for configs that reach every branch."""
    for seed in (0, 2**70):
        config, batch = make(VARIED[name], 50, seed=seed)
        key = key_of(config, seed)
        assert rows_of(batch) == [replay(config, key, index) for index in range(50)]


@pytest.mark.parametrize("query", ["last", "last_quarter"])
@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_replay(name: str, qa: bool, query: str) -> None:
    config, batch = make({**PRESETS[name], "qa": qa, "query": query}, 12, split="test")
    key = key_of(config, split="test")
    assert rows_of(batch) == [replay(config, key, index) for index in range(12)]


def test_far_indices_equal_the_replay() -> None:
    """Indices beyond 32 bits have streams of their own."""
    config = check({"N": 6})
    indices = [2**31 - 1, 2**31, 2**32 + 1, 2**53 + 1, 2**62 - 1]
    batch = generate(config, key_of(config), np.array(indices, np.int64))
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in indices]


def test_a_large_graph_equals_the_replay() -> None:
    """600 nodes named by words of 22,764: a hashed table, and many nodes that have no more room."""
    words = {"multi": True, "mini_vocab": 28, "min_tlen": 1, "max_tlen": 3}
    config, batch = make({"N": 600, "qa": True, **words}, 2)
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in range(2)]
