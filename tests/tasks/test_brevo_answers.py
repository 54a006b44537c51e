"""`check_brevo_answer` judges what a model wrote: any valid order counts, and a wrong one gets its reason."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from facts.brevo import PRESETS, VARIED, make
from mutants.brevo import damage_parts, solve, split
from oracles.brevo_judge import judge

from ostraca.tasks.brevo import check, check_brevo_answer
from ostraca.tasks.core.batch import rows_of

# v1 -> v2 -> v4, v1 -> v3 -> v4 -> v6, and v3 -> v5 beside it; v6 is asked for.
PROMPT = [9999, 1, 2, 1, 3, 2, 4, 3, 4, 3, 5, 4, 6, 9997, 6, 9998]
SMALL = {"N": 6}


def halves(row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """The prompt up to <ans>, and what follows."""
    return row["input_ids"][: row["answer_start"]], row["input_ids"][row["answer_start"] :]


@pytest.mark.parametrize("name", [*VARIED, *PRESETS])
def test_made_answers_and_other_orders_are_valid_with_and_without_eos(name: str) -> None:
    """Also where <ans> and <eos> share an id, as in the published defaults."""
    draw = random.Random(1)
    config, batch = make((VARIED | PRESETS)[name], 20, seed=130)
    for row in rows_of(batch):
        prompt, answer = halves(row)
        edges, query, _ = split(config, row["input_ids"])
        other = [token for word in solve(draw, edges, query) for token in word]
        for given in (answer, answer[:-1], other, [*other, config["eos_token_id"]]):
            assert check_brevo_answer(prompt, given, config)
        assert check_brevo_answer(np.array(prompt), np.array(answer, np.int64), config)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([1, 2, 3, 4, 6], ""),
        ([1, 3, 2, 4, 6], ""),
        ([1, 3, 2, 4, 6, 9998], ""),
        ([1, 2, 3, 4, 6, 6], "the answer repeats a node (at token 5 of the answer)"),
        ([1, 2, 1, 3, 4, 6], "the answer repeats a node (at token 2 of the answer)"),
        ([2, 1, 3, 4, 6], "the answer has a node before one of its parents (at token 0 of the answer)"),
        ([1, 2, 4, 3, 6], "the answer has a node before one of its parents (at token 2 of the answer)"),
        ([1, 2, 3, 5, 4, 6], "the answer has a node from which the query is not reached (at token 3 of "),
        ([1, 2, 9, 4, 6], "neither a node nor <eos> in the answer (at token 2 of the answer)"),
        ([1, 3, 4, 6], "the answer lacks an ancestor of the query (at token 4 of the answer)"),
        ([6], "the answer lacks an ancestor of the query (at token 1 of the answer)"),
        ([1, 2, 3, 4], "the answer does not end with the query (at token 3 of the answer)"),
        ([1, 2, 3, 6, 4], "the answer does not end with the query (at token 4 of the answer)"),
        ([], "the answer does not end with the query (at token 0 of the answer)"),
        ([9998], "the answer does not end with the query (at token 0 of the answer)"),
        ([1, 2, 3, 4, 6, 9998, 9998], "tokens after <eos> (at token 6 of the answer)"),
        ([1, 2, 3, 4, 6, 9998, 1], "tokens after <eos> (at token 6 of the answer)"),
        ([1, 9998, 3, 4, 6], "tokens after <eos> (at token 2 of the answer)"),
        ([1, 2, 3, 4, 6, 9997], "neither a node nor <eos> in the answer (at token 5 of the answer)"),
        ([1, 2, 3, 4, -5], "neither a node nor <eos> in the answer (at token 4 of the answer)"),
        ([1, 2, 3, 4, 6, 2**40], "neither a node nor <eos> in the answer (at token 5 of the answer)"),
    ],
)
def test_every_wrong_answer_gets_its_reason(answer: list[int], reason: str) -> None:
    result = check_brevo_answer(PROMPT, answer, SMALL)
    assert result.valid == (reason == "")
    assert result.reason.startswith(reason)


def test_a_node_that_is_not_in_the_graph_is_named_so() -> None:
    result = check_brevo_answer(PROMPT, [1, 2, 3, 4, 7, 6], {"N": 7})
    assert result.reason == "the answer has a node that is in no edge (at token 4 of the answer)"


def test_a_damaged_prompt_is_told_from_a_wrong_answer() -> None:
    answer = [1, 2, 3, 4, 6]
    cases: list[tuple[list[int], str]] = [
        (PROMPT[1:], "the prompt: does not begin with <bos> (at token 0)"),
        (PROMPT[:-1], "the prompt does not end with its <ans>"),
        (PROMPT[:7], "the prompt does not end with its <ans>"),
        ([9999, 0, *PROMPT[1:]], "the prompt: neither a node nor <query> where an edge or <query> is"),
        ([], "the prompt"),
        ([*PROMPT, 1], "the prompt does not end with its <ans>"),
        ([*PROMPT, *answer, 9998], "the prompt does not end with its <ans>"),
        ([9999, 2, 1, *PROMPT[1:]], "the prompt: the edges have a cycle"),
        ([9999, 1, 2, *PROMPT[1:]], "the prompt: an edge stands twice"),
        ([*PROMPT[:-2], 1, 9998], "the prompt: the query is not a node with parents"),
        ([*PROMPT[:-2], 4, 9998], "the prompt: this config does not ask for a node so far from the last"),
    ]
    for prompt, reason in cases:
        result = check_brevo_answer(prompt, answer, SMALL)
        assert not result
        assert result.reason.startswith(reason), (prompt, result.reason)


@pytest.mark.parametrize("bad", [None, 5, "abc", [1.5], [[1], [2]], [True], {"a": 1}, [None], [[1], [1, 2]]])
def test_what_is_no_list_of_ids_is_invalid_with_a_reason(bad: Any) -> None:
    assert check_brevo_answer(PROMPT, bad, SMALL).reason == "answer_ids is not made of integers"
    assert check_brevo_answer(bad, [1], SMALL).reason == "prompt_ids is not made of integers"


@pytest.mark.parametrize("name", ["one token", "words", "eos of its own", "last quarter of qa"])
def test_answers_are_judged_as_the_judge_judges_examples(name: str) -> None:
    """1,000 damaged examples cut at their <ans>: valid where the whole is, with the judge's word for it."""
    draw = random.Random(131)
    config, batch = make(VARIED[name], 50, seed=131)
    agreed = {True: 0, False: 0}
    for _ in range(1000):
        row = draw.choice(rows_of(batch.slice(draw.randrange(50), 1)))
        mutant = damage_parts(draw, config, row["input_ids"])
        cut = mutant.index(config["answer_token_id"]) + 1
        expected = judge(config, mutant)
        result = check_brevo_answer(mutant[:cut], mutant[cut:], config)
        assert bool(result) == expected, (result, mutant)
        agreed[expected] += 1
    assert min(agreed.values()) > 100


def test_the_default_config_is_the_published_one() -> None:
    (row,) = rows_of(make({}, 1)[1])
    assert check_brevo_answer(*halves(row))
    assert check_brevo_answer(*halves(row), check({"N": 90}))
