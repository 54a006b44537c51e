"""What makes two examples of Lano the same, and how many different ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.batch import unragged
from ..core.mixing import content_key, hash_tokens
from .grammar import Grammar, grammar_of

_LISTED = 1_000_000  # terminals that are written down at most to count sentences


def content(batch: pa.RecordBatch, config: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Fingerprints of the sentences: uint64 [rows, 2].

    Examples of two configs agree where the terminals do, whatever <bos>, <eos> and the grammar.
    """
    tokens, offsets = unragged(batch.column("input_ids"))
    return hash_tokens(tokens, offsets, content_key("lano"), int(config["bos"]), int(config["eos"]))


def distinct(config: Mapping[str, Any], by_content: bool) -> int | None:
    """How many sentences the grammar has, exactly, for one small enough to list them all; else None.

    Grammars are ambiguous, so the number of derivations is only a bound. By content and by tokens are the
    same: <bos> and <eos> are fixed.
    """
    return _sentences(grammar_of(config))


def _sentences(grammar: Grammar) -> int | None:
    """The number of different sentences; None where listing them and their parts takes too long."""
    written = 0
    below: dict[int, set[tuple[int, ...]]] = {terminal: {(terminal,)} for terminal in grammar.terminals}
    for level, rules in zip(grammar.levels[-2::-1], grammar.rules[::-1], strict=True):
        words: dict[int, set[tuple[int, ...]]] = {symbol: set() for symbol in level}
        for symbol, alternatives in zip(level, rules, strict=True):
            for one in alternatives:
                prefixes: set[tuple[int, ...]] = {()}
                for child in one:
                    tails = below[child]
                    written += len(prefixes) * _terminals(tails) + len(tails) * _terminals(prefixes)
                    if written > _LISTED:
                        return None
                    prefixes = {begun + tail for begun in prefixes for tail in tails}
                words[symbol] |= prefixes
        below = words
    return len(below[grammar.start])


def _terminals(parts: set[tuple[int, ...]]) -> int:
    return sum(map(len, parts))
