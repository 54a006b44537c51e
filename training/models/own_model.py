"""A model of the user's own, `model=my_module:MyModel`, as a `LanguageModel`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from ...tasks.errors import ConfigError, kind_and_text
from ...tasks.registry import import_own
from .base import LanguageModel


@final
class OwnModel(LanguageModel):
    """A module from ids int64 [B, L] to logits [B, L, vocab_size].

    Where its `forward` takes `position_ids` too (int64 [B, L], 0 at the first token of each example), it can
    be trained with train.document_mask; it must then keep examples from seeing one another.
    """

    def __init__(self, inner: nn.Module, target: str) -> None:
        super().__init__()
        self.inner, self._target = inner, target
        parameters = inspect.signature(inner.forward).parameters.values()
        self._takes_positions = any(
            each.name == "position_ids" or each.kind is each.VAR_KEYWORD for each in parameters
        )

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """The logits: which part of the model is its head, nobody knows."""
        if position_ids is None:
            logits: Tensor = self.inner(input_ids)
        elif self._takes_positions:
            logits = self.inner(input_ids, position_ids=position_ids)
        else:
            raise ConfigError(
                f"train.document_mask=true: {self._target} takes no position_ids, so its examples would see "
                "one another; add them to its forward, or leave document_mask out"
            )
        return logits

    def head(self, hidden: Tensor) -> Tensor:
        """They are the logits already."""
        return hidden

    def to_save(self) -> tuple[nn.Module, Mapping[str, Any] | None]:
        """See `LanguageModel.to_save`."""
        return self.inner, None


def own_model(vocab_size: int, *, target: str, options: Mapping[str, Any]) -> LanguageModel:
    """What `target` ("module:name") makes of vocab_size and the options, tried on a few tokens.

    A `LanguageModel` stays as it is. ConfigError where it cannot be imported, or is no such model.
    """
    module, _, name = target.partition(":")
    by = f"model={target}"
    make = getattr(import_own(module, by), name, None)
    if not callable(make):
        raise ConfigError(f"{by}: {module} has nothing called {name} that can be called")
    try:
        made = make(vocab_size, **options)
    except Exception as error:  # whatever it raises
        raise ConfigError(
            f"{by}: {name}({vocab_size}{_shown(options)}) failed: {kind_and_text(error)}"
        ) from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{by}: gave a {type(made).__name__}; it must give a torch.nn.Module")
    model = made if isinstance(made, LanguageModel) else OwnModel(made, target)
    ids = (torch.arange(8) * (vocab_size - 1) // 7)[None]  # the first and the last are among them
    try:
        with torch.no_grad():
            logits = model(ids)
    except Exception as error:
        raise ConfigError(f"{by}: fails on ids of shape (1, 8): {kind_and_text(error)}") from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (1, 8, vocab_size):
        raise ConfigError(
            f"{by}: of ids of shape (1, 8) it gives {shape}; it must give logits of shape "
            f"(1, 8, {vocab_size})"
        )
    return model


def _shown(options: Mapping[str, Any]) -> str:
    return "".join(f", {key}={value!r}" for key, value in options.items())
