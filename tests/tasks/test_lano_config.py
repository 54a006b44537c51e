"""Style 4: a config is checked once at the door, in one line that names the key, or it works."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from facts.lano import VARIED, make
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.lano import of_config
from oracles.lano_cyk import judge

from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.lano import TASK, generate_lano_example, validate_lano_example
from ostraca.tasks.lano.config import KEYS, check, max_tokens, tokens
from ostraca.tasks.lano.grammar import PUBLISHED, random_grammar

TEXT = "4 -> 1 2 | 2\n"


def refusal(config: Any) -> str:
    """The one line that refuses this config."""
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("lano: ")
    return text


def test_defaults_are_the_published_ones() -> None:
    assert check({}) == check(None) == {name: key.default for name, key in KEYS.items()}
    assert check({}) == {
        "config_name": "cfg3f",
        "config_path": None,
        "grammar": None,
        "bos": True,
        "eos": False,
        "bos_token_id": 0,
        "eos_token_id": 4,
    }
    assert TASK.test_form == {}


@pytest.mark.parametrize("name", VARIED)
def test_a_complete_config_checks_to_itself(name: str) -> None:
    config = check(VARIED[name])
    assert list(config) == list(KEYS)
    assert check(config) == config
    assert check(dict(reversed(config.items()))) == config
    assert json.loads(json.dumps(config)) == config


def test_a_file_becomes_its_canonical_text(tmp_path: Path) -> None:
    """A manifest holds the grammar itself: the file may be gone, and its layout means nothing."""
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n4   ->1 2|2  # start\n")
    config = check({"config_path": str(file)})
    assert (config["config_name"], config["config_path"], config["grammar"]) == (None, None, TEXT)
    example = generate_lano_example({"config_path": str(file)}, seed=1)
    file.unlink()
    assert check(config) == config
    assert (
        generate_lano_example(config, seed=1) == example == generate_lano_example({"grammar": TEXT}, seed=1)
    )
    assert validate_lano_example(example, config)


def test_a_byte_order_mark_means_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(TEXT, encoding="utf-8-sig")
    assert check({"config_path": str(file)}) == check({"grammar": TEXT})


def test_a_json_file_becomes_the_same_text(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    nodes = [[{"children": [[0, 1], [1]]}], [{"children": None}, {"children": None}]]
    file.write_text(json.dumps({"depth": 1, "sizes": [1, 2], "idx": [4, 1], "all": nodes}))
    assert check({"config_path": str(file)}) == check({"grammar": TEXT})


def test_an_own_grammar_comes_before_a_name(tmp_path: Path) -> None:
    """A preset names its grammar; a path or a text beside it is meant instead."""
    file = tmp_path / "mine.txt"
    file.write_text(TEXT)
    plain = check({"grammar": TEXT})
    assert plain["config_name"] is None
    assert check({"config_name": "cfg3b", "grammar": TEXT}) == plain
    assert check({"config_name": "cfg3b", "config_path": str(file)}) == plain
    assert check({"config_name": None, "config_path": str(file)}) == plain


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").write_text(TEXT)
    assert check({"config_path": os.path.join("~", "mine.txt")})["grammar"] == TEXT


def test_bad_files_and_grammars_are_refused_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("5 -> 3 4\n3 -> 1\n4 => 1\n")
    assert refusal({"config_path": str(file)}).startswith(
        f"lano: config_path={file}, line 3: '4 => 1' is not of the form"
    )
    missing = f"{tmp_path}/none"
    assert (
        refusal({"config_path": missing})
        == f"lano: config_path={missing}: cannot be read (No such file or directory)"
    )
    assert refusal({"grammar": "5 -> 3\n3 -> 5"}).startswith("lano: grammar, line 2: produces 5, the start")
    assert refusal({"grammar": " "}).startswith("lano: grammar: no rules")
    both = {"config_path": missing, "grammar": TEXT}
    assert refusal(both) == "lano: config_path and grammar cannot both be given; leave out one"
    assert refusal({"config_name": None}).startswith(
        "lano: config_name=None needs a config_path or a grammar"
    )


def test_unknown_names_list_the_known_ones() -> None:
    text = refusal({"config_name": "cfg3x"})
    assert text.startswith("lano: config_name='cfg3x' (did you mean ")
    assert text.endswith("must be one of cfg3b, cfg3i, cfg3h, cfg3g, cfg3f, cfg3j, cfg3k or null")
    assert "did you mean 'cfg3f'?" in refusal({"config_name": "CFG3F"})
    assert set(PUBLISHED) == {f"cfg3{letter}" for letter in "bihgfjk"}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("name", "config_name"), ("path", "config_path"), ("Grammar", "grammar"), ("BOS", "bos")],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(wrong: str, meant: str) -> None:
    text = refusal({wrong: 5})
    assert f"unknown key {wrong!r}" in text
    assert f"did you mean {meant!r}?" in text
    assert ", ".join(KEYS) in text


@pytest.mark.parametrize("name", KEYS)
def test_wrong_types_are_refused_by_name(name: str) -> None:
    values: list[Any] = [5.5, float("nan"), [5], {"a": 1}, (), b"5", object]
    key = KEYS[name]
    if key.kind is int:
        values += ["5", True, None, -1, 2**31]
    elif key.kind is bool:
        values += ["true", 0, 1, None]
    else:
        values += [True, ""]
    for value in values:
        assert refusal({name: value}).startswith(f"lano: {name}=")


@pytest.mark.parametrize("config", [5, "N", ["N"], 1.5, True, {"N"}])
def test_what_is_no_mapping_is_refused(config: Any) -> None:
    assert "must be a mapping" in refusal(config)


def test_colliding_ids_are_refused_where_in_use() -> None:
    assert (
        refusal({"bos_token_id": 3}) == "lano: bos_token_id=3 is a terminal of the grammar already; move it"
    )
    assert refusal({"eos": True, "eos_token_id": 1}).startswith("lano: eos_token_id=1 is a terminal")
    assert (
        refusal({"eos": True, "eos_token_id": 0}) == "lano: eos_token_id=0 is bos_token_id already; move it"
    )
    check({"eos_token_id": 0})
    check({"bos": False, "bos_token_id": 2})
    check({"bos": False, "eos": True, "eos_token_id": 0})
    four = {"grammar": "9 -> 1 2 3 4\n"}
    check(four)
    assert "eos_token_id=4 is a terminal" in refusal({**four, "eos": True})
    assert "bos_token_id=0 is a terminal" in refusal({"grammar": "9 -> 0 1\n"})


@pytest.mark.parametrize("name", VARIED)
def test_every_id_has_a_name_of_its_own(name: str) -> None:
    config, batch = make(VARIED[name], 400)
    names = tokens(config)
    assert len(set(names.values())) == len(names)
    assert {token for row in batch["input_ids"].to_pylist() for token in row} <= set(names)
    assert ("<bos>" in names.values()) == config["bos"]
    assert ("<eos>" in names.values()) == config["eos"]
    assert all(text == str(token) for token, text in names.items() if not text.startswith("<"))
    assert vocab_size(TASK, config) == max(names) + 1


def test_the_default_tokens_are_named() -> None:
    assert tokens(check({})) == {1: "1", 2: "2", 3: "3", 0: "<bos>"}
    assert tokens(check({"eos": True})) == {1: "1", 2: "2", 3: "3", 0: "<bos>", 4: "<eos>"}
    assert vocab_size(TASK, check({})) == 4


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_any_config_is_refused_in_one_line_or_works(
    seed: int, depth: int, symbols: int, rules: int, bos: bool, eos: bool, bos_id: int, eos_id: int
) -> None:
    """Random grammars and ids: what is not refused makes examples that validator and judge accept."""
    try:
        text = random_grammar(depth, symbols, (1, rules), 1, 2, seed).to_text()
    except ConfigError:
        return
    given = {"grammar": text, "bos": bos, "eos": eos, "bos_token_id": bos_id, "eos_token_id": eos_id}
    try:
        config = check(given)
    except ConfigError:
        assert "already; move it" in refusal(given)
        return
    _, batch = make(given, 20)
    assert TASK.validate(batch, config).all_valid
    for row in rows_of(batch):
        ids = row.pop("input_ids")
        assert len(ids) <= max_tokens(config)
        assert judge(config, of_config(config), ids, **row)
