"""Promise 3, what is true of Mano only: its arithmetic, its trees, and the reason of each kind of damage."""

from __future__ import annotations

import itertools

from facts.kinds import lists
from facts.mano import make
from mutants import MUTANTS
from oracles.mano_judge import judge

from ostraca.tasks.mano import check

verdicts, assert_same_verdicts = MUTANTS["mano"].verdicts, MUTANTS["mano"].assert_judged_alike


def test_large_moduli_are_exact() -> None:
    """Products up to 32748 * 32748 against Python's own integers: remainders are made without a division."""
    for modulus, letters in ((32749, "asmd"), (32768, "asm"), (32719, "md")):
        given = {"ttype": letters, "value_mod": modulus, "bos_token_id": 40_000, "fixed_length": 1}
        config, batch = make(given, 5000, seed=99)
        for tokens in lists(batch["input_ids"]):
            operator, a, b = tokens.tolist()[2:5]
            a, b = a - 5000, b - 5000
            letter = "asmd"[(operator - 1) % 4]
            true = {"a": a + b, "s": a - b, "m": a * b, "d": a * pow(b, -1, modulus) if letter == "d" else 0}
            assert tokens[-1] == 5000 + true[letter] % modulus
        top, one = 4999 + modulus, 5001
        rows = []
        for operator, a, b in ((3, top, top), (3, top, one), (1, top, top), (2, 5000, top)):
            value = {1: a + b - 10_000, 2: a - b, 3: (a - 5000) * (b - 5000)}[operator] % modulus
            rows += [[40_000, 10, operator, a, b, 14, 5000 + value + step] for step in (0, -1, 1)]
        allowed = [letters.find("asmd"[row[2] - 1]) >= 0 for row in rows]
        expected = [ok and place % 3 == 0 for place, ok in enumerate(allowed)]
        assert [bool(code == 0) for code in verdicts(config, rows).codes] == expected


def test_every_short_body_is_judged_alike() -> None:
    """All 6^5 bodies of five tokens over + / 0 1 2 and an unused operator, with every answer."""
    config = check({"L": 2, "ttype": "ad", "value_mod": 3, "knowledge_augment": False})
    rows = []
    for body in itertools.product((1, 4, 2, 5000, 5001, 5002), repeat=5):
        rows += [[9999, 20, *body, 24, answer] for answer in (5000, 5001, 5002)]
    said = assert_same_verdicts(config, rows)
    # 2 shapes, 27 triples of leaves: ++ always; +/ and /+ in either shape; // in either.
    assert (said.codes == 0).sum() == sum(judge(config, row) for row in rows) > 100


def test_deep_trees_are_judged_alike() -> None:
    """499 operators that all stand in left children, or all in right ones; with one more and one less."""
    config = check({"L": 499, "qa": True})
    for body in ([1] * 499 + [5001] * 500, [1, 5001] * 499 + [5001], [1] * 500 + [5001] * 499, [5001] * 999):
        rows = [[9999, 4990, *body, 4994, 5000 + value] for value in range(23)]
        said = assert_same_verdicts(config, rows)
        assert (said.codes == 0).sum() == (body.count(1) == 499)


def test_a_verdict_says_where_and_why() -> None:
    config = check({})
    good = [9999, 30, 3, 3, 5, 5012, 5002, 5000, 5012, 35, 5000]
    cases = [
        ([9997, *good[1:]], "does not begin with <bos> (at token 0)"),
        ([9999, 110, *good[2:]], "<len_1> to <len_L> was expected (at token 1)"),
        (good[:-1], "not 2 * length + 5 tokens (at token 10)"),
        ([*good[:4], 4, *good[5:]], "neither a value nor an operator of this config"),
        ([*good[:5], 1, *good[6:]], "an operator has fewer than two operands (at token 3)"),
        ([*good[:4], 5001, *good[5:]], "more than one expression (at token 2)"),
        ([*good[:9], 45, 5000], "<ans> of the same length was expected (at token 9)"),
        ([*good[:10], 5023], "the answer is not one value (at token 10)"),
        ([*good[:10], 5001], "the answer is not the value of the expression (at token 10)"),
    ]
    said = verdicts(config, [good, *(row for row, _ in cases)])
    assert str(said[0]) == "valid"
    for row, (_, text) in enumerate(cases, start=1):
        assert text in str(said[row])
    assert said.first_invalid()[0] == 1
    divided = [9999, 10, 4, 5001, 5000, 14, 5000]
    assert "a division by zero (at token 2)" in str(verdicts(check({"ttype": "d"}), [divided])[0])
    assert "a length that this config does not ask" in str(verdicts(check({"qa": True}), [good])[0])
