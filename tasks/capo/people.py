"""Capo's people: a fixed population, a pure function of its seed and of the pools.

Person p has the name of number `names.forward(p)` out of all first x middle x last names: a keyed
permutation of the numbers, so no two people have one name, and person 10^7 costs what person 1 does. All
else is drawn uniformly from the person's own stream, in the order of `_draw_facts`. How many people a corpus
takes, how often and in which words decides nothing here: person 7 of 50,000 is person 7 of 2,000,000.

Source: Physics of Language Models, Part 3.3 (arXiv 2404.05405), bioS.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.kernels import kernel
from ..core.permutation import Permutation, permutation
from ..core.rng import STATE_WORDS, canonical_json, integers, seed_stream, stream_key
from .text import DAYS, MONTHS, PRONOUNS, YEARS, Content, Pools, pools_of

VERSION = 1  # of the population: rises whenever any person of any population changes
# The columns of `facts`: numbers into the pools. NOTHING is always 0.
NOTHING, FIRST, MIDDLE, LAST, MONTH, DAY, YEAR, BIRTH_CITY, UNIVERSITY, MAJOR, EMPLOYER, PRONOUN = range(12)
FACTS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """All people that one seed and some pools can give."""

    pools: Pools
    names: (
        Permutation  # person -> number of the full name, (first * middle_names + middle) * last_names + last
    )
    key: NDArray[np.uint64]  # of the people's streams
    bounds: NDArray[np.int64]  # [FACTS]: each fact is a number below this

    def facts(self, people: NDArray[np.int64]) -> NDArray[np.int32]:
        """What is true of `people` (int64 [n], each below names.size): int32 [n, FACTS]."""
        facts = np.empty((len(people), FACTS), dtype=np.int32)
        state = np.empty(STATE_WORDS, dtype=np.uint64)
        _draw_facts(self.key, people, self.names.forward(people), self.bounds, state, facts)
        return facts


def count_names(pools: Pools) -> int:
    """How many full names there are, so how many people at most."""
    return len(pools.first_names) * len(pools.middle_names) * len(pools.last_names)


@lru_cache(maxsize=8)
def population(fields: Content | None, seed: int) -> Population:
    """The population of checked `fields` (None: the default pools) and a seed."""
    pools = pools_of(fields)
    # The default pools are part of VERSION, others of the key.
    digest = None
    if fields is not None:
        digest = hashlib.blake2b(canonical_json(fields).encode(), digest_size=16).hexdigest()
    address = {"fields": digest}
    bounds = [1, len(pools.first_names), len(pools.middle_names), len(pools.last_names)]
    bounds += [len(MONTHS), len(DAYS), len(YEARS), len(pools.cities), len(pools.universities)]
    bounds += [len(pools.majors), len(pools.employers), len(PRONOUNS)]
    return Population(
        pools=pools,
        names=permutation(count_names(pools), "capo population", VERSION, address, seed, "names"),
        key=stream_key("capo population", VERSION, address, seed, "people"),
        bounds=np.array(bounds, dtype=np.int64),
    )


@kernel
def _draw_facts(key, people, names, bounds, state, facts):
    """Fill facts int32 [n, FACTS]: the name from its number, the others drawn in the order of the columns."""
    for row in range(len(people)):
        seed_stream(state, key, people[row], 0)
        name = names[row]
        rest = name // bounds[LAST]
        facts[row, NOTHING] = 0
        facts[row, LAST] = name - rest * bounds[LAST]
        facts[row, FIRST] = rest // bounds[MIDDLE]
        facts[row, MIDDLE] = rest % bounds[MIDDLE]
        for fact in range(MONTH, FACTS):
            facts[row, fact] = integers(state, bounds[fact])
