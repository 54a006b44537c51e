"""Mano's keys alone: operators, primes, divisions by zero, a <bos> that is free."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from facts.kinds import lists
from facts.mano import make, refusal
from oracles.mano_judge import judge

from ostraca.tasks.mano import check
from ostraca.tasks.mano.config import MIN_ACCEPTANCE, acceptance, is_prime
from ostraca.tasks.mano.validate import validate


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
        (0, {}, "-1 is not an id"),
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
