"""What `ostraca inspect` shows of Lano: the length, and the tree as wide as the terminal."""

from __future__ import annotations

import pytest
from facts.lano import VARIED, make

from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.lano import look
from ostraca.tasks.lano.config import check
from ostraca.tasks.lano.grammar import grammar_of


@pytest.mark.parametrize("name", ["ambiguous", "eos", "bare", "no bos but eos"])
def test_a_look_tells_the_length_and_shows_the_tree(name: str) -> None:
    config, batch = make(VARIED[name], 10, seed=6)
    for example in rows_of(batch):
        shown = look(example, config, tree=False)
        assert shown.facts == f"length {example['length']}"
        assert not shown.below
        below = look(example, config, tree=True).below
        ids = example["input_ids"]
        sentence = ids[config["bos"] : len(ids) - config["eos"]]
        assert [int(token) for token in below[-1].split()] == sentence
        assert len(below) == len(grammar_of(config).levels)


def test_a_tree_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    config, batch = make({"config_name": "cfg3b"}, 1)
    (example,) = rows_of(batch)
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert columns - 2 <= max(map(len, look(example, config, tree=True).below)) <= columns


def test_a_look_at_what_is_no_sentence_says_so() -> None:
    config = check(VARIED["ambiguous"])
    example = {"input_ids": [0, 9], "loss_mask": [1, 1], "index": 0, "length": 1}
    assert look(example, config, tree=True).below == ["no parse"]
