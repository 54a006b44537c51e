"""Style 4: a config is checked once at the door, in one line that names the key, or it works."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from facts.kinds import lists
from facts.mano import VARIED, key_of, make
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.mano_judge import judge

from ostraca.tasks.errors import ConfigError
from ostraca.tasks.mano import KEYS, check, max_tokens, tokens
from ostraca.tasks.mano.config import MIN_ACCEPTANCE, acceptance, is_prime, lengths_of
from ostraca.tasks.mano.generate import generate
from ostraca.tasks.mano.validate import validate

DEFAULTS = {name: key.default for name, key in KEYS.items()}


def refusal(config: Any) -> str:
    """The one line that refuses this config."""
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("mano: ")
    return text


def test_defaults_are_the_published_ones() -> None:
    assert check({}) == check(None) == DEFAULTS
    assert DEFAULTS == {
        "L": 10,
        "ttype": "asm",
        "value_mod": 23,
        "knowledge_augment": True,
        "bos_token_id": 9999,
        "qa": False,
        "fixed_length": None,
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
    given = {"ttype": "da"}
    assert check(given)["ttype"] == "ad"
    assert given == {"ttype": "da"}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("l", "L"), ("type", "ttype"), ("mod", "value_mod"), ("QA", "qa"), ("bos_id", "bos_token_id")],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(wrong: str, meant: str) -> None:
    text = refusal({wrong: 5})
    assert f"unknown key {wrong!r} (did you mean {meant!r}?)" in text
    assert ", ".join(KEYS) in text


WRONG_TYPES = ["5", 5.0, 5.5, float("nan"), float("inf"), [5], {"a": 1}, (), b"5", object, 1j, "a\nb"]


@pytest.mark.parametrize("name", [name for name in KEYS if name != "ttype"])
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
        assert refusal({name: value}) == f"mano: {name}={value!r} {allowed}"


@pytest.mark.parametrize("config", [5, "L", ["L"], [("L", 5)], 1.5, True, {"L"}])
def test_what_is_no_mapping_is_refused(config: Any) -> None:
    assert "must be a mapping" in refusal(config)


def test_every_spelling_of_the_operators_is_one_config() -> None:
    """15 sets of letters, 64 spellings; all give the same examples."""
    found = set()
    for size in range(1, 5):
        for letters in itertools.permutations("asmd", size):
            full = check({"ttype": "".join(letters)})
            assert full["ttype"] == "".join(sorted(letters, key="asmd".index))
            found.add(full["ttype"])
    assert len(found) == 15
    assert make({"ttype": "dmsa"}, 50)[1].equals(make({"ttype": "asmd"}, 50)[1])


@pytest.mark.parametrize(
    "value", ["", "aa", "asma", "x", "asmx", "ASM", " asm", "+", None, 5, ["a"], b"a", True]
)
def test_other_operators_are_refused(value: Any) -> None:
    text = refusal({"ttype": value})
    assert text.startswith(f"mano: ttype={value!r} must be some of the letters a (+), s (-), m (*), d (/)")


@pytest.mark.parametrize(
    ("modulus", "primes"),
    [(24, "23 or 29"), (4, "3 or 5"), (91, "89 or 97"), (32768, "32749"), (32767, "32749"), (9, "7 or 11")],
)
def test_division_needs_a_prime(modulus: int, primes: str) -> None:
    text = refusal({"ttype": "ad", "value_mod": modulus, "bos_token_id": 40_000, "L": 2})
    assert f"value_mod={modulus} is not prime" in text
    assert f"take value_mod={primes}, or leave d out" in text
    assert check({"ttype": "asm", "value_mod": modulus, "bos_token_id": 40_000})


def test_primes_are_those_of_the_sieve() -> None:
    sieve = np.ones(32769, bool)
    sieve[:2] = False
    for factor in range(2, 182):
        if sieve[factor]:
            sieve[factor * factor :: factor] = False
    assert [n for n in range(32769) if is_prime(n)] == np.flatnonzero(sieve).tolist()


def test_a_fixed_length_beyond_the_largest_is_refused() -> None:
    assert "fixed_length=11 must not be larger than L=10" in refusal({"fixed_length": 11})
    assert check({"fixed_length": 10})["fixed_length"] == 10


@pytest.mark.parametrize(
    ("modulus", "letters", "most"),
    [(2, "d", 6), (2, "asmd", 31), (3, "d", 11), (23, "d", 103), (23, "asmd", 354)],
)
def test_divisions_by_zero_that_are_too_frequent_are_refused(modulus: int, letters: str, most: int) -> None:
    """Trap 1, loops that never end: up to `most` operators 1 draw in 100 passes; more are refused."""
    accepted = acceptance(modulus, letters)
    assert accepted[most] >= MIN_ACCEPTANCE > accepted[most + 1]
    given = {"ttype": letters, "value_mod": modulus}
    config, batch = make({**given, "L": most, "qa": True}, 3)
    assert validate(batch, config).all_valid
    for more in ({"L": most + 1}, {"L": 499}, {"L": most + 1, "qa": True}):
        text = refusal({**given, **more})
        assert f"L={more['L']} is too large for ttype={letters} with value_mod={modulus}" in text
        assert f"at most {most} operators" in text or more.get("qa") or more["L"] == 499
    assert "fixed_length=499 is too large" in refusal({**given, "L": 499, "fixed_length": 499})
    assert check({**given, "L": 499, "fixed_length": most})


@pytest.mark.parametrize(
    ("bos", "more", "says"),
    [
        (0, {}, "-1 is no id"),
        (1, {}, "1 is the id of +"),
        (8, {}, "7 is the id of *'"),
        (9, {"ttype": "asmd"}, "8 is the id of /'"),
        (10, {}, "10 is the id of <len_1>"),
        (12, {}, "11 is the id of <len_1>'"),
        (15, {}, "15 is the id of <ans_1>'"),
        (16, {}, "15 is the id of <ans_1>'"),
        (104, {}, "104 is the id of <ans_10>"),
        (5000, {}, "5000 is the id of the value 0"),
        (5022, {}, "5022 is the id of the value 22"),
        (5023, {}, "5022 is the id of the value 22"),
        (9999, {"value_mod": 4999}, "9998 is the id of the value 4998"),
        (9999, {"value_mod": 32768}, "9999 is the id of the value 4999"),
        (4990, {"L": 499}, "4990 is the id of <len_499>"),
        (3, {"knowledge_augment": False}, "3 is the id of *"),
    ],
)
def test_a_bos_that_collides_is_refused(bos: int, more: dict[str, Any], says: str) -> None:
    text = refusal({"bos_token_id": bos, **more})
    assert text.startswith(f"mano: bos_token_id={bos} cannot be: {says}; take a free one, e.g. ")
    free = int(text.rpartition(" ")[2])
    assert check({**more, "bos_token_id": free})["bos_token_id"] == free


@pytest.mark.parametrize(
    ("bos", "more"),
    [
        (9, {}),
        (13, {}),
        (110, {"knowledge_augment": False}),
        (11, {"knowledge_augment": False}),
        (0, {"knowledge_augment": False}),
        (4, {"knowledge_augment": False}),
        (10, {"knowledge_augment": False, "qa": True}),
        (5024, {}),
        (9999, {"value_mod": 4998}),
        (10_000, {"value_mod": 4999}),
        (4997, {"L": 499}),
        (2**31 - 1, {}),
    ],
)
def test_a_bos_that_just_does_not_collide_works(bos: int, more: dict[str, Any]) -> None:
    config, batch = make({"bos_token_id": bos, **more}, 300)
    assert validate(batch, config).all_valid
    assert all(judge(config, row.tolist()) for row in lists(batch["input_ids"]))


# ---- any config at all

INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "L": st.one_of(st.integers(1, 30), st.integers(1, 499)),
    "ttype": st.one_of(st.sampled_from(["asm", "asmd", "d", "ad", "dms"]), st.text("asmdx", max_size=4)),
    "value_mod": st.one_of(st.sampled_from([2, 3, 5, 23]), st.integers(2, 40), st.integers(2, 2**15)),
    "knowledge_augment": st.booleans(),
    "bos_token_id": st.one_of(st.just(9999), st.just(40_000), st.integers(0, 10_000)),
    "qa": st.booleans(),
    "fixed_length": st.one_of(st.none(), st.integers(1, 40)),
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
        assert text.startswith("mano: ")
        names = [*KEYS, *map(repr, given)]
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names), text
        return False
    batch = generate(config, key_of(config), np.arange(4, dtype=np.int64))
    assert validate(batch, config).all_valid
    rows = [row.tolist() for row in lists(batch["input_ids"])]
    if config["value_mod"] < 100:  # the judge tries all quotients
        assert all(judge(config, row) for row in rows)
    assert max(map(len, rows)) <= max_tokens(config)
    assert set(batch["length"].to_pylist()) <= set(lengths_of(config))
    assert set().union(*rows) <= set(tokens(config))
    return True


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=400)
@given(st.fixed_dictionaries({}, optional=INSIDE))
def test_any_config_near_the_ranges_works_or_is_refused_in_one_line(given: dict[str, Any]) -> None:
    works_or_is_refused(given)


@settings(derandomize=True, deadline=timedelta(seconds=5), max_examples=300)
@given(
    st.fixed_dictionaries({}, optional={name: INSIDE[name] for name in ("qa", "knowledge_augment")}),
    st.dictionaries(st.one_of(st.sampled_from(sorted(KEYS)), st.text(max_size=8)), OUTSIDE, max_size=2),
)
def test_any_values_and_any_further_keys_are_refused_in_one_line(
    given: dict[str, Any], more: dict[str, Any]
) -> None:
    if works_or_is_refused({**given, **more}):
        assert set(more) <= set(KEYS)
