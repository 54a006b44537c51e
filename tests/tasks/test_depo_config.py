"""Style 4: a config is checked once at the door, in one line that names the key, or it works."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from facts.depo import VARIED, key_of, make
from facts.kinds import lists
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.depo_judge import judge

from ostraca.tasks import get_task
from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.core.words import count_words
from ostraca.tasks.depo import KEYS, TASK, check, max_tokens, tokens
from ostraca.tasks.depo.generate import generate
from ostraca.tasks.depo.validate import validate
from ostraca.tasks.errors import ConfigError, OstracaError

DEFAULTS = {name: key.default for name, key in KEYS.items()}


def refusal(config: Any) -> str:
    """The one line that refuses this config."""
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("depo: ")
    return text


def test_defaults_are_the_published_ones() -> None:
    assert check({}) == check(None) == DEFAULTS
    assert DEFAULTS == {
        "N": 225,
        "K": 8,
        "M": 10,
        "qa": False,
        "separator": False,
        "mini_vocab": 50,
        "min_tlen": 1,
        "max_tlen": 2,
        "fixed_k": None,
        "bos_token_id": 0,
        "separator_token_id": 9700,
        "query_token_base": 9000,
        "answer_token_id": 9500,
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


def test_check_leaves_what_it_was_given_alone() -> None:
    given = {"N": 9}
    assert check(given) is not given
    assert given == {"N": 9}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("n", "N"),
        ("k", "K"),
        ("minivocab", "mini_vocab"),
        ("max_len", "max_tlen"),
        ("min_tlen ", "min_tlen"),
        ("seperator", "separator"),
        ("fixed_K", "fixed_k"),
        ("QA", "qa"),
        ("answer_token", "answer_token_id"),
        ("bos_id", "bos_token_id"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(wrong: str, meant: str) -> None:
    text = refusal({wrong: 5})
    assert f"unknown key {wrong!r} (did you mean {meant!r}?)" in text
    assert ", ".join(KEYS) in text


def test_a_key_like_no_other_is_refused_without_a_guess() -> None:
    text = refusal({"zzzzzzzz": 1})
    assert "unknown key 'zzzzzzzz'; known:" in text


WRONG_TYPES = ["5", 5.0, 5.5, float("nan"), float("inf"), [5], {"a": 1}, (), b"5", object, 1j, "a\nb"]


@pytest.mark.parametrize("name", KEYS)
def test_wrong_types_and_values_out_of_range_are_refused_by_name(name: str) -> None:
    """Every key: other types; one below and one beyond its range; None where it must be given."""
    key = KEYS[name]
    values: list[Any] = list(WRONG_TYPES)
    if key.kind is bool:
        values += [0, 1, None, "true"]
        allowed = "must be true or false"
    else:
        values += [True, False, key.low - 1, key.high + 1, -(2**70), 2**70] + ([] if key.optional else [None])
        allowed = f"must be an integer from {key.low} to {key.high}" + (" or null" if key.optional else "")
    for value in values:
        assert refusal({name: value}) == f"depo: {name}={value!r} {allowed}"


@pytest.mark.parametrize("config", [5, "N", b"N", ["N"], [("N", 5)], 1.5, True, {"N"}])
def test_what_is_no_mapping_is_refused(config: Any) -> None:
    assert "must be a mapping" in refusal(config)


def test_too_small_sizes_are_refused() -> None:
    assert "N=2 must be" in refusal({"N": 2})
    assert "K=0 must be" in refusal({"K": 0})
    assert "M=0 must be" in refusal({"M": 0})
    assert "min_tlen=0 must be" in refusal({"min_tlen": 0})
    assert "mini_vocab=0 must be" in refusal({"mini_vocab": 0})


def test_a_fixed_hop_beyond_the_largest_is_refused() -> None:
    assert "fixed_k=9 must not be larger than K=8" in refusal({"fixed_k": 9})
    assert check({"fixed_k": 8})["fixed_k"] == 8


SPACES = [
    (1, 1, 3),
    (1, 1, 61),
    (1, 3, 64),
    (2, 1, 2),
    (2, 1, 7),
    (3, 2, 3),
    (50, 1, 1),
    (5, 3, 3),
    (9, 1, 2),
]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("qa", [False, True])
def test_exactly_as_many_words_as_nodes_works_and_one_more_node_is_refused(
    space: tuple[int, int, int], qa: bool
) -> None:
    """Trap 1, loops that never end: every word there is gets used, and the draw ends."""
    names = ("mini_vocab", "min_tlen", "max_tlen")
    words = count_words(*space)
    given = {**dict(zip(names, space, strict=True)), "N": words, "qa": qa}
    config, batch = make(given, 20)
    assert validate(batch, config).all_valid
    text = refusal({**given, "N": words + 1})
    assert f"N={words + 1}" in text
    assert f"only {words}" in text
    assert all(name in text for name in names)


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

INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "N": st.integers(3, 40),
    "K": st.integers(1, 60),
    "M": st.one_of(st.integers(1, 12), st.just(10**6)),
    "qa": st.booleans(),
    "separator": st.booleans(),
    "mini_vocab": st.one_of(st.integers(1, 60), st.integers(1, 5000)),
    "min_tlen": st.integers(1, 6),
    "max_tlen": st.one_of(st.integers(1, 8), st.integers(1, 64)),
    "fixed_k": st.one_of(st.none(), st.integers(1, 60)),
    "bos_token_id": st.one_of(st.just(0), st.integers(0, 20_000)),
    "separator_token_id": st.integers(9_000, 10_000),
    "query_token_base": st.one_of(st.just(9000), st.integers(0, 20_000)),
    "answer_token_id": st.one_of(st.just(9500), st.integers(0, 2**31 - 1)),
}
assert set(INSIDE) == set(KEYS)
OUTSIDE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


def works_or_is_refused(given: dict[str, Any]) -> bool:
    """True where it works; else the refusal is one line that names a key."""
    try:
        config = check(given)
    except ConfigError as error:
        text = str(error)
        assert "\n" not in text
        assert text.startswith("depo: ")
        names = [*KEYS, *map(repr, given)]
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names), text
        return False
    batch = generate(config, key_of(config), np.arange(4, dtype=np.int64))
    assert validate(batch, config).all_valid
    rows = [row.tolist() for row in lists(batch["input_ids"])]
    assert all(judge(config, row) for row in rows)
    assert max(map(len, rows)) <= max_tokens(config)
    assert max(map(max, rows)) < vocab_size(TASK, config)
    assert set().union(*rows) <= set(tokens(config))
    return True


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=400)
@given(st.fixed_dictionaries({}, optional=INSIDE))
def test_any_config_near_the_ranges_works_or_is_refused_in_one_line(given: dict[str, Any]) -> None:
    works_or_is_refused(given)


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=300)
@given(
    st.fixed_dictionaries({}, optional=INSIDE),
    st.dictionaries(st.one_of(st.sampled_from(sorted(KEYS)), st.text(max_size=8)), OUTSIDE, max_size=2),
)
def test_any_values_and_any_further_keys_are_refused_in_one_line(
    given: dict[str, Any], more: dict[str, Any]
) -> None:
    config = {**{name: value for name, value in given.items() if name in ("K", "qa", "M")}, "N": 20, **more}
    if works_or_is_refused(config):
        assert set(more) <= set(KEYS)


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=150)
@given(INSIDE["qa"], st.integers(1, 6), st.integers(1, 3), st.integers(0, 2))
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


def test_get_task_names_the_nearest_task() -> None:
    assert get_task("depo") is TASK
    with pytest.raises(OstracaError, match=r"unknown task 'deppo' \(did you mean 'depo'\?\); known: depo"):
        get_task("deppo")


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
