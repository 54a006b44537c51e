"""Fixed expected tokens of Brevo, version 1."""

from __future__ import annotations

import hashlib

import pytest
from brevo_configs import PRESETS, VARIED, make

from tasks.batch import rows_of
from tasks.brevo import VERSION, generate_brevo_example

WHO_BREAKS = (
    "Brevo's examples changed: every corpus ever built with brevo version 1 can no longer be reproduced or "
    "streamed from its manifest. Raise VERSION in tasks/brevo.py (and these values) if that is meant."
)

GOLDEN = {
    "brevo1-70": "d0618411b5253c5d7619cdb7",
    "brevo1-90": "8d9f85bc8b3c954f261f840e",
    "brevo1-110": "aa12eb17a560362e2893b7cf",
    "brevo2-30": "0c3baadc7445df3665ddc858",
    "brevo2-40": "a9df065b0eb31d052edab0a5",
    "brevo2-50": "1d126219bc5e80a03ed359f8",
    "brevo1-70 test": "775680721963623405318c94",
    "brevo1-90 test": "911c8c62a0b811488c36a51b",
    "brevo1-110 test": "96abb6b08ef177162cc932ff",
    "brevo2-30 test": "ec25d17a9319165dc40ce9f5",
    "brevo2-40 test": "83201e4d935550a1868dbd3d",
    "brevo2-50 test": "e77289cd973d3aedceb14e94",
    "last quarter": "9adb41c0f7caa30500f9c368",
    "many parents": "10a7c527776faf9120b7748a",
    "unary words": "3d6221f09298f8ad5ecf61db",
    "hashed table": "97593e2cab0effe38e400e25",
}

# Words of one or two tokens over 3, of which 4, 5 and 6 end one: the edges, the query, the answer.
SHORT_TOKENS = """
9999
3 6 2 5    6 4    2 5 4    3 6 4    6 2 5    3 6 6
9997 4
9998 3 6   6   2 5   4
9998
"""
SHORT = {
    "index": 29,
    "n": 4,
    "edges": 6,
    "depth": 1,
    "answer_length": 4,
    "answer_start": 22,
    "answer_end": 28,
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
    assert VERSION == 1, "VERSION rose: write down the new values of GOLDEN and SHORT"


@pytest.mark.parametrize("name", CASES)
def test_examples_are_fixed(name: str) -> None:
    assert digest(CASES[name]) == GOLDEN[name], WHO_BREAKS


def test_a_short_example_is_fixed() -> None:
    """Four nodes and six edges of Brevo2, spelled out: tokens, mask, labels and metadata."""
    tokens = [int(token) for token in SHORT_TOKENS.split()]
    mask = [0] * 21 + [1] * 8
    labels = [-100] * 21 + tokens[21:]
    expected = {**SHORT, "input_ids": tokens, "loss_mask": mask, "labels": labels}
    words = {"multi": True, "mini_vocab": 3, "min_tlen": 1, "max_tlen": 2}
    assert generate_brevo_example({"N": 5, **words}, seed=0, index=29) == expected, WHO_BREAKS
