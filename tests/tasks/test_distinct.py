"""How many different examples there are: equal to counting them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from contents import made
from facts.lano import GRAMMARS
from oracles.lano import rules_of
from oracles.lano_cyk import enumerate_language
from oracles.mano_judge import evaluate

from ostraca.pipeline.corpus.fingerprint import token_fingerprints
from ostraca.tasks import get_task
from ostraca.tasks.core.words import count_words
from ostraca.tasks.mano.config import acceptance


def distinct(task: str, given: dict[str, Any]) -> tuple[int | None, int | None]:
    """By tokens, and by content."""
    known = get_task(task)
    count = known.distinct
    assert count is not None
    config = known.check(given)
    return count(config, False), count(config, True)


def depo_problems(words: int, n: int, asked: int, hops: int) -> Iterator[tuple[Any, Any]]:
    """Every (edges in their order, questions in their order) of n nodes."""
    for chosen in itertools.combinations(range(words), n):
        for others in itertools.permutations(chosen[1:]):
            cycle = [chosen[0], *others]
            edges = list(zip(cycle, [*others, chosen[0]], strict=True))
            for order in itertools.permutations(edges):
                for starts in itertools.permutations(chosen, asked):
                    for each in itertools.product(range(hops), repeat=asked):
                        yield order, tuple(zip(starts, each, strict=True))


DEPOS: list[dict[str, Any]] = [
    {"N": 3, "mini_vocab": 1, "max_tlen": 3, "M": 1, "K": 1},
    {"N": 3, "mini_vocab": 4, "max_tlen": 1, "M": 2, "K": 2},
    {"N": 4, "mini_vocab": 5, "max_tlen": 1, "M": 1, "K": 3},
    {"N": 4, "mini_vocab": 5, "max_tlen": 1, "M": 1, "K": 3, "qa": True},
    {"N": 4, "mini_vocab": 4, "max_tlen": 1, "M": 9, "K": 3, "fixed_k": 2},
]


@pytest.mark.parametrize("given", DEPOS)
def test_depo_counts_every_example(given: dict[str, Any]) -> None:
    config = get_task("depo").check(given)
    words = count_words(config["mini_vocab"], config["min_tlen"], config["max_tlen"])
    hops = 1 if given.get("fixed_k") else given["K"]  # those of qa are 1, 2, 3 of K = 3
    by_tokens, by_content = set(), set()
    for n in range(given["N"] if given.get("qa") else 3, given["N"] + 1):
        for edges, questions in depo_problems(words, n, min(given["M"], n), hops):
            by_tokens.add((edges, questions))
            by_content.add((frozenset(edges), frozenset(questions)))
    assert distinct("depo", given) == (len(by_tokens), len(by_content))


def test_depo_says_nothing_where_the_number_could_not_be_printed() -> None:
    """Python refuses to print integers of over 4,300 digits."""
    large = {"mini_vocab": 2000, "query_token_base": 10_000, "answer_token_id": 9_000}
    numbers = [distinct("depo", {**large, "N": n, "qa": True})[1] for n in range(100, 1000, 100)]
    assert numbers[0] is not None
    assert numbers[-1] is None
    assert all(len(str(number)) <= 4300 for number in numbers if number is not None)
    assert distinct("depo", {**large, "N": 10**6}) == (None, None)
    assert all(None not in distinct("depo", {"N": n}) for n in (225, 300, 375))


def mano_expressions(length: int, letters: str, modulus: int) -> Iterator[tuple[Any, ...]]:
    """Every expression of so many operators in prefix form, by its grammar."""
    if length == 0:
        yield from ((5000 + value,) for value in range(modulus))
        return
    for left in range(length):
        firsts = list(mano_expressions(left, letters, modulus))
        seconds = list(mano_expressions(length - 1 - left, letters, modulus))
        for letter, one, other in itertools.product(letters, firsts, seconds):
            yield ("asmd".index(letter) + 1, *one, *other)


MANOS: list[dict[str, Any]] = [
    {"L": 1},
    {"L": 1, "knowledge_augment": False},
    {"L": 3, "ttype": "asmd", "value_mod": 3},
    {"L": 3, "ttype": "asmd", "value_mod": 3, "qa": True},
    {"L": 4, "ttype": "d", "value_mod": 2},
    {"L": 4, "ttype": "sd", "value_mod": 3, "fixed_length": 3},
    {"L": 2, "ttype": "md", "value_mod": 5},
    {"L": 2, "ttype": "ad", "value_mod": 7, "knowledge_augment": False},
    {"L": 3, "ttype": "sm", "value_mod": 4},
    {"L": 4, "ttype": "a", "value_mod": 2, "fixed_length": 4, "qa": True},
]


@pytest.mark.parametrize("given", MANOS)
def test_mano_counts_every_expression_without_a_division_by_zero(given: dict[str, Any]) -> None:
    config = get_task("mano").check(given)
    fixed, longest = config["fixed_length"], config["L"]
    lengths = [fixed] if fixed else [longest] if config["qa"] else range(1, longest + 1)
    tokens = problems = 0
    for length in lengths:
        whole = [
            expression
            for expression in mano_expressions(length, config["ttype"], config["value_mod"])
            if evaluate(config, expression) is not None
        ]
        assert len(set(whole)) == len(whole)
        problems += len(whole)
        tokens += len(whole) * (2 ** (3 + length) if config["knowledge_augment"] else 1)
    assert distinct("mano", given) == (tokens, problems)


def test_manos_shortest_expressions_are_as_many_as_published() -> None:
    """One of three operators and two of 23 values; 16 spellings of <bos>, <len>, <ans> and the operator."""
    assert distinct("mano", {"L": 1, "ttype": "asm"}) == (25_392, 1_587)
    catalan = [math.comb(2 * n, n) // (n + 1) for n in range(17)]
    wanted = sum(catalan[n] * 3**n * 23 ** (n + 1) for n in range(1, 17))
    assert distinct("mano", {"L": 16})[1] == wanted


def test_manos_divisions_are_the_share_that_is_accepted() -> None:
    """Of two operators, `acceptance` weighs trees, operators and values alike, as counting does."""
    for modulus in (3, 23, 101):
        given = {"L": 2, "fixed_length": 2, "ttype": "asmd", "value_mod": modulus}
        share = distinct("mano", given)[1] / (2 * 4**2 * modulus**3)  # type: ignore[operator]
        assert share == pytest.approx(acceptance(modulus, "asmd")[2], rel=1e-12)


@pytest.mark.parametrize("name", GRAMMARS)
def test_lano_counts_every_sentence_of_a_small_grammar(name: str) -> None:
    language, _ = enumerate_language(rules_of(GRAMMARS[name]))
    for eos in (False, True):
        got = distinct("lano", {"grammar": GRAMMARS[name], "eos": eos, "eos_token_id": 2_000_000})
        assert got == (len(language), len(language))


def test_lano_says_nothing_of_the_published_grammars() -> None:
    assert distinct("lano", {"config_name": "cfg3b"}) == (None, None)
    assert distinct("lano", {"config_name": "cfg3k"}) == (None, None)


ALL_COME_UP: list[tuple[str, dict[str, Any], int]] = [
    ("depo", {"N": 3, "mini_vocab": 2, "M": 1, "K": 1}, 60_000),
    ("depo", {"N": 4, "mini_vocab": 4, "max_tlen": 1, "M": 1, "K": 2, "separator": True}, 60_000),
    ("mano", {"L": 1}, 400_000),
    ("mano", {"L": 2, "ttype": "ad", "value_mod": 3}, 250_000),
    ("lano", {"grammar": GRAMMARS["ambiguous"], "eos": True}, 20_000),
]


@pytest.mark.parametrize(("task", "given", "rows"), ALL_COME_UP)
def test_that_many_come_up_in_a_long_stream_and_not_one_more(
    task: str, given: dict[str, Any], rows: int
) -> None:
    config, batch = made(task, given, rows)
    ask = get_task(task).content
    assert ask is not None
    found = (token_fingerprints(batch), ask(batch, config))
    assert tuple(len(np.unique(one.view("V16"))) for one in found) == distinct(task, given)


def test_brevo_and_capo_do_not_know() -> None:
    assert get_task("brevo").distinct is None
    assert get_task("capo").distinct is None
