"""Promise 1: anyone can replay an example with plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mano_configs import PRESETS, VARIED, key_of, make
from oracles.mano import replay

from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.mano import check
from ostraca.tasks.mano.generate import generate


@pytest.mark.parametrize("name", VARIED)
def test_generate_equals_the_replay(name: str) -> None:
    """Tokens and all metadata of 100 examples, over two seeds, for configs that reach every branch."""
    for seed in (0, 2**70):
        config, batch = make(VARIED[name], 50, seed=seed)
        key = key_of(config, seed)
        assert rows_of(batch) == [replay(config, key, index) for index in range(50)]


@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_replay(name: str, qa: bool) -> None:
    config, batch = make({**PRESETS[name], "qa": qa}, 100, split="test")
    key = key_of(config, split="test")
    assert rows_of(batch) == [replay(config, key, index) for index in range(100)]


def test_far_indices_equal_the_replay() -> None:
    """Indices beyond 32 bits have streams of their own."""
    config = check({"ttype": "asmd"})
    indices = [2**31 - 1, 2**31, 2**32 + 1, 2**53 + 1, 2**62 - 1]
    batch = generate(config, key_of(config), np.array(indices, np.int64))
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in indices]


def test_the_longest_expressions_equal_the_replay() -> None:
    """499 operators, where trees are deep; with division too, where many are drawn again."""
    for given in ({"L": 499, "qa": True}, {"L": 320, "ttype": "asmd", "qa": True}):
        config, batch = make(given, 3)
        assert rows_of(batch) == [replay(config, key_of(config), index) for index in range(3)]
