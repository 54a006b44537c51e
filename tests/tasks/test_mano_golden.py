"""Fixed expected tokens of Mano, version 1."""

from __future__ import annotations

import hashlib

import pytest
from mano_configs import PRESETS, VARIED, lists, make

from ostraca.tasks.mano import VERSION, generate_mano_example

WHO_BREAKS = (
    "Mano's examples changed: every corpus ever built with mano version 1 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/mano/task.py (and these values) if that is meant."
)

GOLDEN = {
    "mano-10": "bc4dc3a1a93af1972fce4abd",
    "mano-13": "fb5162e6e2c7e05d0f03386e",
    "mano-16": "57a0e5f3c13d140dcccbd278",
    "mano-10 test": "e3d0f021cc59e6a63af1f71a",
    "mano-13 test": "cbaf5b0c0b100628a4efb445",
    "mano-16 test": "ced9c95905d1c23c689caee7",
    "all operators": "59b7d55a6779ffead809fb90",
    "no aliases": "b38ac323b1c12f389593662e",
    "two words of coins": "1190c94465d59c2a81c349fe",
    "large modulus": "c7193d08281be0d7acca8691",
}

# <bos> <len_3>' - *' + 13 15 14 6 <ans_3> 18: (13 + 15) * 14 - 6 = 18 (mod 23).
SHORT_TOKENS = [9999, 31, 2, 7, 1, 5013, 5015, 5014, 5006, 34, 5018]
SHORT = {
    "input_ids": SHORT_TOKENS,
    "loss_mask": [1] * 11,
    "labels": SHORT_TOKENS,
    "index": 2,
    "length": 3,
    "answer": 18,
}


def digest(given: dict[str, object]) -> str:
    """Tokens and metadata of examples 0..49 of train, seed 42, as text."""
    _, batch = make(given, 50, seed=42)
    rows = [" ".join(map(str, row.tolist())) for row in lists(batch["input_ids"])]
    rows += [" ".join(map(str, batch[column].to_pylist())) for column in ("length", "answer")]
    return hashlib.blake2b("\n".join(rows).encode(), digest_size=12).hexdigest()


CASES = {
    **PRESETS,
    **{f"{name} test": {**given, "qa": True} for name, given in PRESETS.items()},
    **{name: VARIED[name] for name in ("all operators", "no aliases", "two words of coins", "large modulus")},
}


def test_these_values_are_of_this_version() -> None:
    assert VERSION == 1, "VERSION rose: write down the new values of GOLDEN and SHORT"


@pytest.mark.parametrize("name", CASES)
def test_examples_are_fixed(name: str) -> None:
    assert digest(CASES[name]) == GOLDEN[name], WHO_BREAKS


def test_a_short_example_is_fixed() -> None:
    assert generate_mano_example({"fixed_length": 3, "ttype": "asmd"}, seed=0, index=2) == SHORT, WHO_BREAKS
