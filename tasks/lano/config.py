"""Lano's keys, and what a config means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base import Key, check_keys
from ..errors import ConfigError
from .grammar import PUBLISHED, Grammar, grammar_of, grammar_of_text

KEYS = {
    "config_name": Key(
        default="cfg3f",
        kind=str,
        choices=PUBLISHED,
        optional=True,
        help="published grammar: cfg3b, 3i, 3h, 3g, 3f, 3j or 3k; ignored beside config_path or grammar",
    ),
    "config_path": Key(
        default=None, kind=Path, optional=True, help="file of a grammar; becomes the text in grammar"
    ),
    "grammar": Key(
        default=None,
        kind=str,
        optional=True,
        help="a grammar of your own: lines 'X -> A B | C D'; very ambiguous ones are slow to validate",
    ),
    "bos": Key(default=True, kind=bool, help="begin with <bos>"),
    "eos": Key(default=False, kind=bool, help="end with <eos>"),
    "bos_token_id": Key(default=0, help="id of <bos>"),
    "eos_token_id": Key(default=4, help="id of <eos>"),
}


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it.

    A file is read here and nowhere else: its grammar stands in the complete config as canonical text.
    """
    full = check_keys("lano: ", config, KEYS)
    path, text = full["config_path"], full["grammar"]
    if path is not None and text is not None:
        raise ConfigError("lano: config_path and grammar cannot both be given; leave out one")
    if path is None and text is None and full["config_name"] is None:
        raise ConfigError(
            "lano: config_name=None needs a config_path or a grammar beside it; "
            f"published: {', '.join(PUBLISHED)}"
        )
    if path is not None or text is not None:
        try:
            grammar = Grammar.from_file(path) if path is not None else grammar_of_text(text)
        except ConfigError as error:
            key = "" if path is None else "config_path="
            raise ConfigError(f"lano: {key}{error}") from error
        full |= {"config_name": None, "config_path": None, "grammar": grammar.to_text()}
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """<bos> and <eos>, where in use, must be none of the terminals and two different ids."""
    taken = dict.fromkeys(grammar_of(full).terminals, "a terminal of the grammar")
    for name in ("bos", "eos"):
        token = full[f"{name}_token_id"]
        if full[name] and token in taken:
            raise ConfigError(f"lano: {name}_token_id={token} is {taken[token]} already; move it")
        if full[name]:
            taken[token] = f"{name}_token_id"


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens; some have as many."""
    return grammar_of(config).max_length + int(config["bos"]) + int(config["eos"])


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example: exact."""
    return grammar_of(config).mean_length + int(config["bos"]) + int(config["eos"])


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use: terminals by their number, <bos>, <eos>."""
    names = {terminal: str(terminal) for terminal in grammar_of(config).terminals}
    if config["bos"]:
        names[config["bos_token_id"]] = "<bos>"
    if config["eos"]:
        names[config["eos_token_id"]] = "<eos>"
    return names
