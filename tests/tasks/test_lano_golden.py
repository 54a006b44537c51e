"""Fixed expected tokens of Lano, version 1."""

from __future__ import annotations

import hashlib

import pytest
from lano_configs import PRESETS, VARIED, lists, make

from ostraca.tasks.lano import VERSION, generate_lano_example

WHO_BREAKS = (
    "Lano's examples changed: every corpus ever built with lano version 1 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/lano.py (and these values) if that is meant."
)

GOLDEN = {
    "lano-cfg3b": "41e0b95444427dc4498449cd",
    "lano-cfg3i": "91ab7f76c209ee056154d7bb",
    "lano-cfg3h": "675b0ade9802b0711534c507",
    "lano-cfg3g": "97295a34a3e702dc9ad18467",
    "lano-cfg3f": "44d13043ba8bbef9eda04153",
    "lano-cfg3j": "861639b0522641a72d81a243",
    "lano-cfg3k": "68a349142ac66d6c24e483f8",
    "unary rules": "0d7a9c36d239d073bd52e492",
    "long rules": "ee009eb442902a1094327d5f",
    "other ids": "11bf2b0441b91e41d4a95bc0",
    "six levels": "73dba08ae412196edf8c8831",
}

SHORT = [0, 2, 1, 1, 3, 4]


def digest(name: str, given: dict[str, object]) -> str:
    """Tokens, mask and length of examples 0..19 of train, seed 42, as text."""
    _, batch = make(given, 20, seed=42)
    text = "\n".join(
        f"{column} {' '.join(map(str, row.tolist()))}"
        for column in ("input_ids", "loss_mask")
        for row in lists(batch[column])
    )
    lengths = " ".join(map(str, batch["length"].to_pylist()))
    return hashlib.blake2b(f"{text}\n{lengths}".encode(), digest_size=12).hexdigest()


CASES = {
    **PRESETS,
    **{name: VARIED[name] for name in ("unary rules", "long rules", "other ids", "six levels")},
}


def test_these_values_are_of_this_version() -> None:
    assert VERSION == 1, "VERSION rose: write down the new values of GOLDEN and SHORT"


@pytest.mark.parametrize("name", CASES)
def test_examples_are_fixed(name: str) -> None:
    assert digest(name, CASES[name]) == GOLDEN[name], WHO_BREAKS


def test_a_short_example_is_fixed() -> None:
    """A small grammar with <bos> and <eos>, spelled out: tokens, mask, labels and length."""
    expected = {
        "input_ids": SHORT,
        "loss_mask": [1] * len(SHORT),
        "labels": SHORT,
        "index": 5,
        "length": len(SHORT) - 2,
    }
    config = {"grammar": "7 -> 5 6 | 6 5 5\n5 -> 1 | 2 1\n6 -> 3 3 | 1 3\n", "eos": True}
    assert generate_lano_example(config, seed=0, index=5) == expected, WHO_BREAKS
