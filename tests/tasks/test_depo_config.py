"""Depo's keys alone: hops, words and ids that may not meet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from facts.depo import key_of, make, refusal
from facts.kinds import lists
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.depo_judge import judge

from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.core.words import count_words
from ostraca.tasks.depo import KEYS, TASK, check, max_tokens, tokens
from ostraca.tasks.depo.generate import generate
from ostraca.tasks.depo.validate import validate


def test_too_small_sizes_are_refused() -> None:
    assert "N=2 must be" in refusal({"N": 2})
    assert "K=0 must be" in refusal({"K": 0})
    assert "M=0 must be" in refusal({"M": 0})
    assert "min_tlen=0 must be" in refusal({"min_tlen": 0})
    assert "mini_vocab=0 must be" in refusal({"mini_vocab": 0})


def test_a_fixed_hop_beyond_the_largest_is_refused() -> None:
    assert "fixed_k=9 must not be larger than K=8" in refusal({"fixed_k": 9})
    assert check({"fixed_k": 8})["fixed_k"] == 8


IDS = {"bos_token_id": 5, "answer_token_id": 50, "separator_token_id": 60, "query_token_base": 70}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("bos_token_id", 50, "answer_token_id"),
        ("bos_token_id", 60, "separator_token_id"),
        ("bos_token_id", 71, "query ids"),
        ("bos_token_id", 74, "query ids"),
        ("bos_token_id", 1, "words' tokens"),
        ("bos_token_id", 4, "words' tokens"),
        ("answer_token_id", 60, "separator_token_id"),
        ("answer_token_id", 71, "query ids"),
        ("answer_token_id", 74, "query ids"),
        ("answer_token_id", 1, "words' tokens"),
        ("answer_token_id", 4, "words' tokens"),
        ("separator_token_id", 71, "query ids"),
        ("separator_token_id", 74, "query ids"),
        ("separator_token_id", 4, "words' tokens"),
        ("separator_token_id", 50, "answer_token_id"),
        ("query_token_base", 3, "words' tokens"),
        ("query_token_base", 0, "words' tokens"),
        ("query_token_base", 49, "answer_token_id"),
        ("query_token_base", 46, "answer_token_id"),
        ("query_token_base", 59, "separator_token_id"),
        ("mini_vocab", 3, "bos_token_id"),
        ("mini_vocab", 36, "query ids"),
        ("K", 10**6, "query ids"),
    ],
)
def test_ids_that_collide_are_refused_by_both_names(name: str, value: int, other: str, used: bool) -> None:
    """Every pair of meanings, at both ends of the ranges; a separator counts only where it is used."""
    config: dict[str, Any] = {"N": 4, "K": 4, "mini_vocab": 2, **IDS, "separator": used, name: value}
    if name == "K":
        config["answer_token_id"] = 5000
    if value == 36:
        config.update(bos_token_id=500, answer_token_id=501, separator_token_id=502)
    if not used and "separator_token_id" in (name, other):
        filled, batch = make(config, 50)
        assert validate(batch, filled).all_valid
        return
    text = refusal(config)
    assert "collide at id" in text
    assert other in text
    assert {"query_token_base": "query ids", "mini_vocab": "words' tokens", "K": "query ids"}.get(
        name, name
    ) in text


def test_ids_that_just_do_not_collide_work() -> None:
    """Every range touches the next: words 1-4, queries 5-8, answer 9, separator 10, bos 11."""
    ids = {"query_token_base": 4, "answer_token_id": 9, "separator_token_id": 10, "bos_token_id": 11}
    config, batch = make({"N": 4, "K": 4, "mini_vocab": 2, "separator": True, **ids}, 300)
    assert validate(batch, config).all_valid
    assert all(judge(config, row.tolist()) for row in lists(batch["input_ids"]))
    assert set(unragged(batch["input_ids"])[0].tolist()) == set(range(1, 12))
    assert vocab_size(TASK, config) == 12


def test_query_ids_past_the_largest_are_refused() -> None:
    assert check({"query_token_base": 2**31 - 1 - 8})
    assert "query_token_base" in refusal({"query_token_base": 2**31 - 8})


def test_the_longest_example_of_any_config_fits_in_32_bits() -> None:
    """Offsets are int32: the ranges of the keys alone keep an example far below 2^31 tokens."""
    largest = {"N": 10**6, "M": 10**6, "mini_vocab": 2, "min_tlen": 61, "max_tlen": 61, "separator": True}
    assert max_tokens(check(largest)) == 1 + 10**6 * (2 * 61 + 1) + 10**6 * (2 + 2 * 61) < 2**31
    assert KEYS["N"].high == KEYS["M"].high == 10**6
    assert KEYS["max_tlen"].high == 64


# ---- any config at all


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=150)
@given(st.booleans(), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2))
def test_all_words_in_use_always_ends(qa: bool, vocab: int, low: int, more: int) -> None:
    """N is exactly the number of words, up to 6^5 + 6^4 + 6^3 of them: within the deadline."""
    words = count_words(vocab, low, low + more)
    space = {"mini_vocab": vocab, "min_tlen": low, "max_tlen": low + more}
    if words < 3:
        assert "N=3" in refusal({**space, "N": 3})
        return
    config = check({**space, "N": words, "qa": qa})
    batch = generate(config, key_of(config), np.arange(2, dtype=np.int64))
    assert validate(batch, config).all_valid
    assert f"only {words}" in refusal({**space, "N": words + 1})


# ---- the list of tasks


def test_every_id_has_a_name() -> None:
    config = check({"K": 2, "separator": True, "mini_vocab": 2, "min_tlen": 5, "max_tlen": 8, "N": 3})
    assert tokens(config) == {
        0: "<bos>",
        1: "1",
        2: "2",
        3: "1.",
        4: "2.",
        9001: "<query_1>",
        9002: "<query_2>",
        9500: "<ans>",
        9700: "<sep>",
    }
    assert 9700 not in tokens(check({"K": 2}))
    assert 1 not in tokens(check({"N": 20, "max_tlen": 1}))  # a word of one token is its own end
