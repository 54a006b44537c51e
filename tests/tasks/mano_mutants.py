"""Damaged Mano examples: of single tokens anywhere, and of the parts of an expression."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every kind of id, their neighbours, and far-off ones."""
    modulus, bos, largest = config["value_mod"], config["bos_token_id"], config["L"]
    used = {bos, bos - 1, *range(10), 5000, 5001, 4999 + modulus, 5000 + modulus // 2}
    used |= {10 * length + form for length in (1, 2, largest, largest + 1) for form in (0, 1, 4, 5)}
    near = {token + step for token in used for step in (-1, 1)}
    return sorted(used | near | {-100, -(2**31), 2**31 - 1, 2**31 - 2})


def damage_tokens(draw: random.Random, config: Mapping[str, Any], tokens: list[int]) -> list[int]:
    """One to three random edits of single tokens or of a span."""
    pool = token_pool(config)
    mutant = list(tokens)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(mutant)) if mutant else 0
        other = draw.randrange(len(mutant)) if mutant else 0
        low, high = sorted((at, other))
        edit = draw.randrange(8)
        if edit == 0 or not mutant:
            mutant.insert(at, draw.choice(pool))
        elif edit == 1:
            mutant[at] = draw.choice(pool)
        elif edit == 2:
            mutant[at] = draw.choice(tokens)
        elif edit == 3:
            del mutant[at]
        elif edit == 4:
            mutant[at], mutant[other] = mutant[other], mutant[at]
        elif edit == 5:
            del mutant[at:]
        elif edit == 6:
            mutant[high:high] = mutant[low:high]
        else:
            del mutant[low:high]
    return mutant


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


def single_replacements(config: Mapping[str, Any], tokens: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Every replacement of one token by another id of the pool, with its place."""
    for place, token in enumerate(tokens):
        for other in token_pool(config):
            if other != token:
                yield place, [*tokens[:place], other, *tokens[place + 1 :]]
