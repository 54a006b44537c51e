"""Fixed expected tokens of Depo, version 1."""

from __future__ import annotations

import hashlib

import pytest
from depo_configs import PRESETS, VARIED, lists, make

from tasks.depo import VERSION, generate_depo_example

WHO_BREAKS = (
    "Depo's examples changed: every corpus ever built with depo version 1 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/depo.py (and these values) if that is meant."
)

GOLDEN = {
    "depo1-225": "d2f3bc848d87bd79cd7aec55",
    "depo1-300": "c972da23f5c033df018b9332",
    "depo1-375": "99c29d5feb12856994e12e7d",
    "depo2-75": "c3efe3b89a65615bd518f847",
    "depo2-100": "30e763678c99e9ccc6a6f586",
    "depo2-125": "4a4d0d64d1216df08c6db115",
    "depo1-225 test": "e9a7ed144a5f88827541a239",
    "depo1-300 test": "945dd1434fc3e73c591a752a",
    "depo1-375 test": "f88ee031893e6ac3ae5460e6",
    "depo2-75 test": "c4bb9974880c5d41c02d56a3",
    "depo2-100 test": "d7dd6b77a114df7f390aea06",
    "depo2-125 test": "7fa9f1ec7ab754e42aba6e35",
    "separator": "0a8187695a28b410fda61bec",
    "qa of 32": "903613a740fbc05689d04e39",
    "unary words": "05c8df7d32c96b69d14c8a5f",
    "hashed table": "1dabf3a7e52547824eec7cd3",
}

# N=3, mini_vocab=3: words of one or two tokens, of which 4, 5 and 6 are last ones. 9700 leads an edge.
SHORT_TOKENS = """
0
9700 2 6 6
9700 6 5
9700 5 2 6
9003 6     9500 6
9003 2 6   9500 2 6
9005 5     9500 6
"""
SHORT = {
    "loss_mask": "0 0000 000 0000 00 11 000 111 00 11",
    "index": 0,
    "n": 3,
    "query_hops": [3, 3, 5],
    "answer_starts": [15, 20, 25],
    "answer_ends": [16, 22, 26],
}


def digest(name: str, given: dict[str, object]) -> str:
    """Tokens, mask and metadata of examples 0..19 of train, seed 42, as text."""
    _, batch = make(given, 20, seed=42)
    text = "\n".join(
        f"{column} {' '.join(map(str, row.tolist()))}"
        for column in ("input_ids", "loss_mask", "query_hops", "answer_starts", "answer_ends")
        for row in lists(batch[column])
    )
    sizes = " ".join(map(str, batch["n"].to_pylist()))
    return hashlib.blake2b(f"{text}\n{sizes}".encode(), digest_size=12).hexdigest()


CASES = {
    **PRESETS,
    **{f"{name} test": {**given, "qa": True} for name, given in PRESETS.items()},
    **{name: VARIED[name] for name in ("separator", "qa of 32", "unary words", "hashed table")},
}


def test_these_values_are_of_this_version() -> None:
    assert VERSION == 1, "VERSION rose: write down the new values of GOLDEN and SHORT"


@pytest.mark.parametrize("name", CASES)
def test_examples_are_fixed(name: str) -> None:
    assert digest(name, CASES[name]) == GOLDEN[name], WHO_BREAKS


def test_a_short_example_is_fixed() -> None:
    """Three nodes on a cycle and three questions, spelled out: tokens, mask, labels and metadata."""
    tokens = [int(token) for token in SHORT_TOKENS.split()]
    mask = [int(bit) for bit in str(SHORT["loss_mask"]).replace(" ", "")]
    labels = [token if bit else -100 for token, bit in zip(tokens, mask, strict=True)]
    expected = {**SHORT, "input_ids": tokens, "loss_mask": mask, "labels": labels}
    config = {"N": 3, "mini_vocab": 3, "separator": True}
    assert generate_depo_example(config, seed=0) == expected, WHO_BREAKS
