"""Style 4: a config is checked once at the door, in one line that names the key, or it works.

What is said of one task's keys alone stands in `test_<task>_config.py`.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import FACTS, each
from facts.kinds import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.tasks import TASKS
from ostraca.tasks.base import Key, vocab_size
from ostraca.tasks.core.batch import rows_of, unragged
from ostraca.tasks.core.words import count_words
from ostraca.tasks.errors import ConfigError, OstracaError

KEYS = [(task, name) for task, facts in FACTS.items() for name in facts.task.keys]


@pytest.mark.parametrize("task", TASKS)
def test_defaults_are_the_published_ones(task: str) -> None:
    facts = FACTS[task]
    check, keys = facts.task.check, facts.task.keys
    assert check({}) == check(None) == facts.defaults
    assert {name: keys[name].default for name in facts.defaults} == facts.defaults
    assert set(keys) - set(facts.defaults) <= {"attributes"}  # columns that nobody asked for


@pytest.mark.parametrize(("task", "name"), each("varied"))
def test_a_complete_config_checks_to_itself(task: str, name: str) -> None:
    """What a manifest holds is plain and can be checked again; order and integer types are settled."""
    facts = FACTS[task]
    check = facts.task.check
    config = facts.complete(facts.varied[name], 3)
    assert list(config) == [key for key in facts.task.keys if key in facts.defaults or config.get(key)]
    assert json.loads(json.dumps(config)) == config
    assert check(config) == config
    assert check(dict(reversed(config.items()))) == config
    of_numpy = {key: np.int64(value) if type(value) is int else value for key, value in config.items()}
    checked = check(of_numpy)
    assert checked == config
    assert [type(value) for value in checked.values()] == [type(value) for value in config.values()]


@pytest.mark.parametrize(("task", "name"), each("varied"))
def test_check_leaves_what_it_was_given_alone(task: str, name: str) -> None:
    config = FACTS[task].varied[name]
    before = copy.deepcopy(config)
    assert FACTS[task].task.check(config) is not config
    assert config == before


@pytest.mark.parametrize(
    ("task", "wrong", "meant"), [(task, *pair) for task, facts in FACTS.items() for pair in facts.misspelt]
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(task: str, wrong: str, meant: str) -> None:
    text = FACTS[task].refusal({wrong: 5})
    assert f"unknown key {wrong!r} (did you mean {meant!r}?)" in text
    assert ", ".join(FACTS[task].task.keys) in text


@pytest.mark.parametrize("task", TASKS)
def test_a_key_like_no_other_is_refused_without_a_guess(task: str) -> None:
    assert "unknown key 'zzzzzzzz'; known:" in FACTS[task].refusal({"zzzzzzzz": 1})


OF_NO_KEY = [5.0, 5.5, float("nan"), float("inf"), [5], {"a": 1}, (), b"5", object, 1j]
TEXTS = ["5", "a\nb"]
WHOLE = [-(2**70), -1, 2**70]


def wrong_values(key: Key) -> tuple[list[Any], str]:
    """Values of other types and out of the key's range, and what a refusal says is allowed."""
    null = [] if key.optional else [None]
    or_null = " or null" if key.optional else ""
    if key.kind is bool:
        return [*OF_NO_KEY, *TEXTS, *WHOLE, 0, 1, "true", None], "must be true or false"
    if key.kind is int:
        beyond = [key.low - 1, key.high + 1, -(2**70), 2**70]
        allowed = f"must be an integer from {key.low} to {key.high}{or_null}"
        return [*OF_NO_KEY, *TEXTS, *beyond, True, False, *null], allowed
    if key.choices:
        near = ["", "first", key.choices[0].upper(), key.choices[0][:-1]]
        allowed = f"must be one of {', '.join(key.choices)}{or_null}"
        return [*OF_NO_KEY, *TEXTS, *WHOLE, 0, True, *near, *null], allowed
    if key.kind is Path:  # a number may be a file's name
        return [*OF_NO_KEY, "", True], "must be the path of a folder or file"
    if key.kind is str:
        return [*OF_NO_KEY, *WHOLE, "", True], f"must be a string{or_null}"
    return [*OF_NO_KEY, *TEXTS, *WHOLE, "", True], ""


@pytest.mark.parametrize(("task", "name"), KEYS)
def test_wrong_types_and_values_out_of_range_are_refused_by_name(task: str, name: str) -> None:
    """Every key: other types; one below and one beyond its range; null where it must be given."""
    refusal, key = FACTS[task].refusal, FACTS[task].task.keys[name]
    values, allowed = wrong_values(key)
    for value in values:
        text = refusal({name: value})
        if key.kind is object:
            assert text.startswith((f"{task}: {name}={value!r}", f"{task}: {name} has"))
        elif key.choices:
            assert text.startswith(f"{task}: {name}={value!r}")
            assert text.endswith(f" {allowed}")
        elif key.kind is int and key.high == 2**63 - 1:  # no bound is named where none is passed
            bound = (
                f" from {key.low} to {key.high}" if type(value) is int and value > key.high else ", 0 or more"
            )
            assert text == f"{task}: {name}={value!r} must be an integer{bound} or null"
        else:
            assert text == f"{task}: {name}={value!r} {allowed}"


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (task, name)
        for task, name in KEYS
        if FACTS[task].task.keys[name].kind in (str, Path) and not FACTS[task].task.keys[name].choices
    ],
)
def test_a_text_that_is_no_path_name_or_grammar_is_refused_by_name(task: str, name: str) -> None:
    if name == "tokenizer_name_or_path":  # not a path, a name: transformers is asked
        pytest.importorskip("transformers")
    assert FACTS[task].refusal({name: "a\nb"}).startswith(f"{task}: {name}")


def test_no_name_breaks_a_message() -> None:
    """Line breaks of all kinds, a terminal's escapes and half a character are shown, not obeyed."""
    for part, seen in (
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u2028", "\\u2028"),
        ("\udc80", "\\udc80"),
    ):
        assert str(OstracaError(f"no {part} é 词")) == f"no {seen} é 词"
    assert str(pickle.loads(pickle.dumps(ConfigError("a\nb")))) == "a\\nb"


@pytest.mark.parametrize("config", [5, "N", b"N", ["N"], [("N", 5)], 1.5, True, {"N"}], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_no_mapping_is_refused(task: str, config: Any) -> None:
    assert "must be a mapping" in FACTS[task].refusal(config)


# ---- words


@pytest.mark.parametrize("qa", [False, True])
@pytest.mark.parametrize(("task", "space"), each("spaces"))
def test_exactly_as_many_words_as_nodes_works_and_one_more_node_is_refused(
    task: str, space: tuple[int, int, int], qa: bool
) -> None:
    """Trap 1, loops that never end: every word there is gets used, and the draw ends."""
    facts = FACTS[task]
    names = ("mini_vocab", "min_tlen", "max_tlen")
    words = count_words(*space)
    mapping = {**facts.spaces_given, **dict(zip(names, space, strict=True)), "N": words, "qa": qa}
    config, batch = facts.make(mapping, 20)
    assert facts.task.validate(batch, config).all_valid
    text = facts.refusal({**mapping, "N": words + 1})
    assert f"N={words + 1}" in text
    assert f"only {words}" in text
    assert all(name in text for name in names)
    if task == "brevo":  # nodes of one token need no words
        facts.make({**mapping, "N": words + 1, "multi": False}, 20)


# ---- any config at all

OUTSIDE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


def works_or_is_refused(facts: Facts, mapping: dict[str, Any], says: str = "") -> bool:
    """True where it works; else the refusal is one line that names a key."""
    keys = facts.task.keys
    try:
        config = facts.complete(mapping)
    except ConfigError as error:
        text = str(error)
        assert "\n" not in text
        assert text.startswith(f"{facts.name}: ")
        assert says in text
        names = [*keys, *map(repr, mapping)]
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names), text
        return False
    config, batch = facts.make(config, 4)
    assert facts.task.validate(batch, config).all_valid
    assert all(facts.judge(config, row) for row in rows_of(batch))
    assert np.diff(unragged(batch.column(0))[1]).max() <= facts.task.max_tokens(config)
    if "input_ids" in batch.schema.names:
        used, names_of = set(unragged(batch["input_ids"])[0].tolist()), facts.task.tokens(config)
        assert max(used) < vocab_size(facts.task, config)
        assert used <= set(names_of)
        assert len(set(names_of.values())) == len(names_of)
    return True


@pytest.mark.parametrize("task", TASKS)
def test_any_config_near_the_ranges_works_or_is_refused_in_one_line(task: str) -> None:
    facts = FACTS[task]
    worked: list[bool] = []

    @settings(derandomize=True, deadline=timedelta(seconds=10), max_examples=facts.tries[0])
    @given(st.fixed_dictionaries({}, optional=facts.inside))
    def tried(mapping: dict[str, Any]) -> None:
        worked.append(works_or_is_refused(facts, {**facts.inside_given, **mapping}, facts.inside_says))

    tried()
    assert 0 < sum(worked) < len(worked)


@pytest.mark.parametrize("task", TASKS)
def test_any_values_and_any_further_keys_are_refused_in_one_line(task: str) -> None:
    facts = FACTS[task]
    keys = sorted(set(facts.task.keys) - set(facts.unguessed))

    @settings(derandomize=True, deadline=timedelta(seconds=10), max_examples=facts.tries[1])
    @given(
        st.fixed_dictionaries({}, optional={name: facts.inside[name] for name in facts.also}),
        st.dictionaries(st.one_of(st.sampled_from(keys), st.text(max_size=8)), OUTSIDE, max_size=2),
    )
    def tried(also: dict[str, Any], more: dict[str, Any]) -> None:
        if works_or_is_refused(facts, {**also, **facts.around, **more}):
            assert set(more) <= set(facts.task.keys)

    tried()
