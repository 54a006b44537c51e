"""Fixed expected tokens of Brevo, version 2."""

from __future__ import annotations

import hashlib

import pytest
from brevo_configs import PRESETS, VARIED, make

from ostraca.tasks.brevo import VERSION, generate_brevo_example
from ostraca.tasks.core.batch import rows_of

WHO_BREAKS = (
    "Brevo's examples changed: every corpus ever built with brevo version 2 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/brevo/task.py (and these values) if that is meant."
)

GOLDEN = {
    "brevo1-70": "2f77c5e5d535c08ae9f20cdc",
    "brevo1-90": "2dc9afae14d126cf90a93ed3",
    "brevo1-110": "242fa1b30e48028b3a8ef42a",
    "brevo2-30": "ba8310068204fd0e4b10a330",
    "brevo2-40": "b1e2a41a466b2efc2ca10fe0",
    "brevo2-50": "756a076a91c73ed242b7410f",
    "brevo1-70 test": "515451cbbb9220de398a074c",
    "brevo1-90 test": "d6f6e5b475fe07d6a22b7265",
    "brevo1-110 test": "c5411db13a3b730a8c364651",
    "brevo2-30 test": "80cc79350609b557524a8547",
    "brevo2-40 test": "aa6cd85a660ada2af3de07b7",
    "brevo2-50 test": "f36313b574780a2c8141a4fa",
    "last quarter": "94c3a68a6bb7b67ef6e3c45a",
    "many parents": "b3df59319a6bf02e737526a0",
    "unary words": "95dab2c7461645644b4ee574",
    "hashed table": "20a80ff6096b4a577052951c",
}

# Words of one or two tokens over 3, of which 4, 5 and 6 end one: the edges, the query, the answer.
SHORT_TOKENS = """
9999
2 5 6    4 1 4    6 4    2 5 1 4    2 5 4    6 1 4
9997 1 4
9998 2 5   6   4   1 4
9998
"""
SHORT = {
    "index": 4,
    "n": 4,
    "edges": 6,
    "depth": 1,
    "answer_length": 4,
    "answer_start": 23,
    "answer_end": 29,
}


def digest(given: dict[str, object]) -> str:
    """Tokens, mask and metadata of examples 0..19 of train, seed 42, as text."""
    _, batch = make(given, 20, seed=42)
    text = "\n".join(f"{name} {value}" for row in rows_of(batch) for name, value in row.items())
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


CASES = {
    **PRESETS,
    **{f"{name} test": {**given, "qa": True} for name, given in PRESETS.items()},
    **{name: VARIED[name] for name in ("last quarter", "many parents", "unary words", "hashed table")},
}


def test_these_values_are_of_this_version() -> None:
    assert VERSION == 2, "VERSION rose: write down the new values of GOLDEN and SHORT"


@pytest.mark.parametrize("name", CASES)
def test_examples_are_fixed(name: str) -> None:
    assert digest(CASES[name]) == GOLDEN[name], WHO_BREAKS


def test_a_short_example_is_fixed() -> None:
    """Four nodes and six edges of Brevo2, spelled out: tokens, mask, labels and metadata."""
    tokens = [int(token) for token in SHORT_TOKENS.split()]
    mask = [0] * 22 + [1] * 8
    labels = [-100] * 22 + tokens[22:]
    expected = {**SHORT, "input_ids": tokens, "loss_mask": mask, "labels": labels}
    words = {"multi": True, "mini_vocab": 3, "min_tlen": 1, "max_tlen": 2}
    assert generate_brevo_example({"N": 5, **words}, seed=0, index=4) == expected, WHO_BREAKS
