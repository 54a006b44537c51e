"""Models of the `transformers` library as a `LanguageModel`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from ...tasks.core.paths import local_or_name
from ...tasks.errors import ConfigError, first_line
from .attention import document_mask
from .base import LanguageModel

# Two rows of a few examples each, on which it is tried whether a model keeps examples apart.
_TRIED = ((0, 1, 2, 0, 1, 0, 1, 2, 3, 4), (0, 0, 1, 2, 3, 4, 5, 0, 1, 2))


@final
class HuggingFace(LanguageModel):
    """A causal model of `transformers`.

    Most of them are a body that ends in normed states and a linear head upon it; a few do more (scaled
    or capped logits). Which it is gets tried on a few tokens (apart: it is known); for the latter `hidden`
    gives the logits of all tokens and `head` passes them through.
    """

    def __init__(self, inner: Any, *, apart: bool | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.max_positions = getattr(inner.config, "max_position_embeddings", None)
        self._apart = self._head_stands_apart() if apart is None else apart
        self._masked: bool | None = None  # whether examples are kept apart by a mask; None: not tried

    def _head_stands_apart(self) -> bool:
        body, head = self.inner.base_model, self.inner.get_output_embeddings()
        if head is None or body is self.inner:
            return False
        ids = torch.arange(4, device=self.inner.device)[None] % head.weight.shape[0]
        if ids.is_meta:
            return True
        training = self.inner.training
        self.inner.eval()
        with torch.no_grad():
            apart = head(body(input_ids=ids, use_cache=False)[0])
            whole = self.inner(input_ids=ids, use_cache=False).logits
        self.inner.train(training)
        return apart.shape == whole.shape and torch.allclose(apart, whole, rtol=1e-4, atol=1e-5)

    def to_save(self) -> tuple[nn.Module, Mapping[str, Any] | None]:
        """See `LanguageModel.to_save`; `from_pretrained` loads what is kept."""
        config = {**self.inner.config.to_dict(), "architectures": [type(self.inner).__name__]}
        return self.inner, config

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """See `LanguageModel.hidden`; logits where the head does not stand apart.

        ConfigError where there are positions and the model lets a token see other examples nevertheless.
        """
        if position_ids is None:
            return self._through(input_ids, None, None)
        if self._masked is None:
            self._masked = self._needs_mask()
        mask = document_mask(position_ids) if self._masked else None
        return self._through(input_ids, position_ids, mask)

    def _through(self, input_ids: Tensor, position_ids: Tensor | None, mask: Tensor | None) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": input_ids, "use_cache": False}
        inputs |= {} if position_ids is None else {"position_ids": position_ids}
        inputs |= {} if mask is None else {"attention_mask": mask}
        states: Tensor = self.inner.base_model(**inputs)[0] if self._apart else self.inner(**inputs).logits
        return states

    def _needs_mask(self) -> bool:
        """Whether the model keeps examples apart by a mask only; without one, from positions, some do.

        A mask takes the place of the model's own, so one that has windows must do without.
        """
        windows = ("sliding_window", "attention_chunk_size", "window_size")
        windowed = any(getattr(self.inner.config, name, None) is not None for name in windows)
        for masked in (False,) if windowed else (False, True):
            if self._keeps_apart(masked):
                return masked
        name = type(self.inner).__name__
        raise ConfigError(
            f"train.document_mask=true: a {name} lets a token see examples before its own; leave "
            "document_mask out, or choose a model with attention alone"
        )

    @torch.no_grad()
    def _keeps_apart(self, masked: bool) -> bool:
        """Tried: each example of `_TRIED` has the logits that it has alone."""
        device, training = self.inner.device, self.inner.training
        positions = torch.tensor(_TRIED, device=device)
        vocabulary = self.inner.get_input_embeddings().num_embeddings
        ids = (torch.arange(positions.numel(), device=device) * 7 + 1).view_as(positions) % vocabulary
        self.inner.eval()
        try:
            with torch.autocast(device.type, enabled=False):
                packed = self._through(ids, positions, document_mask(positions) if masked else None)
                for row, places in enumerate(_TRIED):
                    begins = [*(at for at, place in enumerate(places) if place == 0), len(places)]
                    for begin, end in itertools.pairwise(begins):
                        alone = self._through(ids[row : row + 1, begin:end], None, None)[0]
                        if not torch.allclose(packed[row, begin:end], alone, rtol=1e-3, atol=1e-4):
                            return False
        except (TypeError, ValueError, RuntimeError):  # takes no positions, or no such mask
            return False
        finally:
            self.inner.train(training)
        return True

    def compile_hidden(self, **options: Any) -> None:
        """See `LanguageModel.compile_hidden`."""
        self._through = self.in_training(self._through, **options)  # type: ignore[method-assign]

    def recompute_activations(self) -> None:
        """See `LanguageModel.recompute_activations`."""
        if not getattr(self.inner, "supports_gradient_checkpointing", False):
            super().recompute_activations()
        if hasattr(self.inner, "activation_checkpointing_enable"):
            self.inner.activation_checkpointing_enable({"use_reentrant": False})
        else:  # its name before transformers 5.20
            self.inner.gradient_checkpointing_enable({"use_reentrant": False})

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocabulary]."""
        logits: Tensor = self.inner.get_output_embeddings()(hidden) if self._apart else hidden
        return logits


def from_pretrained(
    vocab_size: int,
    positions: int,
    name_or_path: str | None,
    *,
    canon: str = "",
    canon_kernel: int = 4,
) -> HuggingFace:
    """Load a causal model, its embeddings enlarged where the task's ids need it.

    `name_or_path` is a folder that `save_pretrained` wrote or a name on the Hugging Face hub. canon: where a
    Llama gets Canon layers, of "ABCD". OstracaError where it cannot be loaded, is made for fewer than
    `positions` tokens, or takes no Canon layers.
    """
    from transformers import AutoModelForCausalLM

    from . import canon_llama

    if not name_or_path:
        raise ConfigError(
            "model.name_or_path is not set; give a folder that save_pretrained wrote or a name on the "
            "Hugging Face hub, e.g. model.name_or_path=gpt2"
        )
    canon_llama.register()
    try:
        inner = AutoModelForCausalLM.from_pretrained(
            local_or_name(name_or_path), dtype=torch.float32, trust_remote_code=False
        )
    except Exception as error:  # the library raises half a dozen kinds, all of them meaning this
        reason = first_line(error)
        if "trust_remote_code" in str(error):
            reason = "it has code of its own (auto_map), which ostraca never runs"
        raise ConfigError(
            f"model.name_or_path={str(name_or_path)!r} could not be loaded ({reason}); give a folder that "
            "save_pretrained wrote, or a causal model's name on the Hugging Face hub (offline: one that "
            "is in the cache)"
        ) from error
    limit = getattr(inner.config, "max_position_embeddings", None)
    if limit is not None and limit < positions:
        raise ConfigError(
            f"model.name_or_path={str(name_or_path)!r} takes {limit} tokens, but {positions} are needed; "
            "choose a smaller dataset (N, M) and train.context_length, or another model"
        )
    if inner.get_input_embeddings().num_embeddings < vocab_size:
        inner.resize_token_embeddings(vocab_size, mean_resizing=False)
    if canon:
        inner = canon_llama.put_canon(inner, canon, kernel=canon_kernel)
    return HuggingFace(inner)
