"""Capo's people: fixed for good, no two of one name, and every fact of them uniform."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from facts.capo import DEFAULT_SMALL, FIELDS, made
from numpy.typing import NDArray
from oracles.capo import person
from scipy import stats

from ostraca.tasks.capo import TASK, check
from ostraca.tasks.capo.generate import draw_programs, who
from ostraca.tasks.capo.people import (
    BIRTH_CITY,
    DAY,
    EMPLOYER,
    FACTS,
    FIRST,
    LAST,
    MAJOR,
    MIDDLE,
    MONTH,
    NOTHING,
    PRONOUN,
    UNIVERSITY,
    YEAR,
    count_names,
    population,
)
from ostraca.tasks.capo.pieces import plan_of
from ostraca.tasks.capo.text import POOLS, content_of, pools_of
from ostraca.tasks.examples import stream_of

SIZES = {FIRST: 400, MIDDLE: 400, LAST: 1000, MONTH: 12, DAY: 28, YEAR: 200, BIRTH_CITY: 200}
SIZES |= {UNIVERSITY: 300, MAJOR: 100, EMPLOYER: 263, PRONOUN: 2}
ALL_50K = np.arange(50_000)


def uniform(counts: NDArray[Any]) -> None:
    """The counts are those of a uniform law, p > 1e-5."""
    assert counts.mean() >= 20, "too few draws for a chi-square test"
    assert stats.chisquare(counts).pvalue > 1e-5


def names_of(facts: NDArray[np.int32]) -> NDArray[np.int64]:
    first, middle, last = (facts[:, fact].astype(np.int64) for fact in (FIRST, MIDDLE, LAST))
    return (first * 400 + middle) * 1000 + last


def test_the_space_is_the_published_one() -> None:
    """400 x 400 x 1000 names; log2 of everything else 47.59."""
    people = population(None, 0)
    assert count_names(people.pools) == people.names.size == 160_000_000
    assert people.bounds.tolist() == [1, *(SIZES[fact] for fact in range(FIRST, FACTS))]
    assert abs(np.log2(np.prod(people.bounds[MONTH:].astype(float))) - 47.59) < 0.01


@pytest.mark.parametrize("fact", SIZES)
def test_every_fact_is_uniform(fact: int) -> None:
    facts = population(None, 1).facts(ALL_50K)
    assert facts[:, fact].min() >= 0
    assert (facts[:, NOTHING] == 0).all()
    uniform(np.bincount(facts[:, fact], minlength=SIZES[fact]))


@pytest.mark.parametrize("one", [MONTH, DAY, PRONOUN, FIRST, MAJOR])
def test_facts_are_independent_of_each_other_and_of_neighbours(one: int) -> None:
    """Every pair of facts of a person, and the same fact of the next person, in 5 x 5 cells."""
    facts = population(None, 2).facts(ALL_50K)
    for other in SIZES:
        theirs = facts[1:, other] if other == one else facts[:-1, other]
        a, b = (
            np.minimum(c.astype(np.int64) * 5 // size, 4)
            for c, size in ((facts[:-1, one], SIZES[one]), (theirs, SIZES[other]))
        )
        table = np.zeros((5, 5))
        np.add.at(table, (a, b), 1)
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        assert stats.chi2_contingency(table).pvalue > 1e-5, other


@pytest.mark.parametrize("seed", [0, 7])
def test_no_two_people_have_one_name(seed: int) -> None:
    """All of the first 500,000, and 100,000 from all over the space."""
    people = population(None, seed)
    numbers = people.names.forward(np.arange(500_000))
    assert len(np.unique(numbers)) == 500_000
    far = np.unique(np.random.default_rng(seed).integers(0, 160_000_000, 100_000))
    assert len(np.unique(people.names.forward(far))) == len(far)
    assert (people.names.backward(people.names.forward(far)) == far).all()
    facts = people.facts(far)
    assert (names_of(facts) == people.names.forward(far)).all()


def test_every_name_of_a_small_space_is_somebodys() -> None:
    people = population(content_of(FIELDS, POOLS), 4)
    names = {tuple(row) for row in people.facts(np.arange(60))[:, FIRST : LAST + 1].tolist()}
    assert len(names) == 60


def test_a_person_costs_the_same_anywhere() -> None:
    """Person 10^7 is computed alone; any set of people, in any order, gives the same."""
    people = population(None, 0)
    far = np.array([10**7, 5, 159_999_999, 5])
    facts = people.facts(far)
    assert (facts[1] == facts[3]).all()
    assert (people.facts(far[:1])[0] == facts[0]).all()
    assert (people.facts(np.arange(10))[5] == facts[1]).all()


def test_people_are_those_of_the_replay() -> None:
    """In words, from plain NumPy (see oracles.capo)."""
    config = {**check({}), "population_seed": 3}
    for number in (0, 1, 12_345, 10**7):
        row = population(None, 3).facts(np.array([number]))[0]
        pools = pools_of(None)
        told = person(config, number)
        assert told["name"].split() == [
            pools.first_names[row[FIRST]],
            pools.middle_names[row[MIDDLE]],
            pools.last_names[row[LAST]],
        ]
        assert told["employer"] == pools.employers[row[EMPLOYER]]
        assert told["work_city"] == pools.work_cities[row[EMPLOYER]]
        assert told["university"] == pools.universities[row[UNIVERSITY]]


def values_by_person(
    given: dict[str, Any], rows: int, split: str = "train"
) -> dict[int, set[tuple[str, ...]]]:
    """Every person's values as written, over all examples."""
    _, batch = made({**given, "bio": "text"}, rows, seed=6, split=split)
    found: dict[int, set[tuple[str, ...]]] = {}
    for row in batch.to_pylist():
        spans = zip(row["value_starts"], row["value_ends"], strict=True)
        values = [row["text"][start:end] for start, end in spans]
        found.setdefault(row["person"], set()).add((*values[:-1], values[-1].lower()))
    return found


def test_a_person_keeps_all_values_over_exposures_splits_and_corpora() -> None:
    """Trap: attributes drawn again at every exposure. Neither exposures, num_people, split, order nor
    sentences change anybody; the population's seed and its lists change everybody."""
    one = values_by_person({"num_people": 40, "exposures": 25}, 1000)
    assert len(one) == 40
    assert all(len(values) == 1 for values in one.values())
    for other in (
        values_by_person({"num_people": 40, "exposures": 1}, 40, "test"),
        values_by_person({"num_people": 40, "exposures": 3, "order": False}, 120),
    ):
        assert other == one
    larger = values_by_person({"num_people": 400, "exposures": 10}, 1000)
    assert all(len(values) == 1 for values in larger.values())
    few = {number: values for number, values in larger.items() if number < 40}
    assert all(one[number] == values for number, values in few.items())
    _, batch = made({"num_people": 40, "exposures": 1, "population_seed": 7}, 40)
    other = values_by_person({"num_people": 40, "exposures": 1, "population_seed": 7}, 40)
    assert not any(one[number] & other[number] for number in one)
    assert batch["population"].to_pylist() == [7] * 40


def test_the_published_test_form_has_the_same_people_in_other_sentences() -> None:
    config, train = made({**DEFAULT_SMALL, "bio": "text"}, 100, seed=2)
    _, test = made({**config, "exposures": 1}, 20, seed=2, split="test")
    assert set(test["person"].to_pylist()) == set(train["person"].to_pylist()) == set(range(20))
    assert not set(test["text"].to_pylist()) & set(train["text"].to_pylist())


@pytest.mark.parametrize(
    "given", [{"num_people": 50, "exposures": 7}, {"num_people": 30_000, "exposures": 50}]
)
def test_everybody_comes_up_exactly_as_often_as_exposures_says(given: dict[str, int]) -> None:
    """Over the corpus and each further round of it, each exposure once; in a random order."""
    config = {**check(given), "population_seed": 0}
    most = given["num_people"] * given["exposures"]
    key = stream_of_capo(config)
    for turn in (0, 1, 5) if most < 10**6 else (0,):
        persons, exposures = who(config, key, np.arange(turn * most, (turn + 1) * most))
        assert (np.bincount(persons, minlength=given["num_people"]) == given["exposures"]).all()
        assert exposures.min() == turn * given["exposures"]
        assert exposures.max() == (turn + 1) * given["exposures"] - 1
        assert len(np.unique(persons * 10**6 + exposures)) == most
    if most > 10**6:
        # Where a person stands is uniform, and the next example's person is any other.
        spots = np.flatnonzero(persons < 3000)
        uniform(np.bincount(spots * 50 // most, minlength=50))
        uniform(np.bincount(np.diff(persons) % given["num_people"] * 50 // given["num_people"], minlength=50))
        uniform(np.bincount(np.diff(exposures) % 50, minlength=50))


def stream_of_capo(config: dict[str, Any]) -> NDArray[np.uint64]:
    return stream_of(TASK, config, 0, "train")


def test_sentences_and_their_order_are_uniform() -> None:
    """All 720 orders; each of the 50 templates of each sentence, at the first place and later."""
    config, _ = made({}, 0)
    plan = plan_of(None, None, False)
    programs = draw_programs(plan, True, stream_of_capo(config), np.arange(100_000))
    assert ((programs % 2 == 1) == (np.arange(6) > 0)).all()
    templates = programs // 2
    sentences = templates // 50
    assert (np.sort(sentences, axis=1) == np.arange(6)).all()
    orders = Counter(map(tuple, sentences.tolist()))
    assert len(orders) == 720
    uniform(np.array(list(orders.values())))
    for place in range(6):
        uniform(np.bincount(templates[:, place], minlength=300))
    # Neighbours in a text are independent of each other.
    uniform(np.bincount(templates[:, 0] % 50 * 50 + templates[:, 1] % 50, minlength=2500))
    fixed = draw_programs(plan, False, stream_of_capo(config), np.arange(50_000)) // 2
    assert (fixed // 50 == np.arange(6)).all()
    for place in range(6):
        uniform(np.bincount(fixed[:, place] - 50 * place, minlength=50))


def test_no_global_random_state_is_used() -> None:
    """Trap: templates drawn from the global state. It neither decides nor changes."""
    examples = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist()
        examples.append(made({"bio": "text"}, 20)[1].to_pylist())
        assert before == (random.getstate(), np.random.get_state()[1].tolist())
    assert examples[0] == examples[1]
