"""The audits of all tasks: sound configs of every kind are clean, and each planted leak is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts import brevo as brevo_configs
from facts import capo as capo_configs
from facts import depo as depo_configs
from facts import lano as lano_configs
from facts import mano as mano_configs
from numpy.typing import NDArray

from ostraca.pipeline.check.audit import tests as audit_tests
from ostraca.pipeline.check.audit.judge import judge
from ostraca.pipeline.check.audit.streams import count_made
from ostraca.tasks import get_task
from ostraca.tasks.auditing import coins
from ostraca.tasks.base import Task
from ostraca.tasks.capo import generate as capo
from ostraca.tasks.capo.people import BIRTH_CITY, EMPLOYER, Population
from ostraca.tasks.core.batch import ragged, unragged
from ostraca.tasks.examples import complete_config, stream_of
from ostraca.tasks.lano import generate as lano

Plant = Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]], None]


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown, but decide nothing."""
    monkeypatch.setattr(audit_tests, "_PERMUTATIONS", (1, 1))


def planted(task: Task, plant: Plant) -> Task:
    """The task with a fault: plant(tokens, offsets, index) writes over the tokens."""

    def generate(config: Any, key: Any, indices: Any) -> pa.RecordBatch:
        batch = task.generate(config, key, indices)
        values, offsets = unragged(batch.column("input_ids"))
        tokens = values.copy()
        plant(tokens, offsets, indices)
        return batch.set_column(0, batch.schema.field(0), ragged(tokens, offsets))

    return replace(task, generate=generate)


def off(task: Task, given: dict[str, Any], rows: int, seed: int = 0) -> set[str]:
    config = complete_config(task, given, seed)
    if task.count is not None:
        rows = min(rows, task.count(config)[0])
    found = judge(count_made(task, config, seed, "train", rows, 1))
    return {f"{each.kind} {each.name}" for each in found if each.off}


def some(index: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """A share of the examples, by lot."""
    return coins(index, 1000) < share


# ---- Mano: 2 tokens, the expression, 2 tokens


def answer_is_more_often_0(tokens: Any, offsets: Any, index: Any) -> None:
    tokens[offsets[1:][some(index, 0.01)] - 1] = 5000


def root_is_more_often_plus(tokens: Any, offsets: Any, index: Any) -> None:
    tokens[offsets[:-1][some(index, 0.01)] + 2] = 1


def operands_are_sorted(tokens: Any, offsets: Any, index: Any) -> None:
    row = np.repeat(np.arange(len(index)), np.diff(offsets))
    inside = np.ones(len(tokens), bool)
    inside[offsets[1:] - 1] = False
    places = np.flatnonzero(inside & (tokens >= 5000) & (tokens < 9000))
    order = np.lexsort((tokens[places], row[places]))
    tokens[places] = tokens[places[order]]


def alias_tells_the_answer(tokens: Any, offsets: Any, index: Any) -> None:
    """In one example of ten."""
    rows = np.flatnonzero(some(index, 0.1))
    tokens[offsets[rows]] = 9999 - (tokens[offsets[rows + 1] - 1] & 1)


def length_goes_by_the_index(tokens: Any, offsets: Any, index: Any) -> None:
    """The length's alias is that of the index."""
    tokens[offsets[:-1]] = 9999 - (index // 8 & 1)


# ---- Lano: <bos>, the sentence


def a_sentence_in_fifty_begins_alike(tokens: Any, offsets: Any, index: Any) -> None:
    """Its first terminal is always the same."""
    tokens[offsets[:-1][some(index, 0.02)] + 1] = 1


def beginnings_go_by_the_index(tokens: Any, offsets: Any, index: Any) -> None:
    """Where it is even, in one example of ten, the beginning is that of the example before."""
    rows = np.flatnonzero((index[1:] % 2 == 1) & some(index[1:], 0.1)) + 1
    for place in (1, 2, 3):
        tokens[offsets[rows] + place] = tokens[offsets[rows - 1] + place]


def eos_is_missing(tokens: Any, offsets: Any, index: Any) -> None:
    """In one example of a thousand."""
    tokens[offsets[1:][some(index, 0.001)] - 1] = 1


# ---- Brevo: <bos>, edges, <query>, a node, <ans>, the answer, <eos>


def answers_are_depth_first(tokens: Any, offsets: Any, index: Any) -> None:
    """From the query back, of the nodes that may come next always one that has become free last."""
    for row in range(len(index)):
        example = tokens[offsets[row] : offsets[row + 1]]
        asked = int(np.flatnonzero(example == 9997)[0])
        edges = example[1:asked].reshape(-1, 2).tolist()
        answer = example[asked + 3 : -1]
        held, placed, ready = set(answer.tolist()), [], [int(example[asked + 1])]
        while ready:
            placed.append(ready.pop())
            for parent in {a for a, b in edges if b == placed[-1]}:
                if all(b in placed for a, b in edges if a == parent and b in held):
                    ready.append(parent)
        answer[:] = placed[::-1]


BREVO: dict[str, Any] = {"N": 14}
MANO: dict[str, Any] = {"L": 4}
LANO = {"config_name": "cfg3b", "eos": True}
LEAKS = [
    ("brevo", BREVO, answers_are_depth_first, 2000, {"law by_time"}),
    ("mano", MANO, answer_is_more_often_0, 200_000, {"law answer"}),
    ("mano", MANO, root_is_more_often_plus, 200_000, {"law operator"}),
    ("mano", MANO, operands_are_sorted, 5000, {"law first", "law last", "pair operand → next"}),
    ("mano", MANO, alias_tells_the_answer, 100_000, {"pair bos_alias → answer"}),
    ("mano", MANO, length_goes_by_the_index, 5000, {"neighbours bos_alias of index i and i + 1"}),
    ("lano", LANO, a_sentence_in_fifty_begins_alike, 50_000, {"law begin"}),
    ("lano", LANO, beginnings_go_by_the_index, 20_000, {"neighbours begin of index i and i + 1"}),
    ("lano", LANO, eos_is_missing, 20_000, {"law frame"}),
]


@pytest.mark.parametrize(("name", "config", "plant", "rows", "wanted"), LEAKS)
def test_a_planted_leak_is_found(
    name: str, config: dict[str, Any], plant: Plant, rows: int, wanted: set[str]
) -> None:
    assert off(planted(get_task(name), plant), config, rows) >= wanted


@pytest.mark.parametrize(("symbol", "wanted"), [(7, "law end"), (13, "law pair_0_0")])
def test_a_rule_that_is_chosen_one_percent_more_often_is_found(
    monkeypatch: pytest.MonkeyPatch, symbol: int, wanted: str
) -> None:
    """One rule of one symbol of cfg3b, 0.51 and 0.49: symbols of the last but two and of the last level."""
    rule_table = lano._rule_table

    def biased(grammar: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        choices, rules = (each.copy() for each in rule_table(grammar))
        first = choices[symbol, 0]
        assert choices[symbol, 1] == 2
        choices[symbol] = len(rules), 100
        return choices, np.concatenate([rules, np.repeat(rules[first : first + 2], [51, 49], axis=0)])

    monkeypatch.setattr(lano, "_rule_table", biased)
    assert wanted in off(get_task("lano"), {"config_name": "cfg3b"}, 250_000)


CAPO = {"num_people": 5000, "exposures": 20}


def programs_of(monkeypatch: pytest.MonkeyPatch, plant: Callable[[Any, Any, Any], None]) -> None:
    """Capo with plant(sentences and templates of the rows, first template of each sentence, index)."""
    draw = capo.draw_programs

    def drawn(plan: Any, order: bool, key: Any, indices: Any) -> NDArray[np.int32]:
        programs = draw(plan, order, key, indices)
        plant(programs, plan.firsts, indices)
        return programs

    monkeypatch.setattr(capo, "draw_programs", drawn)


def test_capo_whose_templates_follow_the_index_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second sentence, in one paragraph of five."""

    def follow(programs: Any, firsts: Any, index: Any) -> None:
        rows = np.flatnonzero(some(index, 0.2))
        first = firsts[np.searchsorted(firsts, programs[rows, 1] // 2, side="right") - 1]
        programs[rows, 1] = 2 * (first + index[rows] % 16) + 1

    programs_of(monkeypatch, follow)
    assert off(get_task("capo"), CAPO, 20_000) >= {"pair index → template"}


def test_capo_with_a_template_one_percent_more_often_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def prefer(programs: Any, firsts: Any, index: Any) -> None:
        rows = np.flatnonzero(some(index, 0.01))
        first = firsts[np.searchsorted(firsts, programs[rows] // 2, side="right") - 1]
        programs[rows] = 2 * first + programs[rows] % 2

    programs_of(monkeypatch, prefer)
    assert off(get_task("capo"), CAPO, 50_000) >= {"law template"}


def test_capo_whose_order_tells_the_person_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Birth date and birth city stand first and second for even people, in one paragraph of five."""
    task = get_task("capo")
    config = complete_config(task, CAPO, 0)

    def arrange(programs: Any, firsts: Any, index: Any) -> None:
        people, _ = capo.who(config, stream_of(task, config, 0, "train"), index)
        for row in np.flatnonzero((people % 2 == 0) & some(index, 0.2)):
            programs[row] = np.sort(programs[row] // 2) * 2 + [0, 1, 1, 1, 1, 1]

    programs_of(monkeypatch, arrange)
    assert off(task, CAPO, 20_000) >= {"pair number → order", "law order"}


def test_people_whose_cities_tell_their_employers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fifth of the people the employer's number is that of the city."""
    facts = Population.facts

    def telling(self: Population, people: NDArray[np.int64]) -> NDArray[np.int32]:
        found = facts(self, people)
        found[:, EMPLOYER] = np.where(some(people, 0.2), found[:, BIRTH_CITY], found[:, EMPLOYER])
        return found

    monkeypatch.setattr(Population, "facts", telling)
    assert off(get_task("capo"), {**CAPO, "exposures": 1}, 5000) >= {"pair birth_city → employer"}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *(("depo", config) for config in depo_configs.VARIED.values()),
        *(("brevo", config) for config in brevo_configs.VARIED.values()),
        *(("mano", config) for config in mano_configs.VARIED.values()),
        *(("lano", config) for config in lano_configs.VARIED.values()),
        *(("capo", config) for config in capo_configs.VARIED.values()),
        ("capo", {"bio": "text", "num_people": 30}),
    ],
)
def test_odd_configs_are_clean(name: str, config: dict[str, Any]) -> None:
    """Every branch of the declarations; what cannot be told exactly is left out."""
    assert off(get_task(name), config, 4000) == set()


# As they are published, smaller ones for `make test`.
PLAIN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "depo": ({}, {"N": 40}),
    "brevo": ({"N": 50, "multi": True}, {"N": 30, "multi": True}),
    "mano": ({}, {"L": 4}),
    "lano": ({}, {"config_name": "cfg3b"}),
    "capo": ({}, {**capo_configs.SMALL, "exposures": 60}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_tasks_are_clean_at_ten_seeds(name: str) -> None:
    for seed in range(10):
        assert off(get_task(name), PLAIN[name][1], 4000, seed) == set()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", PLAIN)
def test_a_million_examples_of_the_tasks_are_clean_at_ten_seeds(name: str, seed: int) -> None:
    task, config = get_task(name), PLAIN[name][0]
    assert off(task, config, 1_000_000, seed) == set()
    assert off(task, {**config, **task.test_form}, 100_000, seed) == set()
