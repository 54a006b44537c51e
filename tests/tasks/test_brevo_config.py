"""Style 4: a config is checked once at the door, in one line that names the key, or it works."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from facts.brevo import VARIED, key_of, make
from facts.kinds import lists
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.brevo_judge import judge

from ostraca.tasks.base import vocab_size
from ostraca.tasks.brevo import KEYS, TASK, check, look, max_tokens, mean_tokens, tokens
from ostraca.tasks.brevo.generate import generate
from ostraca.tasks.brevo.validate import validate
from ostraca.tasks.core.batch import rows_of, unragged
from ostraca.tasks.core.words import count_words
from ostraca.tasks.errors import ConfigError

DEFAULTS = {name: key.default for name, key in KEYS.items()}


def refusal(config: Any) -> str:
    """The one line that refuses this config."""
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("brevo: ")
    return text


def test_defaults_are_the_published_ones() -> None:
    assert check({}) == check(None) == DEFAULTS
    assert DEFAULTS == {
        "N": 70,
        "multi": False,
        "qa": False,
        "query": "last",
        "max_in": 4,
        "mini_vocab": 4,
        "min_tlen": 2,
        "max_tlen": 4,
        "bos_token_id": 9999,
        "eos_token_id": 9998,
        "query_token_id": 9997,
        "answer_token_id": 9998,
    }


@pytest.mark.parametrize("name", VARIED)
def test_a_complete_config_checks_to_itself(name: str) -> None:
    """What a manifest holds can be checked again; order and integer types are settled."""
    config = check(VARIED[name])
    assert list(config) == list(KEYS)
    assert check(config) == config
    assert check(dict(reversed(config.items()))) == config
    of_numpy = {name: np.int64(value) if type(value) is int else value for name, value in config.items()}
    checked = check(of_numpy)
    assert checked == config
    assert [type(value) for value in checked.values()] == [type(value) for value in config.values()]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("n", "N"), ("QA", "qa"), ("mult", "multi"), ("maxin", "max_in"), ("eos_id", "eos_token_id")],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(wrong: str, meant: str) -> None:
    text = refusal({wrong: 5})
    assert f"unknown key {wrong!r} (did you mean {meant!r}?)" in text
    assert ", ".join(KEYS) in text


WRONG_TYPES = ["5", 5.0, 5.5, float("nan"), float("inf"), [5], {"a": 1}, (), b"5", object, 1j, "a\nb"]


@pytest.mark.parametrize("name", KEYS)
def test_wrong_types_and_values_out_of_range_are_refused_by_name(name: str) -> None:
    """Every key: other types; one below and one beyond its range; None."""
    key = KEYS[name]
    values: list[Any] = [*WRONG_TYPES, None]
    if key.kind is bool:
        values += [0, 1, "true"]
        allowed = "must be true or false"
    elif key.kind is str:
        values += [0, True, "LAST", "", "first"]
        allowed = "must be one of last, last_quarter"
    else:
        values += [True, False, key.low - 1, key.high + 1, -(2**70), 2**70]
        allowed = f"must be an integer from {key.low} to {key.high}"
    for value in values:
        text = refusal({name: value})
        assert text.startswith(f"brevo: {name}={value!r}")
        assert text.endswith(allowed)


@pytest.mark.parametrize("config", [5, "N", b"N", ["N"], [("N", 5)], 1.5, True, {"N"}])
def test_what_is_no_mapping_is_refused(config: Any) -> None:
    assert "must be a mapping" in refusal(config)


@pytest.mark.parametrize("space", [(1, 1, 3), (1, 3, 64), (2, 1, 2), (3, 2, 3), (50, 1, 1), (5, 3, 3)])
@pytest.mark.parametrize("qa", [False, True])
def test_exactly_as_many_words_as_nodes_works_and_one_more_node_is_refused(
    space: tuple[int, int, int], qa: bool
) -> None:
    """Trap 1, loops that never end: every word there is gets used, and the draw ends."""
    names = ("mini_vocab", "min_tlen", "max_tlen")
    words = count_words(*space)
    mapping = {**dict(zip(names, space, strict=True)), "N": words, "qa": qa, "multi": True}
    config, batch = make(mapping, 20)
    assert validate(batch, config).all_valid
    text = refusal({**mapping, "N": words + 1})
    assert f"N={words + 1}" in text
    assert f"only {words}" in text
    make({**mapping, "N": words + 1, "multi": False}, 20)  # nodes of one token need no words


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

INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "N": st.integers(3, 40),
    "multi": st.booleans(),
    "qa": st.booleans(),
    "query": st.sampled_from(["last", "last_quarter"]),
    "max_in": st.one_of(st.integers(1, 6), st.integers(1, 64)),
    "mini_vocab": st.one_of(st.integers(1, 60), st.integers(1, 5000)),
    "min_tlen": st.integers(1, 6),
    "max_tlen": st.one_of(st.integers(1, 8), st.integers(1, 64)),
    "bos_token_id": st.one_of(st.just(0), st.integers(0, 20_000)),
    "eos_token_id": st.one_of(st.just(9998), st.integers(0, 20_000)),
    "query_token_id": st.integers(0, 20_000),
    "answer_token_id": st.one_of(st.just(9998), st.integers(0, 2**31 - 1)),
}
assert set(INSIDE) == set(KEYS)
OUTSIDE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([1]))


def works_or_is_refused(mapping: dict[str, Any]) -> bool:
    """True where it works; else the refusal is one line that names a key."""
    try:
        config = check(mapping)
    except ConfigError as error:
        text = str(error)
        assert "\n" not in text
        assert text.startswith("brevo: ")
        names = [*KEYS, *map(repr, mapping)]
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names), text
        return False
    batch = generate(config, key_of(config), np.arange(4, dtype=np.int64))
    assert validate(batch, config).all_valid
    rows = [row.tolist() for row in lists(batch["input_ids"])]
    assert all(judge(config, row) for row in rows)
    assert max(map(len, rows)) <= max_tokens(config)
    assert max(map(max, rows)) < vocab_size(TASK, config)
    names = tokens(config)
    assert set().union(*rows) <= set(names)
    assert len(set(names.values())) == len(names)
    return True


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=300)
@given(st.fixed_dictionaries({}, optional=INSIDE))
def test_any_config_near_the_ranges_works_or_is_refused_in_one_line(mapping: dict[str, Any]) -> None:
    works_or_is_refused(mapping)


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=200)
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(KEYS)), st.text(max_size=8)), OUTSIDE, max_size=2))
def test_any_values_and_any_further_keys_are_refused_in_one_line(more: dict[str, Any]) -> None:
    if works_or_is_refused({"N": 20, **more}):
        assert set(more) <= set(KEYS)


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
