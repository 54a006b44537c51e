"""Promise 1: anyone can replay an example with plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from depo_configs import PRESETS, VARIED, key_of, make
from oracles.depo import replay

from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.core.words import count_words
from ostraca.tasks.depo import check
from ostraca.tasks.depo.generate import generate


@pytest.mark.parametrize("name", VARIED)
def test_generate_equals_the_replay(name: str) -> None:
    """Tokens and all metadata of 60 examples, over two seeds, for configs that reach every branch."""
    for seed in (0, 2**70):
        config, batch = make(VARIED[name], 30, seed=seed)
        key = key_of(config, seed)
        assert rows_of(batch) == [replay(config, key, index) for index in range(30)]


@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_replay(name: str, qa: bool) -> None:
    config, batch = make({**PRESETS[name], "qa": qa}, 8, split="test")
    key = key_of(config, split="test")
    assert rows_of(batch) == [replay(config, key, index) for index in range(8)]


def test_far_indices_equal_the_replay() -> None:
    """Indices beyond 32 bits have streams of their own."""
    config = check({"N": 6, "mini_vocab": 3})
    indices = [2**31 - 1, 2**31, 2**32 + 1, 2**53 + 1, 2**62 - 1]
    batch = generate(config, key_of(config), np.array(indices, np.int64))
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in indices]


def test_both_forms_of_the_word_table_are_replayed() -> None:
    """The table of seen words is direct up to 2^14 words and hashed above: both among the configs."""
    sizes = [
        count_words(config["mini_vocab"], config["min_tlen"], config["max_tlen"])
        for config in (check(given) for given in VARIED.values())
    ]
    assert min(sizes) <= 8
    assert max(sizes) > 2**14


def test_a_crowded_hash_table_is_replayed() -> None:
    """3,000 of 22,764 words: the hashed table probes often, and many draws repeat a word."""
    config, batch = make({"N": 3000, "qa": True, "mini_vocab": 28, "min_tlen": 1, "max_tlen": 3}, 2)
    assert rows_of(batch) == [replay(config, key_of(config), index) for index in range(2)]
