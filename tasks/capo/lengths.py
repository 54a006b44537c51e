"""How many tokens Capo's paragraphs have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..core.tokenizer import Loaded
from .config import encoder_of, fields_of, templates_of
from .encode import PREFIX, encode_whole, max_elements, mean_elements, paragraphs_of, sample, tokens_per_byte
from .pieces import Pieces, compose, text_pieces


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, or bytes of a text."""
    return sizes(*_sizes_of(config))[0]


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens; of a text, more bytes."""
    return sizes(*_sizes_of(config))[1]


def _sizes_of(config: Mapping[str, Any]) -> tuple[Pieces, Loaded | None, bool, int]:
    """What an example's size depends on: pieces, a tokenizer of whole texts, order, tokens at the end."""
    if config["bio"] == "text":
        return letters(config), None, config["order"], 0
    encoder = encoder_of(config)
    ends = int(config["eos"])
    if encoder.tokens is not None:
        return encoder.tokens, None, config["order"], ends
    return encoder.letters, encoder.loaded, config["order"], ends


@lru_cache(maxsize=16)
def sizes(pieces: Pieces, whole: Loaded | None, order: bool, ends: int) -> tuple[float, int]:
    """The mean and the largest size of an example.

    Of a tokenizer of whole texts: the mean over a fixed sample, and a bound that no text comes near.
    """
    mean, most = mean_elements(pieces, order), max_elements(pieces)
    if whole is not None:
        written = compose(pieces, *sample(pieces.plan), most)
        ids, _, _ = encode_whole(whole, paragraphs_of(written), written.char_starts, written.char_ends)
        mean *= sum(map(len, ids)) / len(written.elements)
        most = most * tokens_per_byte(whole, pieces) + PREFIX
    return mean + ends, most + ends


def letters(config: Mapping[str, Any]) -> Pieces:
    return text_pieces(fields_of(config), templates_of(config), config["reverse_md"])
