"""One example as coloured text: what is learned in green, what is only read dim."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from .base import Look, ValidationResult
from .errors import ConfigError, first_line
from .vocabulary import Renaming

READ, LEARNED = "dim", "green"


def render(
    example: Mapping[str, Any],
    look: Look,
    verdict: ValidationResult,
    name_of: Callable[[int], str],
    *,
    max_tokens: int = -1,
    color: bool = True,
) -> Text:
    """The example's tokens, or its text, as its task wants them shown, and the verdict below.

    Without color the learned tokens stand in brackets, where not all of them are learned, and what would be
    underlined in a text stands between underscores.
    """
    text = Text()
    facts = f", {look.facts}" if look.facts else ""
    if "input_ids" in example:
        text.append(f"{len(example['input_ids'])} tokens, loss on {_count(example['loss_mask'])}{facts}\n")
        _append_tokens(text, example, look, name_of, max_tokens, color)
    else:
        text.append(f"{len(example['text'])} characters{facts}")
    if look.text:
        text.append("\n").append_text(_underlined(look.text, look.text_underlined, color))
    for line in look.below:
        text.append(f"\n{line}")
    text.append(f"\n{verdict}\n", style="bold green" if verdict else "bold red")
    return text


def _underlined(text: str, spans: Sequence[tuple[int, int]], color: bool) -> Text:
    shown, last = Text(), 0
    for start, end in sorted(spans):
        shown.append(text[last:start])
        shown.append(text[start:end] if color else f"_{text[start:end]}_", "underline")
        last = end
    return shown.append(text[last:])


def _count(mask: Sequence[int]) -> str:
    return "all" if all(mask) else str(sum(mask))


def _append_tokens(
    text: Text,
    example: Mapping[str, Any],
    look: Look,
    name_of: Callable[[int], str],
    max_tokens: int,
    color: bool,
) -> None:
    tokens, mask = example["input_ids"], example["loss_mask"]
    shown = len(tokens) if max_tokens < 0 else min(max_tokens, len(tokens))
    bracketed = not color and not all(mask)
    underlined = {at for start, end in look.underlined for at in range(start, end)}
    breaks = set(look.breaks)
    for at in range(shown):
        name = name_of(tokens[at])
        text.append("\n" if at in breaks else " ")
        style = LEARNED if mask[at] else READ
        text.append(f"[{name}]" if mask[at] and bracketed else name, style)
        if at in underlined:
            text.stylize("underline", len(text) - len(name), len(text))
    if shown < len(tokens):
        text.append(f" … {len(tokens) - shown} more (max_tokens=-1 shows all)", style="italic")


def token_names(names: Mapping[int, str]) -> Callable[[int], str]:
    """Tokens by their name; an id that has none by its number."""
    return lambda token: names.get(token, str(token))


def tokenizer_names(name_or_path: str, renaming: Renaming | None = None) -> Callable[[int], str]:
    """Tokens as a Hugging Face tokenizer calls them; ConfigError where it cannot be loaded.

    renaming: from the ids that are asked for to the tokenizer's.
    """
    if name_or_path.startswith(("/", ".", "~")) or os.path.exists(name_or_path):
        backend = _from_disk(name_or_path)
        called, size = backend.id_to_token, backend.get_vocab_size(with_added_tokens=True)
    else:
        tokenizer = _from_hub(name_or_path)
        called, size = tokenizer.convert_ids_to_tokens, len(tokenizer)

    def name_of(token: int) -> str:
        if renaming is not None:
            token = int(renaming.ids(np.array([token], dtype=np.int32))[0])
        return str(called(token)) if token < size else str(token)

    return name_of


def _from_disk(path: str) -> Any:
    """The tokenizer in a folder or file."""
    from .core.tokenizer import UnusableError, load_tokenizer

    try:
        return load_tokenizer(path).backend
    except UnusableError as error:
        raise _not_loaded(path, error.why) from error


def _from_hub(name: str) -> Any:
    """A tokenizer of transformers, by its name on the Hugging Face hub."""
    from transformers import AutoTokenizer

    from .core.tokenizer import wants_code

    try:
        try:  # first without the network: offline, the hub's client would retry for a long while
            return AutoTokenizer.from_pretrained(name, local_files_only=True, trust_remote_code=False)
        except OSError:
            return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        if wants_code(error):
            raise _not_loaded(name, "has code of its own (auto_map), which ostraca never runs") from error
        raise _not_loaded(name, first_line(error)) from error


def _not_loaded(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"tokenizer_name_or_path={name}: cannot be loaded ({why}); pass a folder that holds a tokenizer.json"
    )
