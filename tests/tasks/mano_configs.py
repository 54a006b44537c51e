"""What several tests of Mano need: presets, a varied set of small configs, streams, ragged rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ostraca.tasks.core.batch import unragged
from ostraca.tasks.core.rng import stream_key
from ostraca.tasks.mano import VERSION, check
from ostraca.tasks.mano.generate import generate

# The published sizes (facts of the paper), for train (qa false) and test (qa true).
PRESETS = {f"mano-{L}": {"L": L} for L in (10, 13, 16)}

# Small configs that reach every branch of the generator and of the validator.
VARIED = {
    "default": {},
    "all operators": {"L": 8, "ttype": "asmd"},
    "no aliases": {"L": 6, "ttype": "asmd", "knowledge_augment": False},
    "qa": {"L": 7, "qa": True},
    "fixed_length": {"L": 12, "ttype": "sd", "fixed_length": 4},
    "fixed_length under qa": {"L": 6, "fixed_length": 1, "qa": True},
    "one operator": {"L": 1, "ttype": "d", "value_mod": 3},
    "only plus, modulo 2": {"L": 5, "ttype": "a", "value_mod": 2},
    "division modulo 2": {"L": 6, "ttype": "d", "value_mod": 2, "fixed_length": 6},
    "no prime": {"L": 9, "ttype": "asm", "value_mod": 24},
    "two words of coins": {"L": 40, "fixed_length": 33},
    "coins fill a word": {"L": 40, "fixed_length": 29},
    "long": {"L": 60, "ttype": "asmd"},
    "large modulus": {"L": 12, "ttype": "asmd", "value_mod": 32749, "bos_token_id": 40_000},
    "other ids": {"L": 4, "bos_token_id": 9, "knowledge_augment": False},
    "bos between": {"L": 3, "bos_token_id": 23},
}


def key_of(config: dict[str, Any], seed: int = 0, split: str = "train") -> NDArray[np.uint64]:
    """The stream of a complete config."""
    return stream_key("mano", VERSION, config, seed, split)


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


def prefix_of(tokens: NDArray[np.int32]) -> tuple[Any, ...]:
    """The expression of an example: values as numbers, operators and their aliases as "+-*/"."""
    return tuple(
        token - 5000 if token >= 5000 else "+-*/"[(token - 1) % 4] for token in tokens.tolist()[2:-2]
    )
