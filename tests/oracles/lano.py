"""Lano examples replayed with plain NumPy, from the documented order of draws, and a reader of grammars.

Shares nothing with `tasks.lano` but the stream. The draws of an example: one of
`integers(number of alternatives)` for every non-terminal, level by level from the start, left to right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ostraca.tasks.core.rng import numpy_generator

Rules = dict[int, list[tuple[int, ...]]]  # in the order of the text: the start symbol's come first

PUBLISHED = Path(__file__).resolve().parents[2] / "tasks" / "lano" / "grammars"


def rules_of(text: str) -> Rules:
    """The rules of a well-formed text."""
    rules: Rules = {}
    for line in text.splitlines():
        left, arrow, right = line.split("#")[0].partition("->")
        if arrow:
            rules[int(left)] = [tuple(map(int, part.split())) for part in right.split("|")]
    return rules


def published(name: str) -> Rules:
    """The rules of a published grammar, from its file."""
    return rules_of((PUBLISHED / f"{name}.txt").read_text())


def of_config(config: Mapping[str, Any]) -> Rules:
    """The rules of a complete config."""
    return rules_of(config["grammar"]) if config["grammar"] else published(config["config_name"])


def derive(rules: Rules, draws: Any) -> list[int]:
    """A sentence; `draws.integers(bound)` chooses."""
    symbols = [next(iter(rules))]
    while symbols[0] in rules:
        longer: list[int] = []
        for symbol in symbols:
            alternatives = rules[symbol]
            longer += alternatives[int(draws.integers(len(alternatives)))]
        symbols = longer
    return symbols


def numbered(rules: Rules) -> list[tuple[int, tuple[int, ...]]]:
    """(symbol, one of its rules) of each rule by its number: levels from the start, symbols ascending."""
    found, level = [], [next(iter(rules))]
    while level[0] in rules:
        found += [(symbol, one) for symbol in level for one in rules[symbol]]
        level = sorted({child for symbol in level for one in rules[symbol] for child in one})
    return found


def told_by(rules: Rules, derivation: Sequence[int]) -> list[int] | None:
    """The sentence that these rules, level by level and from left to right, make of the start; None: none."""
    known = numbered(rules)
    symbols, left = [next(iter(rules))], list(derivation)
    while symbols[0] in rules:
        longer: list[int] = []
        for symbol in symbols:
            if not left or not left[0] < len(known) or known[left[0]][0] != symbol:
                return None
            longer += known[left.pop(0)][1]
        symbols = longer
    return None if left else symbols


def replay(config: Mapping[str, Any], key: NDArray[np.uint64], index: int) -> dict[str, Any]:
    """The example at `index` of the stream `key`, as `rows_of(generate(...))` gives it."""
    sentence = derive(of_config(config), numpy_generator(key, index))
    ids = [config["bos_token_id"]] * config["bos"] + sentence + [config["eos_token_id"]] * config["eos"]
    return {"input_ids": ids, "loss_mask": [1] * len(ids), "index": index, "length": len(sentence)}
