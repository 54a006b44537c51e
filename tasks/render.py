"""One example as coloured text: what is learned in green, what is only read dim."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from tasks.base import ValidationResult
from tasks.errors import OstracaError

READ, LEARNED = "dim", "green"


def render(
    example: Mapping[str, Any],
    verdict: ValidationResult,
    name_of: Callable[[int], str],
    *,
    title: str,
    max_tokens: int = -1,
    color: bool = True,
) -> Text:
    """The example's tokens, a question a line, with its metadata above and the verdict below.

    Without color the learned tokens stand in brackets.
    """
    tokens, mask = example["input_ids"], example["loss_mask"]
    text = Text()
    text.append(f"{title}\n", style="bold")
    text.append(f"{len(tokens)} tokens, loss on {sum(mask)}{_metadata(example)}\n")
    shown = len(tokens) if max_tokens < 0 else min(max_tokens, len(tokens))
    for token, learned in zip(tokens[:shown], mask[:shown], strict=True):
        name = name_of(token)
        text.append("\n" if name.startswith("<query") else " ")
        if learned:
            text.append(name if color else f"[{name}]", style=LEARNED)
        else:
            text.append(name, style=READ)
    if shown < len(tokens):
        text.append(f" … {len(tokens) - shown} more (max_tokens=-1 shows all)", style="italic")
    text.append(f"\n{verdict}\n", style="bold green" if verdict else "bold red")
    return text


def _metadata(example: Mapping[str, Any]) -> str:
    """The example's own figures: every column that is not about its tokens."""
    parts = []
    for name, value in example.items():
        if name in ("input_ids", "loss_mask", "labels", "index", "answer_starts", "answer_ends"):
            continue
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        parts.append(f", {name} {shown}")
    return "".join(parts)


def special_names(names: Mapping[int, str]) -> Callable[[int], str]:
    """Special tokens by their name, all others by their number."""
    return lambda token: names.get(token, str(token))


def tokenizer_names(name_or_path: str) -> Callable[[int], str]:
    """Tokens as a Hugging Face tokenizer calls them; OstracaError where it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        try:  # first without the network: offline, the hub's client would retry for a long while
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, local_files_only=True)
        except OSError:
            if os.path.isdir(name_or_path) or name_or_path.startswith(("/", ".", "~")):
                raise
            tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OstracaError(
            f"tokenizer_name_or_path={name_or_path}: cannot be loaded ({reason}); "
            "pass a folder that holds a tokenizer.json"
        ) from error
    size = len(tokenizer)

    def name_of(token: int) -> str:
        return str(tokenizer.convert_ids_to_tokens(token)) if token < size else str(token)

    return name_of
