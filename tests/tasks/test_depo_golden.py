"""Fixed expected tokens of Depo, version 2."""

from __future__ import annotations

import hashlib

import pytest
from depo_configs import PRESETS, VARIED, lists, make

from ostraca.tasks.depo import VERSION, generate_depo_example

WHO_BREAKS = (
    "Depo's examples changed: every corpus ever built with depo version 2 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/depo/task.py (and these values) if that is meant."
)

GOLDEN = {
    "depo1-225": "a903c0a5e0b580031aba287e",
    "depo1-300": "2e12b2910e4a2bf935dd6b60",
    "depo1-375": "e1a0282d53c7c8b967861e18",
    "depo2-75": "7f3160e0c7b5535bdd93a056",
    "depo2-100": "a87b526365ef23c4afa5860a",
    "depo2-125": "14005ae6467bcd3c8497fbeb",
    "depo1-225 test": "9f4ecbcbf174398aa24c9860",
    "depo1-300 test": "84fd0061b7bf589628992b10",
    "depo1-375 test": "06b7d353e7c584e82b1c52fb",
    "depo2-75 test": "56751b6349f98d75e87fefe6",
    "depo2-100 test": "4e5b876695dd7e670a610bc4",
    "depo2-125 test": "e6f0b890c8bfb604aadb0c2e",
    "separator": "118562af3440e85d583e945c",
    "qa of 32": "21a3cd112aff8614b02b841d",
    "unary words": "ce810a0ac6f8b04e75fbf017",
    "hashed table": "3b862040bedc473a62173437",
}

# N=3, mini_vocab=3: words of one or two tokens, of which 4, 5 and 6 are last ones. 9700 leads an edge.
SHORT_TOKENS = """
0
9700 1 4 3 6
9700 5 1 4
9700 3 6 5
9007 3 6   9500 5
9003 5     9500 5
9006 1 4   9500 1 4
"""
SHORT = {
    "loss_mask": "0 00000 0000 0000 000 11 00 11 000 111",
    "index": 0,
    "n": 3,
    "query_hops": [7, 3, 6],
    "answer_starts": [18, 22, 27],
    "answer_ends": [19, 23, 29],
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
    assert VERSION == 2, "VERSION rose: write down the new values of GOLDEN and SHORT"


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
