"""Brevo's keys alone: words, ids that may not meet, sizes; and what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facts.brevo import VARIED, make, refusal

from ostraca.tasks.base import vocab_size
from ostraca.tasks.brevo import KEYS, TASK, check, look, max_tokens, mean_tokens, tokens
from ostraca.tasks.brevo.validate import validate
from ostraca.tasks.core.batch import rows_of, unragged


def test_impossible_words_matter_only_where_words_are_used() -> None:
    assert "min_tlen=5" in refusal({"multi": True, "min_tlen": 5})
    assert check({"min_tlen": 5})["min_tlen"] == 5


IDS = {"bos_token_id": 50, "query_token_id": 60, "answer_token_id": 70, "eos_token_id": 80}


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        *((name, number, "the nodes' tokens (1 to N)") for name in IDS for number in (1, 12)),
        *((name, IDS[other], other) for name in IDS for other in IDS if name != other),
    ],
)
def test_ids_that_collide_are_refused_by_both_names(name: str, value: int, other: str) -> None:
    """Every pair of meanings, at both ends of the nodes' ids; <ans> and <eos> alone may share one."""
    config = {"N": 12, **IDS, name: value}
    if {name, other} == {"answer_token_id", "eos_token_id"}:
        assert validate(make(config, 20)[1], check(config)).all_valid
        return
    text = refusal(config)
    assert f"collide at id {value}" in text
    assert name in text
    assert other in text


@pytest.mark.parametrize("name", IDS)
def test_a_shared_id_of_answer_and_eos_collides_like_any(name: str) -> None:
    shared = {"N": 12, **IDS, "answer_token_id": 80}
    if name in ("bos_token_id", "query_token_id"):
        assert "collide at id 80" in refusal({**shared, name: 80})
    assert "collide at id 12" in refusal({**shared, "answer_token_id": 12, "eos_token_id": 12})
    assert "collide at id 8;" in refusal({**shared, "multi": True, name: 8})
    assert check({**shared, "multi": True, name: 9})[name] == 9


def test_ids_that_just_do_not_collide_work() -> None:
    """Every range touches the next: 0 and 1-7 and 8, 9, 10; all of them occur."""
    ids = {"bos_token_id": 0, "query_token_id": 8, "answer_token_id": 9, "eos_token_id": 10}
    config, batch = make({"N": 7, **ids}, 300)
    assert validate(batch, config).all_valid
    assert set(unragged(batch["input_ids"])[0].tolist()) == set(range(11))
    assert vocab_size(TASK, config) == 11


def test_more_nodes_than_the_default_ids_leave_room_for_are_refused() -> None:
    assert check({"N": 9996})["N"] == 9996
    assert "collide at id 9997" in refusal({"N": 9997})
    ids = {"bos_token_id": 200_000, "query_token_id": 200_001, "answer_token_id": 200_002}
    assert check({"N": 10**5, **ids, "eos_token_id": 200_003})["N"] == 10**5


def test_the_longest_example_of_any_config_fits_in_32_bits() -> None:
    largest = {"N": 10**5, "multi": True, "mini_vocab": 2, "min_tlen": 61, "max_tlen": 61, "max_in": 64}
    assert 2**29 < max_tokens(check(largest)) < 2**31
    assert (KEYS["N"].high, KEYS["max_in"].high, KEYS["max_tlen"].high) == (10**5, 64, 64)


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"N": 3}, 4 + 2 * 3 + 1 + 3),  # 1 -> 2, 1 -> 3, 2 -> 3
        ({"N": 5}, 4 + 2 * 10 + 1 + 5),
        ({"N": 6, "max_in": 1}, 4 + 2 * 5 + 1 + 6),
        ({"N": 6, "max_in": 2}, 4 + 2 * 9 + 1 + 6),
        ({"N": 3, "multi": True, "max_tlen": 2, "mini_vocab": 3}, 4 + 2 * (2 * 3 + 1 + 3)),
    ],
)
def test_the_longest_example_is_reached_in_small_configs(config: dict[str, Any], most: int) -> None:
    full, batch = make(config, 20_000, seed=20)
    assert max_tokens(full) == most == np.diff(unragged(batch["input_ids"])[1]).max()


@pytest.mark.parametrize("name", [*VARIED])
def test_mean_tokens_is_the_mean_to_some_percent(name: str) -> None:
    """Against 20,000 examples: it is an estimate of a fixed sample (2%), equal at every call."""
    config, batch = make(VARIED[name], 20_000, seed=21)
    mean = np.diff(unragged(batch["input_ids"])[1]).mean()
    assert abs(mean_tokens(config) / mean - 1) < 0.03
    assert mean_tokens(config) == mean_tokens(check(VARIED[name]))


@pytest.mark.parametrize("words", [{}, {"multi": True, "mini_vocab": 12}])
def test_mean_tokens_of_large_graphs_costs_little_and_is_near(words: dict[str, Any]) -> None:
    """Over 1,000 nodes the sample is of smaller graphs: within 4% at n = 5,000."""
    config, batch = make({"N": 5000, "qa": True, **words}, 60, seed=23)
    mean = np.diff(unragged(batch["input_ids"])[1]).mean()
    assert abs(mean_tokens(config) / mean - 1) < 0.04


# ---- any config at all


# ---- names, and what `ostraca inspect` shows


def test_every_id_has_a_name() -> None:
    specials = {9997: "<query>", 9998: "<ans|eos>", 9999: "<bos>"}
    assert tokens(check({"N": 3})) == {1: "v1", 2: "v2", 3: "v3", **specials}
    words = {"N": 3, "multi": True, "mini_vocab": 2, "eos_token_id": 9000}
    assert tokens(check(words)) == {
        1: "1",
        2: "2",
        3: "1.",
        4: "2.",
        9000: "<eos>",
        9997: "<query>",
        9998: "<ans>",
        9999: "<bos>",
    }


@pytest.mark.parametrize("name", VARIED)
def test_the_query_and_the_answer_have_a_line_each(name: str) -> None:
    config, batch = make(VARIED[name], 20, seed=22)
    for row in rows_of(batch):
        shown = look(row, config, False)
        asked, answer = shown.breaks
        assert row["input_ids"][asked] == config["query_token_id"]
        assert row["input_ids"][answer] == config["answer_token_id"]
        assert answer == row["loss_mask"].index(1)
        facts = (
            f"n {row['n']}, edges {row['edges']}, depth {row['depth']}, answer {row['answer_length']} nodes"
        )
        assert shown.facts == facts


def test_damaged_rows_are_shown_as_well() -> None:
    (row,) = rows_of(make({"N": 5}, 1)[1])
    for ids in ([], [9997] * 3, [1, 2]):
        assert all(0 <= at <= len(ids) for at in look({**row, "input_ids": ids}, check({}), False).breaks)
