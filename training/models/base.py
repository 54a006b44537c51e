"""What the training loop and the evaluation need of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...tasks.core.batch import LABEL_IGNORED
from ...tasks.errors import ConfigError


class LanguageModel(nn.Module):
    """A causal model in two parts, so that the head is computed only where there is a label.

    Depo labels a twentieth of the tokens while its ids go up to 9,500: the head over every token would
    be most of the work. `max_positions` is the longest window the model takes (None: any).
    """

    max_positions: int | None = None
    compiled: bool = False

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """int64 [B, L] -> [B, L, width].

        Without `position_ids` positions count through the window and every token sees all before it.
        With them (int64 [B, L], 0 at the first token of each example) positions are these, and a token
        sees only its own example.
        """
        raise NotImplementedError

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocabulary]."""
        raise NotImplementedError

    def compile_hidden(self, **options: Any) -> None:
        """From now on, in training, `torch.compile` (with these options) makes the code of `hidden`.

        As long as `compiled` is true. A model leaves out what depends on the data or would be computed anew
        in each layer.
        """
        self.hidden = self.in_training(self.hidden, **options)  # type: ignore[method-assign]

    def in_training(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """A function that is compiled in training; it is as it stands in evaluation, where lengths differ."""
        self.compiled = True
        made = torch.compile(function, **options)

        def chosen(*arguments: Any) -> Any:
            return (made if self.training and self.compiled else function)(*arguments)

        return chosen

    def recompute_activations(self) -> None:
        """From now on the backward pass computes each block again, and memory holds one block's activations.

        The gradients are the same, for about a third more work. ConfigError where a model cannot.
        """
        raise ConfigError(
            f"train.activation_checkpointing=true: of a {type(self).__name__} ostraca knows no blocks to "
            "compute again; leave it out, or give the model a method recompute_activations()"
        )

    def to_save(self) -> tuple[nn.Module, Mapping[str, Any] | None]:
        """The module whose weights a checkpoint keeps, and the config that `transformers` makes it from."""
        return self, None

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """int64 [B, L] -> logits [B, L, vocabulary]."""
        return self.head(self.hidden(input_ids, position_ids))


def labelled_logits(
    model: LanguageModel, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits [labelled, vocabulary] and their targets, int64 [labelled], row by row.

    The next-token shift is here: the logits at t are for labels[t + 1]. A label of the first column has
    nothing before it and does not count.
    """
    targets = labels[:, 1:]
    wanted = targets != LABEL_IGNORED
    hidden = model.hidden(input_ids, position_ids)[:, :-1]
    return model.head(hidden[wanted]), targets[wanted]
