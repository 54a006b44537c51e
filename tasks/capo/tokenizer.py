"""Capo's tokenizer: the small one that comes with the task, or any other that the config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import tokenizer
from ..core.tokenizer import Loaded, UnusableError
from ..errors import ConfigError, shown
from .text import DATA

if TYPE_CHECKING:
    import tokenizers

END = "<|endoftext|>"


def load_tokenizer(name_or_path: str | None) -> Loaded:
    """The tokenizer in a folder or file, or a name in Hugging Face's cache; None: the one of the task.

    ConfigError says what to pass instead where it cannot be loaded.
    """
    try:
        return tokenizer.load_tokenizer(str(DATA) if name_or_path is None else name_or_path)
    except UnusableError as error:
        raise ConfigError(
            f"capo: tokenizer_name_or_path={shown(error.name)}: {error.why}; pass a folder with a "
            "tokenizer.json, make one with `ostraca train-tokenizer`, or leave it null for the one that "
            "comes with the task"
        ) from None


def encoding_of(loaded: Loaded, text: str) -> tokenizers.Encoding:
    """The tokens of a text, without special ones; ConfigError where the tokenizer cannot."""
    try:
        return loaded.encode(text)
    except ConfigError as error:
        raise ConfigError(f"capo: {error}") from None
