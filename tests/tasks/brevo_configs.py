"""What several tests of Brevo need: presets, a varied set of small configs, streams, ragged rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ostraca.tasks.brevo import VERSION, check
from ostraca.tasks.brevo.generate import generate
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.core.rng import stream_key

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


def key_of(config: dict[str, Any], seed: int = 0, split: str = "train") -> NDArray[np.uint64]:
    """The stream of a complete config."""
    return stream_key("brevo", VERSION, config, seed, split)


def make(
    given: dict[str, Any], rows: int, seed: int = 0, split: str = "train"
) -> tuple[dict[str, Any], pa.RecordBatch]:
    """The complete config and its examples 0..rows-1."""
    config = check(given)
    return config, generate(config, key_of(config, seed, split), np.arange(rows, dtype=np.int64))


def lists(array: pa.ListArray) -> list[NDArray[Any]]:
    """The rows of a ragged column as NumPy views."""
    values, offsets = unragged(array)
    return [values[begin:end] for begin, end in itertools.pairwise(offsets)]
