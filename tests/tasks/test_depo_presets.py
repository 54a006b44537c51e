"""Depo's presets hold the published numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facts.depo import PRESETS, make

from ostraca import cli
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.depo import check

# Published: name -> (N, K, mini_vocab, min_tlen, max_tlen).
PUBLISHED = {
    "depo1-225": (225, 8, 50, 1, 2),
    "depo1-300": (300, 8, 50, 1, 2),
    "depo1-375": (375, 8, 50, 1, 2),
    "depo2-75": (75, 16, 3, 5, 7),
    "depo2-100": (100, 16, 3, 5, 7),
    "depo2-125": (125, 16, 3, 5, 7),
}
ALIASES = {"depo": "depo1-225", "depo1": "depo1-225", "depo2": "depo2-75"}
# Mean tokens of the published generator's examples: (train, test).
MEAN_TOKENS = {
    "depo1-225": (291, 859),
    "depo1-300": (356, 1158),
    "depo1-375": (428, 1458),
    "depo2-75": (456, 1045),
    "depo2-100": (553, 1347),
    "depo2-125": (636, 1649),
}


def dataset(name: str) -> dict[str, Any]:
    """The `dataset` group of the command line's config."""
    loaded: dict[str, Any] = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return loaded


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_hold_the_published_numbers(name: str) -> None:
    N, K, mini_vocab, min_tlen, max_tlen = PUBLISHED[name]
    assert dataset(name) == {
        "name": name,
        "task": "depo",
        "config": {
            "N": N,
            "K": K,
            "M": 10,
            "qa": False,
            "separator": False,
            "mini_vocab": mini_vocab,
            "min_tlen": min_tlen,
            "max_tlen": max_tlen,
            "fixed_k": None,
            "bos_token_id": 0,
            "separator_token_id": 9700,
            "query_token_base": 9000,
            "answer_token_id": 9500,
        },
    }
    assert check(PRESETS[name]) == dataset(name)["config"]


@pytest.mark.parametrize("name", ALIASES)
def test_aliases_are_their_targets(name: str) -> None:
    assert dataset(name) == dataset(ALIASES[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_mean_lengths_are_the_published_ones(name: str) -> None:
    """Train within 4%, test within 0.3%.

    Train: our mean of 20,000 has a standard error of 0.5%; the published figures come from a sample of
    some thousands at most, with one of 1-2%. Test: n is fixed and only the words' lengths vary (a standard
    deviation of 1.6% an example at most), so the figures are sharp to their rounding and about 0.1%.
    """
    train, test = MEAN_TOKENS[name]
    for qa, published, tolerance, rows in ((False, train, 0.04, 20_000), (True, test, 0.003, 3000)):
        _, batch = make({**dataset(name)["config"], "qa": qa}, rows, seed=5)
        mean = np.diff(unragged(batch["input_ids"])[1]).mean()
        assert abs(mean / published - 1) < tolerance, f"{mean:.1f} tokens, published {published}"
