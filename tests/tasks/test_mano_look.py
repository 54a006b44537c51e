"""What `ostraca inspect` shows of a Mano example: names of all ids, and the expression as one writes it."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from facts.kinds import lists
from facts.mano import VARIED, make
from mutants.kinds import damage_tokens
from mutants.mano import token_pool
from oracles.mano_judge import evaluate

from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import rows_of, unragged
from ostraca.tasks.mano import TASK, check, tokens
from ostraca.tasks.mano.look import infix, look


def parsed(text: str, modulus: int) -> int:
    """The value of an infix text, by precedence climbing: * and / before + and -, all from left to right."""
    words = re.findall(r"\d+|[-+*/()]", text)
    assert "".join(words) == text.replace(" ", "")
    binds = {"+": 1, "-": 1, "*": 2, "/": 2}

    def atom() -> int:
        word = words.pop(0)
        if word != "(":
            return int(word)
        value = climb(1)
        assert words.pop(0) == ")"
        return value

    def climb(least: int) -> int:
        value = atom()
        while words and binds.get(words[0], 0) >= least:
            symbol = words.pop(0)
            other = climb(binds[symbol] + 1)
            if symbol == "/":
                value = value * pow(other, -1, modulus) % modulus
            else:
                value = {"+": value + other, "-": value - other, "*": value * other}[symbol] % modulus
        return value

    value = climb(1)
    assert not words
    return value


def test_the_parser_of_this_test_reads_as_one_does() -> None:
    assert parsed("1 - 2 - 3", 23) == 19
    assert parsed("1 - (2 - 3)", 23) == 2
    assert parsed("8 / 2 / 2 * 3 + 1", 23) == 7
    assert parsed("2 + 3 * (4 + 5)", 23) == 6


@pytest.mark.parametrize("name", VARIED)
def test_the_infix_form_has_the_value_of_the_example(name: str) -> None:
    """Read by a parser of its own: the value beside it, which is the answer."""
    config, batch = make(VARIED[name], 300, seed=30)
    for row in rows_of(batch):
        shown = look(row, config, False)
        assert shown.facts == f"length {row['length']}, answer {row['answer']}"
        assert shown.underlined == [(len(row["input_ids"]) - 1, len(row["input_ids"]))]
        (line,) = shown.below
        text, value, modulus = re.fullmatch(r"(.*) = (\d+) \(mod (\d+)\)", line).groups()  # type: ignore[union-attr]
        assert int(modulus) == config["value_mod"]
        assert parsed(text, config["value_mod"]) == int(value) == row["answer"]
        leaves = [str(token - 5000) for token in row["input_ids"][2:-2] if token >= 5000]
        assert re.findall(r"\d+", text) == leaves
        assert len(re.findall(r"[-+*/]", text)) == row["length"]


def test_every_bracket_is_needed() -> None:
    """Without any one pair the text has another value for some of all leaves: 3 operators, modulus 5."""
    draw = random.Random(0)
    _, batch = make({"fixed_length": 3, "ttype": "asmd", "value_mod": 5}, 300, seed=31)
    for row in lists(batch["input_ids"]):
        prefix = row.tolist()[2:-2]
        text = infix(prefix, 5).partition(" = ")[0]
        for opening in [at for at, sign in enumerate(text) if sign == "("]:
            depth, closing = 1, opening
            while depth:
                closing += 1
                depth += {"(": 1, ")": -1}.get(text[closing], 0)
            bare = text[:opening] + text[opening + 1 : closing] + text[closing + 1 :]
            assert any(differs(draw, text, bare) for _ in range(200)), text


def differs(draw: random.Random, one: str, other: str) -> bool:
    """Whether two texts have different values for random leaves: the same for both."""
    leaves = [str(draw.randrange(5)) for _ in re.findall(r"\d", one)]
    values = []
    for text in (one, other):
        left = iter(leaves)
        try:
            values.append(parsed(re.sub(r"\d", lambda _, left=left: next(left), text), 5))  # type: ignore[misc]
        except ValueError:  # a division by zero
            values.append(-1)
    return values[0] != values[1]


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ([3, 4, 3, 2, 5003, 5022, 5005, 5007, 5001], "(3 - 22) * 5 / 7 * 1 = 16 (mod 23)"),
        ([4, 3, 2, 5003, 5022, 5005, 5007], "(3 - 22) * 5 / 7 = 16 (mod 23)"),
        ([5001], "1 = 1 (mod 23)"),
        ([1, 5001, 2, 5002, 5003], "1 + 2 - 3 = 0 (mod 23)"),
        ([6, 5001, 6, 5002, 5003], "1 - (2 - 3) = 2 (mod 23)"),
        ([4, 5006, 7, 5002, 5003], "6 / (2 * 3) = 1 (mod 23)"),
        ([7, 5006, 8, 5002, 5001], "6 * 2 / 1 = 12 (mod 23)"),
    ],
)
def test_brackets_stand_where_they_are_needed(prefix: list[int], text: str) -> None:
    assert infix(prefix, 23) == text


def test_what_is_no_expression_is_shown_without_one() -> None:
    """Damaged rows of a corpus are shown as well: never an exception, and no wrong value."""
    draw = random.Random(1)
    config, batch = make({"ttype": "asmd"}, 200, seed=32)
    for row in rows_of(batch):
        mutant = damage_tokens(draw, row["input_ids"], token_pool(config))
        shown = look({**row, "input_ids": mutant}, config, False)
        value = evaluate(config, mutant[2:-2])
        assert len(shown.below) == (value is not None)
        if value is not None:
            assert shown.below[0].endswith(f" = {value} (mod 23)")
    assert look({"input_ids": [], "length": 0, "answer": 0}, config, False).below == []


def test_the_longest_expressions_are_shown() -> None:
    """No recursion: 499 operators in a row, to the left and to the right."""
    assert infix([1] * 499 + [5001] * 500, 23) == " + ".join(["1"] * 500) + " = 17 (mod 23)"
    deep = infix([2, 5001] * 499 + [5001], 23)
    assert deep.startswith("1 - (1 - (1")
    assert deep.count("(") == 499


# ---- names


def test_every_id_has_a_name() -> None:
    assert tokens(check({"L": 2, "ttype": "ad", "value_mod": 2})) == {
        9999: "<bos>",
        9998: "<bos>'",
        1: "+",
        4: "/",
        5: "+'",
        8: "/'",
        10: "<len_1>",
        11: "<len_1>'",
        20: "<len_2>",
        21: "<len_2>'",
        14: "<ans_1>",
        15: "<ans_1>'",
        24: "<ans_2>",
        25: "<ans_2>'",
        5000: "0",
        5001: "1",
    }
    plain = {"L": 2, "ttype": "m", "value_mod": 2, "qa": True, "knowledge_augment": False}
    assert tokens(check(plain)) == {
        9999: "<bos>",
        3: "*",
        20: "<len_2>",
        24: "<ans_2>",
        5000: "0",
        5001: "1",
    }


@pytest.mark.parametrize("name", [name for name in VARIED if name != "large modulus"])
def test_the_named_ids_are_those_that_occur(name: str) -> None:
    """20,000 examples hold every named id and no other."""
    config, batch = make(VARIED[name], 20_000, seed=33)
    names: dict[int, Any] = tokens(config)
    assert set(unragged(batch["input_ids"])[0].tolist()) == set(names)
    assert len(set(names.values())) == len(names)
    assert vocab_size(TASK, config) == max(names) + 1
