"""Models of the `transformers` library as a `LanguageModel`: a tiny GPT-2, or any pretrained one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from ..tasks.core.paths import local_or_name
from ..tasks.errors import ConfigError
from .attention import document_mask
from .base import LanguageModel


@final
class HuggingFace(LanguageModel):
    """A causal model of `transformers`.

    Most of them are a body that ends in normed states and a linear head upon it; a few do more (scaled
    or capped logits). Which it is gets tried on a few tokens; for the latter `hidden` gives the logits of
    all tokens and `head` passes them through.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.max_positions = getattr(inner.config, "max_position_embeddings", None)
        self._apart = self._head_stands_apart()

    def _head_stands_apart(self) -> bool:
        body, head = self.inner.base_model, self.inner.get_output_embeddings()
        if head is None or body is self.inner:
            return False
        training = self.inner.training
        self.inner.eval()
        with torch.no_grad():
            ids = torch.arange(4)[None]
            apart = head(body(input_ids=ids, use_cache=False)[0])
            whole = self.inner(input_ids=ids, use_cache=False).logits
        self.inner.train(training)
        return apart.shape == whole.shape and torch.allclose(apart, whole, rtol=1e-4, atol=1e-5)

    def to_save(self) -> tuple[nn.Module, Mapping[str, Any] | None]:
        """See `LanguageModel.to_save`; `from_pretrained` loads what is kept."""
        config = {**self.inner.config.to_dict(), "architectures": [type(self.inner).__name__]}
        return self.inner, config

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """See `LanguageModel.hidden`; logits where the head does not stand apart."""
        inputs: dict[str, Any] = {"input_ids": input_ids, "use_cache": False}
        if position_ids is not None:
            inputs |= {"position_ids": position_ids, "attention_mask": document_mask(position_ids)}
        states: Tensor = self.inner.base_model(**inputs)[0] if self._apart else self.inner(**inputs).logits
        return states

    def head(self, hidden: Tensor) -> Tensor:
        """[..., width] -> logits [..., vocabulary]."""
        logits: Tensor = self.inner.get_output_embeddings()(hidden) if self._apart else hidden
        return logits


def tiny_gpt2(vocab_size: int, positions: int, *, layers: int, width: int, heads: int) -> HuggingFace:
    """A GPT-2 with random weights for windows up to `positions` tokens; no dropout, tied embeddings."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=positions,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        # No passes over the data are repeated, so there is nothing to overfit.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=None,
    )
    return HuggingFace(GPT2LMHeadModel(config))


def from_pretrained(vocab_size: int, positions: int, name_or_path: str | None) -> HuggingFace:
    """Load a causal model, its embeddings enlarged where the task's ids need it.

    `name_or_path` is a folder that `save_pretrained` wrote or a name on the Hugging Face hub.
    OstracaError where it cannot be loaded or is made for fewer than `positions` tokens.
    """
    from transformers import AutoModelForCausalLM

    if not name_or_path:
        raise ConfigError(
            "model.name_or_path is not set; give a folder that save_pretrained wrote or a name on the "
            "Hugging Face hub, e.g. model.name_or_path=gpt2"
        )
    try:
        inner = AutoModelForCausalLM.from_pretrained(
            local_or_name(name_or_path), dtype=torch.float32, trust_remote_code=False
        )
    except Exception as error:  # the library raises half a dozen kinds, all of them meaning this
        reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
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
    return HuggingFace(inner)
