"""What several tests of Lano need: presets, small grammars of all kinds, streams, sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from oracles.lano import of_config, replay
from oracles.lano_cyk import judge

from ostraca.tasks.errors import ConfigError
from ostraca.tasks.lano import (
    TASK,
    ancestors,
    as_batch,
    grammar_of,
    log_probability,
    next_token_distribution,
    parse_counts,
)
from ostraca.tasks.lano.grammar import PUBLISHED, random_grammar

from .kinds import COLUMNS, Config, Facts, by_key, judged, lists

PRESETS = {f"lano-{name}": {"config_name": name} for name in PUBLISHED}

# Small enough to enumerate.
GRAMMARS = {
    "one level": "9 -> 1 2 | 2 | 1 1 2 3\n",
    "unary rules": "5 -> 4 | 4 4\n4 -> 3 | 3 3\n3 -> 1 | 2 1\n",
    "ambiguous": "7 -> 5 6 | 6 5 | 5 5 6\n5 -> 1 | 1 1 | 2\n6 -> 1 | 1 2\n",
    "no choice": "4 -> 3 3\n3 -> 1 2\n",
    "long rules": "8 -> 6 6 7 6 7 | 7\n6 -> 1 2 3 1 | 2 2\n7 -> 3 | 1 1 1 1 1 1 | 3 3\n",
    "far ids": "9 -> 500000 8\n8 -> 999999 | 70 70\n500000 -> 70 900 | 900\n",
    "one terminal": "4 -> 3 3 | 3 3 3\n3 -> 2 | 2 2\n2 -> 1 | 1 1 | 1 1 1\n",
    "shared beginnings": "6 -> 4 5 4 | 4 5 5 | 4 5 | 4 4 4 4\n4 -> 1 2 1 | 1 2 | 1 2 2\n5 -> 1 2 1 | 2\n",
    "drawn": random_grammar(3, (2, 3), (1, 3), 1, 2, seed=3).to_text(),
    "drawn wide": random_grammar(2, (2, 5), (2, 4), 1, 3, seed=8).to_text(),
}

VARIED: dict[str, dict[str, Any]] = {
    **{name: {"grammar": text, "eos_token_id": 2_000_000} for name, text in GRAMMARS.items()},
    "eos": {"grammar": GRAMMARS["ambiguous"], "eos": True},
    "bare": {"grammar": GRAMMARS["ambiguous"], "bos": False},
    "no bos but eos": {"grammar": GRAMMARS["unary rules"], "bos": False, "eos": True, "eos_token_id": 0},
    "other ids": {
        "grammar": GRAMMARS["long rules"],
        "eos": True,
        "bos_token_id": 2**31 - 1,
        "eos_token_id": 9999,
    },
    "six levels": {"grammar": random_grammar(6, 3, (2, 3), 1, 2, seed=1).to_text()},
}


def sentences(config: dict[str, Any], rows: int, seed: int = 0) -> list[list[int]]:
    """The sentences of the first examples, without <bos> and <eos>."""
    _, batch = make(config, rows, seed)
    bos, eos = config.get("bos", True), config.get("eos", False)
    return [row[bos : len(row) - eos].tolist() for row in lists(batch["input_ids"])]


def drawn(seed: int, depth: int, symbols: int, rules: int) -> str:
    """A random grammar; empty where there is none of these sizes."""
    try:
        return random_grammar(depth, symbols, (1, rules), 1, 2, seed).to_text()
    except ConfigError:
        return ""


INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "grammar": st.builds(
        drawn, st.integers(0, 2**31 - 1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)
    ).filter(bool),
    "bos": st.booleans(),
    "eos": st.booleans(),
    "bos_token_id": st.integers(0, 8),
    "eos_token_id": st.integers(0, 8),
}


def parsed(place: int, config: Config, batch: pa.RecordBatch) -> list[str]:
    """Everything that is known of the sentences, of one that was cut, of one that is none, of none."""
    rows = [row[config["bos"] : len(row) - config["eos"]].tolist() for row in lists(batch["input_ids"])]
    grammar, tokens = grammar_of(config), as_batch([*rows, rows[0][:-1], [77], []])
    found = [*ancestors(grammar, *tokens), *parse_counts(grammar, *tokens)]
    found += [log_probability(grammar, *tokens), next_token_distribution(grammar, *tokens)]
    return [str(array.tolist()) for array in found]


def whole(config: Config, example: Config) -> None:
    """Loss on all tokens; the sentence between <bos> and <eos>."""
    ids = example["input_ids"]
    assert example["loss_mask"] == [1] * len(ids)
    assert example["length"] == len(ids) - config["bos"] - config["eos"]
    assert (ids[0] == config["bos_token_id"]) or not config["bos"]
    assert (ids[-1] == config["eos_token_id"]) or not config["eos"]


FACTS = Facts(
    task=TASK,
    presets=PRESETS,
    varied=VARIED,
    plain="unary rules",
    rich="eos",
    columns=COLUMNS | {"length": "int32"},
    whole=whole,
    address=({}, {"config_name": "cfg3g"}, {"bos_token_id": 9}),
    as_default={"bos_token_id": np.int32(0)},
    bad=({"config_name": "x"}, "config_name='x'"),
    defaults={
        "config_name": "cfg3f",
        "config_path": None,
        "grammar": None,
        "bos": True,
        "eos": False,
        "bos_token_id": 0,
        "eos_token_id": 4,
    },
    misspelt=[("name", "config_name"), ("path", "config_path"), ("Grammar", "grammar"), ("BOS", "bos")],
    inside=INSIDE,
    judge=judged(lambda config, *row, **told: judge(config, of_config(config), *row, **told)),
    tries=(150, 100),
    inside_given={"grammar": GRAMMARS["one level"]},
    inside_says="already; move it",
    around={"grammar": GRAMMARS["one level"]},
    replay=by_key(replay, TASK),
    replay_rows=(30, 8),
    replay_far={"config_name": "cfg3b"},
    plainly={**VARIED, "cfg3b": {"config_name": "cfg3b"}},
    plain_rows=4,
    plain_damaged="length",
    plain_reasons=3,
    plain_more=parsed,
)
key_of, make, refusal = FACTS.key_of, FACTS.make, FACTS.refusal
