"""What several tests of Depo need: presets, a varied set of small configs, streams, ragged rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from oracles.depo import replay
from oracles.depo_judge import judge

from ostraca.tasks.depo import TASK

from .kinds import COLUMNS, Config, Facts, by_key, judged

DEPO1 = {"K": 8, "mini_vocab": 50, "min_tlen": 1, "max_tlen": 2}
DEPO2 = {"K": 16, "mini_vocab": 3, "min_tlen": 5, "max_tlen": 7}

# The published sizes (facts of the paper), for train (qa false) and test (qa true).
PRESETS = {
    **{f"depo1-{N}": {**DEPO1, "N": N} for N in (225, 300, 375)},
    **{f"depo2-{N}": {**DEPO2, "N": N} for N in (75, 100, 125)},
}

# Small configs that reach every branch of the generator and of the validator.
VARIED = {
    "default words": {"N": 9},
    "depo2 words": {**DEPO2, "N": 12},
    "separator": {"N": 8, "K": 4, "separator": True, "mini_vocab": 3, "max_tlen": 3},
    "qa": {"N": 11, "K": 6, "qa": True, "mini_vocab": 5},
    "qa of 32": {"N": 7, "K": 32, "M": 20, "qa": True, "mini_vocab": 3, "min_tlen": 2},
    "fixed_k": {"N": 10, "fixed_k": 3, "mini_vocab": 4},
    "fixed_k under qa": {"N": 6, "K": 7, "fixed_k": 7, "qa": True, "mini_vocab": 2, "max_tlen": 3},
    "more questions than nodes": {"N": 6, "M": 100, "mini_vocab": 3},
    "one question": {"N": 8, "M": 1, "K": 1, "mini_vocab": 3},
    "unary words": {"N": 8, "mini_vocab": 1, "min_tlen": 1, "max_tlen": 8},
    "every word in use": {"N": 6, "qa": True, "mini_vocab": 2, "min_tlen": 1, "max_tlen": 2},
    "only one-token words": {"N": 8, "mini_vocab": 9, "min_tlen": 1, "max_tlen": 1},
    "hashed table": {"N": 9, "mini_vocab": 30, "min_tlen": 3, "max_tlen": 4},
    "long words": {"N": 5, "mini_vocab": 2, "min_tlen": 1, "max_tlen": 40},
    "other ids": {
        "N": 7,
        "K": 3,
        "mini_vocab": 4,
        "bos_token_id": 77,
        "query_token_base": 40,
        "answer_token_id": 9,
        "separator": True,
        "separator_token_id": 10,
    },
}

INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "N": st.integers(3, 40),
    "K": st.integers(1, 60),
    "M": st.one_of(st.integers(1, 12), st.just(10**6)),
    "qa": st.booleans(),
    "separator": st.booleans(),
    "mini_vocab": st.one_of(st.integers(1, 60), st.integers(1, 5000)),
    "min_tlen": st.integers(1, 6),
    "max_tlen": st.one_of(st.integers(1, 8), st.integers(1, 64)),
    "fixed_k": st.one_of(st.none(), st.integers(1, 60)),
    "bos_token_id": st.one_of(st.just(0), st.integers(0, 20_000)),
    "separator_token_id": st.integers(9_000, 10_000),
    "query_token_base": st.one_of(st.just(9000), st.integers(0, 20_000)),
    "answer_token_id": st.one_of(st.just(9500), st.integers(0, 2**31 - 1)),
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
    """The mask covers `<ans>` and the answers, and nothing else."""
    tokens, answer_id = example["input_ids"], config["answer_token_id"]
    assert len(example["query_hops"]) == len(example["answer_starts"]) == len(example["answer_ends"])
    covered = set()
    for begin, end in zip(example["answer_starts"], example["answer_ends"], strict=True):
        assert tokens[begin - 1] == answer_id
        assert answer_id not in tokens[begin:end]
        covered |= set(range(begin - 1, end))
    assert [place in covered for place in range(len(tokens))] == [bit == 1 for bit in example["loss_mask"]]
    assert tokens.count(answer_id) == len(example["query_hops"])


FACTS = Facts(
    task=TASK,
    presets=PRESETS,
    varied=VARIED,
    plain="default words",
    rich="separator",
    too_many=({"N": 10**6, "M": 10**6, "mini_vocab": 2, "min_tlen": 61, "max_tlen": 61, "qa": True}, 9),
    columns=COLUMNS
    | {"n": "int32", "query_hops": "int32s", "answer_starts": "int32s", "answer_ends": "int32s"},
    whole=whole,
    address=({"N": 30}, {"M": 11}, {"bos_token_id": 9999}),
    as_default={"N": np.int32(225)},
    bad=({"N": 2}, "N=2"),
    defaults={
        "N": 225,
        "K": 8,
        "M": 10,
        "qa": False,
        "separator": False,
        "mini_vocab": 50,
        "min_tlen": 1,
        "max_tlen": 2,
        "fixed_k": None,
        "bos_token_id": 0,
        "separator_token_id": 9700,
        "query_token_base": 9000,
        "answer_token_id": 9500,
    },
    misspelt=[
        ("n", "N"),
        ("k", "K"),
        ("minivocab", "mini_vocab"),
        ("max_len", "max_tlen"),
        ("min_tlen ", "min_tlen"),
        ("seperator", "separator"),
        ("fixed_K", "fixed_k"),
        ("QA", "qa"),
        ("answer_token", "answer_token_id"),
        ("bos_id", "bos_token_id"),
    ],
    inside=INSIDE,
    judge=judged(judge),
    tries=(400, 300),
    around={"N": 20},
    also=("K", "qa", "M"),
    spaces=SPACES,
    replay=by_key(replay, TASK),
    replay_forms=({"qa": False}, {"qa": True}),
    replay_rows=(30, 8),
    replay_far={"N": 6, "mini_vocab": 3},
    # 3,000 of 22,764 words: the hashed table probes often, and many draws repeat a word.
    replay_large=(({"N": 3000, "qa": True, "mini_vocab": 28, "min_tlen": 1, "max_tlen": 3}, 2),),
    plainly=VARIED,
    plain_rows=5,
    plain_damaged="n",
    plain_reasons=6,
)
key_of, make, refusal = FACTS.key_of, FACTS.make, FACTS.refusal
