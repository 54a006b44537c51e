"""What several tests of Mano need: presets, a varied set of small configs, streams, ragged rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles.mano import replay
from oracles.mano_judge import judge

from ostraca.tasks.mano import TASK

from .kinds import COLUMNS, Config, Facts, by_key, judged

# The published sizes (facts of the paper), for train (qa false) and test (qa true).
PRESETS = {f"mano-{L}": {"L": L} for L in (10, 13, 16)}

# Small configs that reach every branch of the generator and of the validator.
VARIED = {
    "default": {},
    "all operators": {"L": 8, "ttype": "asmd"},
    "no aliases": {"L": 6, "ttype": "asmd", "knowledge_augment": False},
    "qa": {"L": 7, "qa": True},
    "fixed_length": {"L": 12, "ttype": "sd", "fixed_length": 4},
    "fixed_length under qa": {"L": 6, "fixed_length": 1, "qa": True},
    "one operator": {"L": 1, "ttype": "d", "value_mod": 3},
    "only plus, modulo 2": {"L": 5, "ttype": "a", "value_mod": 2},
    "division modulo 2": {"L": 6, "ttype": "d", "value_mod": 2, "fixed_length": 6},
    "no prime": {"L": 9, "ttype": "asm", "value_mod": 24},
    "two words of coins": {"L": 40, "fixed_length": 33},
    "coins fill a word": {"L": 40, "fixed_length": 29},
    "long": {"L": 60, "ttype": "asmd"},
    "large modulus": {"L": 12, "ttype": "asmd", "value_mod": 32749, "bos_token_id": 40_000},
    "other ids": {"L": 4, "bos_token_id": 9, "knowledge_augment": False},
    "bos between": {"L": 3, "bos_token_id": 23},
}


def prefix_of(tokens: NDArray[np.int32]) -> tuple[Any, ...]:
    """The expression of an example: values as numbers, operators and their aliases as "+-*/"."""
    return tuple(
        token - 5000 if token >= 5000 else "+-*/"[(token - 1) % 4] for token in tokens.tolist()[2:-2]
    )


INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "L": st.one_of(st.integers(1, 30), st.integers(1, 499)),
    "ttype": st.one_of(st.sampled_from(["asm", "asmd", "d", "ad", "dms"]), st.text("asmdx", max_size=4)),
    "value_mod": st.one_of(st.sampled_from([2, 3, 5, 23]), st.integers(2, 40), st.integers(2, 2**15)),
    "knowledge_augment": st.booleans(),
    "bos_token_id": st.one_of(st.just(9999), st.just(40_000), st.integers(0, 10_000)),
    "qa": st.booleans(),
    "fixed_length": st.one_of(st.none(), st.integers(1, 40)),
}


def whole(config: Config, example: Config) -> None:
    """Loss on all of 2 * length + 5 tokens, of which the last is the answer."""
    assert len(example["input_ids"]) == 2 * example["length"] + 5
    assert example["loss_mask"] == [1] * len(example["input_ids"])
    assert example["input_ids"][-1] == 5000 + example["answer"]


FACTS = Facts(
    task=TASK,
    presets=PRESETS,
    varied=VARIED,
    plain="all operators",
    rich="all operators",
    too_many=({"L": 499}, 2**31 // 1003 + 1),
    columns=COLUMNS | {"length": "int32", "answer": "int32"},
    whole=whole,
    address=({"L": 16, "qa": True}, {"ttype": "asmd"}, {"bos_token_id": 9997}),
    as_default={"L": np.int32(10), "ttype": "mas"},
    bad=({"L": 0}, "L=0"),
    defaults={
        "L": 10,
        "ttype": "asm",
        "value_mod": 23,
        "knowledge_augment": True,
        "bos_token_id": 9999,
        "qa": False,
        "fixed_length": None,
    },
    misspelt=[("l", "L"), ("type", "ttype"), ("mod", "value_mod"), ("QA", "qa"), ("bos_id", "bos_token_id")],
    inside=INSIDE,
    judge=judged(lambda config, *row, **told: config["value_mod"] > 99 or judge(config, *row, **told)),
    tries=(400, 300),
    around={},
    also=("qa", "knowledge_augment"),
    replay=by_key(replay, TASK),
    replay_forms=({"qa": False}, {"qa": True}),
    replay_rows=(50, 100),
    replay_far={"ttype": "asmd"},
    # 499 operators, where trees are deep; with division too, where many are drawn again.
    replay_large=(({"L": 499, "qa": True}, 3), ({"L": 320, "ttype": "asmd", "qa": True}, 3)),
    plainly=VARIED,
    plain_rows=20,
    plain_damaged="answer",
    plain_others=(
        {
            "L": 10,
            "ttype": "asmd",
            "qa": False,
            "fixed_length": None,
            "value_mod": 23,
            "bos_token_id": 9999,
            "knowledge_augment": True,
        },
    ),
    plain_reasons=6,
)
key_of, make, refusal = FACTS.key_of, FACTS.make, FACTS.refusal
