"""Mano's config: its keys, what is refused at the door, and the ids that it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Key, check_keys
from ..errors import ConfigError, shown

LETTERS = "asmd"
SYMBOLS = "+-*/"
FIRST_VALUE = 5000  # id of the value 0; <len_l> is 10 * l, <ans_l> is 10 * l + 4, operators are 1 to 4
MAX_LENGTH = 499  # up to here <ans_l> and its alias stay below the values
MIN_ACCEPTANCE = 0.01

KEYS = {
    "L": Key(default=10, low=1, high=MAX_LENGTH, help="largest number of operators"),
    "ttype": Key(default="asm", kind=object, help="operators, each once: a (+), s (-), m (*), d (/)"),
    "value_mod": Key(default=23, low=2, high=2**15, help="the modulus; with d a prime"),
    "knowledge_augment": Key(
        default=True, kind=bool, help="a fair coin gives <bos>, <len>, <ans> and each operator a second id"
    ),
    "bos_token_id": Key(default=9999, help="id of <bos>; the second one is 1 less"),
    "qa": Key(default=False, kind=bool, help="test form: L operators"),
    "fixed_length": Key(
        default=None, low=1, high=MAX_LENGTH, optional=True, help="this number of operators only"
    ),
}


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("mano: ", config, KEYS)
    full["ttype"] = _check_letters(full["ttype"])
    if full["fixed_length"] is not None and full["fixed_length"] > full["L"]:
        raise ConfigError(
            f"mano: fixed_length={full['fixed_length']} must not be larger than L={full['L']}; "
            "raise L to ask it"
        )
    if "d" in full["ttype"]:
        _check_division(full)
    _check_ids(full)
    return full


def _check_letters(letters: Any) -> str:
    """The letters of `ttype` in one order, so that one law has one spelling."""
    if (
        not isinstance(letters, str)
        or not letters
        or not set(letters) <= set(LETTERS)
        or len(set(letters)) < len(letters)
    ):
        raise ConfigError(
            f"mano: ttype={shown(letters)} must be some of the letters a (+), s (-), m (*), d (/), "
            'each at most once, e.g. "asm"'
        )
    return "".join(letter for letter in LETTERS if letter in letters)


def _check_division(full: Mapping[str, Any]) -> None:
    """Division needs inverses, and expressions without a division by zero that are not too rare.

    With at least 1 in 100 accepted, more than 10,000 draws of an expression have a chance of 1e-44.
    """
    modulus, letters = full["value_mod"], full["ttype"]
    if not is_prime(modulus):
        below = next((m for m in range(modulus, 1, -1) if is_prime(m)), None)
        above = next((m for m in range(modulus, int(KEYS["value_mod"].high) + 1) if is_prime(m)), None)
        primes = " or ".join(str(m) for m in (below, above) if m is not None)
        raise ConfigError(
            f"mano: value_mod={modulus} is not prime, so d (/) in ttype={letters} has no inverses; "
            f"take value_mod={primes}, or leave d out"
        )
    accepted = acceptance(modulus, letters)
    for length in lengths_of(full):
        if accepted[length] < MIN_ACCEPTANCE:
            name = "L" if full["fixed_length"] is None else "fixed_length"
            raise ConfigError(
                f"mano: {name}={lengths_of(full)[-1]} is too large for ttype={letters} with "
                f"value_mod={modulus}: all but 1 of {1 / accepted[length]:.0f} expressions of {length} "
                f"operators divide by zero; take at most {length - 1} operators, a larger value_mod "
                "or other letters"
            )


def is_prime(number: int) -> bool:
    """Whether the number (up to 2^15) is a prime."""
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


@lru_cache(maxsize=64)
def acceptance(modulus: int, letters: str) -> NDArray[np.float64]:
    """P(an expression of l operators has no division by zero): float64 [MAX_LENGTH + 1], entry l.

    By dynamic programming. Multiplying every leaf by a unit of the field changes no probability, so the
    values other than 0 of a subtree are equally likely, and the masses of 0 and of the others say it all.
    """
    zero, other = np.zeros((2, MAX_LENGTH + 1))
    zero[0], other[0] = 1 / modulus, 1 - 1 / modulus
    for length in range(1, MAX_LENGTH + 1):
        z, o = zero[:length], other[:length]
        both, one, none = z @ z[::-1], z @ o[::-1], o @ o[::-1]  # of the two operands 0
        meet = none / (modulus - 1)  # two operands other than 0 are equal
        zeros = {"a": both + meet, "s": both + meet, "m": both + 2 * one, "d": one}
        total = {"d": one + none}
        masses = [(zeros[letter], total.get(letter, both + 2 * one + none)) for letter in letters]
        zero[length] = sum(mass for mass, _ in masses) / len(letters) / length
        other[length] = sum(mass for _, mass in masses) / len(letters) / length - zero[length]
    return zero + other


def _check_ids(full: Mapping[str, Any]) -> None:
    """<bos> and its alias are the only ids that a config can move."""
    bos, names = full["bos_token_id"], _names_but_bos(full)
    for token in (bos, bos - 1) if full["knowledge_augment"] else (bos,):
        if token in names or token < 0:
            name = f"the value {names[token]}" if token >= FIRST_VALUE else names.get(token)
            taken = f"is the id of {name}" if token in names else "is not an id"
            free = max(9999, FIRST_VALUE + full["value_mod"] + 1)
            raise ConfigError(
                f"mano: bos_token_id={bos} cannot be: {token} {taken}; take a free one, e.g. {free}"
            )


def lengths_of(config: Mapping[str, Any]) -> range:
    """The numbers of operators that occur, each equally likely."""
    if config["fixed_length"] is not None:
        return range(config["fixed_length"], config["fixed_length"] + 1)
    return range(config["L"] if config["qa"] else 1, config["L"] + 1)


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use; an alias has a prime: <len_3>' means what <len_3> does."""
    bos = config["bos_token_id"]
    aliases = {bos - 1: "<bos>'"} if config["knowledge_augment"] else {}
    return {bos: "<bos>"} | aliases | _names_but_bos(config)


def _names_but_bos(config: Mapping[str, Any]) -> dict[int, str]:
    names = {1 + LETTERS.index(letter): SYMBOLS[LETTERS.index(letter)] for letter in config["ttype"]}
    for length in lengths_of(config):
        names[10 * length] = f"<len_{length}>"
        names[10 * length + 4] = f"<ans_{length}>"
    if config["knowledge_augment"]:
        names |= {token + (4 if token < 5 else 1): f"{name}'" for token, name in names.items()}
    return names | {FIRST_VALUE + value: str(value) for value in range(config["value_mod"])}
