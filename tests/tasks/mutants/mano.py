"""Mano: expressions, damaged in their tokens or in their parts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from facts.kinds import Config
from facts.mano import FACTS, PRESETS, VARIED
from hypothesis import strategies as st

from ostraca.tasks.mano.validate import _validate

from .kinds import Ids, Mutants, damage_tokens, with_neighbours


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every kind of id, their neighbours, and far-off ones."""
    modulus, bos, largest = config["value_mod"], config["bos_token_id"], config["L"]
    used = {bos, bos - 1, *range(10), 5000, 5001, 4999 + modulus, 5000 + modulus // 2}
    used |= {10 * length + form for length in (1, 2, largest, largest + 1) for form in (0, 1, 4, 5)}
    return with_neighbours(used)


def damage_parts(draw: random.Random, config: Mapping[str, Any], tokens: list[int]) -> list[int]:
    """One or two edits that keep the layout: well-formed mostly, and sometimes still valid."""
    bos, named, *expression, ending, answer = tokens
    modulus = config["value_mod"]
    for _ in range(draw.choice((1, 1, 2))):
        operators = [place for place, token in enumerate(expression) if token < 5000]
        leaves = [place for place, token in enumerate(expression) if token >= 5000]
        edit = draw.randrange(11)
        if edit == 0:  # other forms: valid with aliases
            bos = draw.choice((config["bos_token_id"], config["bos_token_id"] - 1))
            named, ending = named // 10 * 10 + draw.randrange(2), ending // 10 * 10 + draw.randrange(4, 6)
        elif edit == 1 and operators:  # another form of an operator
            place = draw.choice(operators)
            expression[place] += 4 if expression[place] <= 4 else -4
        elif edit == 2 and operators:  # another operator, and the answer that may follow
            expression[draw.choice(operators)] = draw.randint(1, 8)
            answer = 5000 + draw.randrange(min(modulus, 3))
        elif edit == 3 and leaves:  # valid where the value is multiplied by 0
            expression[draw.choice(leaves)] = 5000 + draw.randrange(modulus)
        elif edit == 4 and leaves:  # a division by zero where one stands before it
            expression[draw.choice(leaves)] = 5000
        elif edit == 5 and len(leaves) > 1:  # valid where they are added or multiplied
            one, other = draw.sample(leaves, 2)
            expression[one], expression[other] = expression[other], expression[one]
        elif edit == 6:
            answer = 5000 + draw.randrange(modulus)
        elif edit == 7:  # an operator or a value at another place
            expression.insert(
                draw.randrange(len(expression)), expression.pop(draw.randrange(len(expression)))
            )
        elif edit == 8:  # an operator more, with its value: another length
            expression = [draw.choice((1, 2)), *expression, 5000]
            named, ending = named + 10, ending + 10
        elif edit == 9 and operators and leaves:  # one less
            del expression[draw.choice(operators)]
            del expression[-1]
            named, ending = named - 10, ending - 10
        else:
            named, ending = named + draw.choice((-10, 10)), ending + draw.choice((-10, 0, 10))
    return [bos, named, *expression, ending, answer]


def damage(draw: random.Random, config: Config, originals: list[Ids], rows: int) -> list[Ids]:
    """Half of single tokens, half of parts."""
    pool = token_pool(config)
    some = [damage_tokens(draw, draw.choice(originals), pool) for _ in range(rows // 2)]
    return some + [damage_parts(draw, config, draw.choice(originals)) for _ in range(rows - rows // 2)]


def other_answers(config: Config, ids: Ids, mask: Ids) -> Iterator[Ids]:
    """Every other value (of a large modulus the first 50), and ids that are none."""
    values = {5000 + value for value in range(min(config["value_mod"], 50))}
    for other in sorted({*values, *token_pool(config)} - {ids[-1]}):
        yield [*ids[:-1], other]


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Config, list[Ids]]:
    """Ids of a tiny config, in the frame of an example and without."""
    config = FACTS.complete({"L": 3, "ttype": "sd", "value_mod": 3, "knowledge_augment": draw(st.booleans())})
    ids = st.sampled_from([9999, 9998, 10, 20, 21, 30, 2, 4, 6, 8, 1, 5000, 5001, 5002, 5003, 14, 24, 25, 34])
    length = draw(st.integers(0, 4))
    body = draw(st.lists(ids, min_size=2 * length + 1, max_size=2 * length + 1))
    framed = [9999, 10 * length, *body, 10 * length + 4, draw(st.sampled_from([5000, 5001, 5002]))]
    return config, [framed, framed[1:], framed[:-1], [*framed, 5000], draw(st.lists(ids, max_size=12)), []]


JUDGED = {
    name: config for name, config in VARIED.items() if name != "large modulus"
}  # all quotients are tried
MUTANTS = Mutants(
    facts=FACTS,
    kernels=[_validate],
    presets=[(name, {"qa": qa}, 100_000) for name in PRESETS for qa in (False, True)],
    damage=damage,
    worlds=JUDGED,
    mutants=2000,
    unsaid=("loss_mask", "length is", "answer is"),
    apart=("all operators", 4),
    pool=token_pool,
    answers=other_answers,
    answered=30,
    replaced=JUDGED,
    replaced_rows=4,
    drawn=drawn(),
    tries=400,
    another=(
        {"ttype": "asmd"},
        ["input_ids"],
        [
            {"L": 9},
            {"qa": True},
            {"fixed_length": 2},
            {"ttype": "asm"},
            {"ttype": "smd"},
            {"value_mod": 19},
            {"value_mod": 29},
            {"knowledge_augment": False},
            {"bos_token_id": 9998},
        ],
    ),
    columns=[{}],
    beside=VARIED["all operators"],
    beside_rows=300,
)
