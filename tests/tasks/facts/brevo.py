"""What several tests of Brevo need: presets, a varied set of small configs, streams, ragged rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from oracles.brevo import replay
from oracles.brevo_judge import judge

from ostraca.tasks.brevo import TASK

from .kinds import COLUMNS, Config, Facts, by_key, judged

# The published sizes, for train (qa false) and test (qa true).
PRESETS = {
    **{f"brevo1-{N}": {"N": N} for N in (70, 90, 110)},
    **{f"brevo2-{N}": {"N": N, "multi": True} for N in (30, 40, 50)},
}

# Small configs that reach every branch of the generator and of the validator.
VARIED: dict[str, dict[str, Any]] = {
    "one token": {"N": 9},
    "smallest": {"N": 3},
    "qa": {"N": 8, "qa": True},
    "last quarter": {"N": 11, "query": "last_quarter"},
    "last quarter of qa": {"N": 13, "query": "last_quarter", "qa": True, "max_in": 2},
    "chains": {"N": 9, "max_in": 1},
    "two parents": {"N": 10, "max_in": 2},
    "many parents": {"N": 12, "max_in": 30, "qa": True},
    "words": {"N": 10, "multi": True},
    "words of the last quarter": {"N": 12, "multi": True, "query": "last_quarter", "max_in": 3},
    "every word in use": {"N": 6, "multi": True, "qa": True, "mini_vocab": 2, "min_tlen": 1, "max_tlen": 2},
    "unary words": {"N": 8, "multi": True, "mini_vocab": 1, "min_tlen": 1, "max_tlen": 8},
    "words of one token": {"N": 8, "multi": True, "mini_vocab": 9, "min_tlen": 1, "max_tlen": 1},
    "hashed table": {"N": 9, "multi": True, "mini_vocab": 30, "min_tlen": 3, "max_tlen": 4},
    "long words": {"N": 5, "multi": True, "mini_vocab": 2, "min_tlen": 1, "max_tlen": 40},
    "eos of its own": {"N": 8, "eos_token_id": 10_000, "query": "last_quarter"},
    "other ids": {
        "N": 7,
        "multi": True,
        "mini_vocab": 3,
        "min_tlen": 1,
        "bos_token_id": 0,
        "eos_token_id": 8,
        "query_token_id": 9,
        "answer_token_id": 7,
    },
}

INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "N": st.integers(3, 40),
    "multi": st.booleans(),
    "qa": st.booleans(),
    "query": st.sampled_from(["last", "last_quarter"]),
    "max_in": st.one_of(st.integers(1, 6), st.integers(1, 64)),
    "mini_vocab": st.one_of(st.integers(1, 60), st.integers(1, 5000)),
    "min_tlen": st.integers(1, 6),
    "max_tlen": st.one_of(st.integers(1, 8), st.integers(1, 64)),
    "bos_token_id": st.one_of(st.just(0), st.integers(0, 20_000)),
    "eos_token_id": st.one_of(st.just(9998), st.integers(0, 20_000)),
    "query_token_id": st.integers(0, 20_000),
    "answer_token_id": st.one_of(st.just(9998), st.integers(0, 2**31 - 1)),
}
# (mini_vocab, min_tlen, max_tlen) of few words.
SPACES = [
    (1, 1, 3),
    (1, 1, 61),
    (1, 3, 64),
    (2, 1, 2),
    (2, 1, 7),
    (3, 2, 3),
    (50, 1, 1),
    (5, 3, 3),
    (9, 1, 2),
]


def whole(config: Config, example: Config) -> None:
    """The mask covers `<ans>`, the answer and `<eos>`, which are the end."""
    tokens, start, end = example["input_ids"], example["answer_start"], example["answer_end"]
    assert tokens[start - 1] == config["answer_token_id"]
    assert tokens[end:] == [config["eos_token_id"]]
    assert example["loss_mask"] == [0] * (start - 1) + [1] * (len(tokens) - start + 1)
    assert config["multi"] or example["answer_length"] == end - start


FACTS = Facts(
    task=TASK,
    presets=PRESETS,
    varied=VARIED,
    plain="words",
    rich="words",
    too_many=({"N": 10**5, "multi": True, "mini_vocab": 2, "min_tlen": 61, "max_tlen": 61, "qa": True}, 99),
    columns=COLUMNS
    | dict.fromkeys(("n", "edges", "depth", "answer_length", "answer_start", "answer_end"), "int32"),
    whole=whole,
    address=({"N": 30}, {"max_in": 3}, {"bos_token_id": 9000}),
    as_default={"N": np.int32(70)},
    bad=({"N": 2}, "N=2"),
    defaults={
        "N": 70,
        "multi": False,
        "qa": False,
        "query": "last",
        "max_in": 4,
        "mini_vocab": 4,
        "min_tlen": 2,
        "max_tlen": 4,
        "bos_token_id": 9999,
        "eos_token_id": 9998,
        "query_token_id": 9997,
        "answer_token_id": 9998,
    },
    misspelt=[("n", "N"), ("QA", "qa"), ("mult", "multi"), ("maxin", "max_in"), ("eos_id", "eos_token_id")],
    inside=INSIDE,
    judge=judged(judge),
    tries=(300, 200),
    around={"N": 20},
    spaces=SPACES,
    spaces_given={"multi": True},
    replay=by_key(replay, TASK),
    replay_forms=tuple(
        {"qa": qa, "query": query} for qa in (False, True) for query in ("last", "last_quarter")
    ),
    replay_rows=(50, 12),
    replay_far={"N": 6},
    # 600 nodes named by words of 22,764: a hashed table, and many nodes that have no more room.
    replay_large=(
        ({"N": 600, "qa": True, "multi": True, "mini_vocab": 28, "min_tlen": 1, "max_tlen": 3}, 2),
    ),
    plainly=VARIED,
    plain_rows=5,
    plain_damaged="edges",
    plain_reasons=6,
    plain_more=lambda place, config, batch: TASK.mean_tokens(config) if place < 2 else 0,
)
key_of, make, refusal = FACTS.key_of, FACTS.make, FACTS.refusal
