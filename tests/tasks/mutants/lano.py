"""Lano: sentences, damaged in their tokens and in spans of them."""

from __future__ import annotations

import random

from facts.kinds import Config
from facts.lano import FACTS, PRESETS, VARIED

from ostraca.tasks.lano.config import tokens
from ostraca.tasks.lano.validate import _check_columns, _check_frame

from .kinds import Ids, Mutants, with_neighbours


def damage_spans(draw: random.Random, ids: Ids, pool: Ids, edits: int = 3) -> Ids:
    """One to `edits` random edits of single tokens or of spans."""
    mutant = list(ids)
    for _ in range(draw.randint(1, edits)):
        at = draw.randrange(len(mutant)) if mutant else 0
        low, high = sorted((at, draw.randrange(len(mutant) + 1)))
        edit = draw.randrange(7)
        if edit == 0 or not mutant:
            mutant.insert(at, draw.choice(pool))
        elif edit == 1:
            mutant[at] = draw.choice(pool)
        elif edit == 2:
            mutant[at] = draw.choice(ids or pool)
        elif edit == 3:
            del mutant[at]
        elif edit == 4:
            mutant[high:high] = mutant[low : min(high, low + 8)]
        elif edit == 5:
            del mutant[low : min(high, low + 8)]
        else:
            mutant[at:high] = reversed(mutant[at:high])
    return mutant


def damage_derivation(draw: random.Random, proofs: list[Ids], at: int, most: int) -> Ids:
    """One or two edits of its rules, whose numbers are below `most`: some still derive a sentence."""
    numbers = list(proofs[at])
    for _ in range(draw.choice((1, 1, 2))):
        place = draw.randrange(len(numbers)) if numbers else 0
        edit = draw.randrange(8)
        if edit in (0, 1, 2) and numbers:  # mostly another rule of the same symbol
            numbers[place] = (numbers[place] + draw.choice((-2, -1, 1, 2))) % 65536
        elif edit == 3:
            numbers.insert(place, draw.choice([*range(most), most, 65535]))
        elif edit == 4:
            numbers[place:] = []
        elif edit == 5:
            numbers += draw.choice(([0], proofs[at], draw.choice(proofs), [65535]))
        elif edit == 6:
            del numbers[place : place + 1]
        else:
            other = draw.choice(proofs)
            numbers[place:] = other[place:]
    return numbers


def damage(draw: random.Random, config: Config, originals: list[Ids], rows: int) -> list[Ids]:
    """No longer than the judge is quick with."""
    pool = [*tokens(config), -1, 0, 5, 2**31 - 1, -(2**31)]
    mutants = [damage_spans(draw, draw.choice(originals), pool) for _ in range(rows)]
    return [mutant for mutant in mutants if len(mutant) <= 60]


MUTANTS = Mutants(
    facts=FACTS,
    kernels=[_check_frame, _check_columns],
    presets=[(name, {}, 100_000 if name == "lano-cfg3f" else 5000) for name in PRESETS],
    rows=300,
    judged=60,
    quick=lambda config, row: len(row["input_ids"]) <= 100,
    damage=damage,
    worlds=VARIED,
    longest=45,
    mutants=250,
    unsaid=("loss_mask", "length is", "too ambiguous"),
    apart=("shared beginnings", 3),
    pool=lambda config: with_neighbours(tokens(config)),
    replaced=("eos", "ambiguous"),
    replaced_rows=2,
    another=(
        {"config_name": "cfg3f"},
        ["input_ids"],
        [{"config_name": "cfg3b"}, {"eos": True}, {"bos": False}, {"bos_token_id": 9}],
    ),
    columns=[VARIED["eos"], VARIED["bare"], VARIED["ambiguous"]],
    beside=VARIED["eos"],
)
