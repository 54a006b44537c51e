"""Lano's keys alone: grammars of three kinds, and ids that are terminals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from facts.lano import VARIED, make, refusal

from ostraca.tasks.base import vocab_size
from ostraca.tasks.lano import TASK, generate_lano_example, validate_lano_example
from ostraca.tasks.lano.config import check, tokens
from ostraca.tasks.lano.grammar import PUBLISHED

TEXT = "4 -> 1 2 | 2\n"


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
