"""Models of `transformers`, and of what adds to it, by the name of their architecture: random weights."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ...tasks.errors import ConfigError, kind_and_text, nearest, shown
from .hugging_face import HuggingFace

# What follows from the task and the sizes; everything else that a config has may be an option.
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers")
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def gpt2(
    vocab_size: int, positions: int, *, layers: int, width: int, heads: int | None = None
) -> HuggingFace:
    """A GPT-2 for windows up to `positions` tokens; no dropout, tied embeddings; heads None: width / 64."""
    sizes = {"layers": layers, "width": width, "heads": heads}
    return by_model_type(vocab_size, positions, "gpt2", sizes)


def by_model_type(
    vocab_size: int,
    positions: int,
    model_type: str,
    sizes: Mapping[str, int | None],
    options: Mapping[str, Any] | None = None,
) -> HuggingFace:
    """A causal model of the architecture `model_type` with random weights for windows up to `positions`.

    sizes: `layers`, `width` and `heads` (None: width / 64, or of architectures without attention what their
    config says). options: further keys of its config. No dropout, since no passes over the data are
    repeated; no special tokens. ConfigError where there is no such architecture, option or size.
    """
    from transformers import AutoModelForCausalLM

    config_class, outside = _config_class(model_type)
    renamed: dict[str, str] = dict(getattr(config_class, "attribute_map", None) or {})
    known = _keys(config_class) | set(renamed)
    values = _values(known, vocab_size, positions, sizes)
    allowed = known - set(_SIZES) - {renamed.get(name, name) for name in _SIZES}
    for name, value in (options or {}).items():
        if name not in allowed:
            raise ConfigError(
                f"model.options: unknown key {shown(name)}{nearest(name, sorted(allowed))}; a config of "
                f"{model_type} has {', '.join(sorted(allowed))}"
            )
        values[name] = value
    limit = values.get("max_position_embeddings", positions)
    if isinstance(limit, int) and limit < positions:
        raise ConfigError(
            f"model.options.max_position_embeddings={limit} is less than the {positions} tokens of a window; "
            "leave it out"
        )
    try:
        config = config_class(**{renamed.get(name, name): value for name, value in values.items()})
        inner = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        # The models of fla run on a GPU alone, so nothing is tried on them here.
        model = HuggingFace(inner, apart=True if outside else None)
        causal = outside or _is_causal(model)
    except Exception as error:  # each architecture has its own way to say that sizes do not fit
        reason = kind_and_text(error)
        raise ConfigError(
            f"model.model_type={model_type}: cannot be made with {_shown(values)} ({reason}); change "
            "model.width, model.heads or model.options"
        ) from error
    if not causal:
        raise ConfigError(
            f"model.model_type={model_type}: a token sees those after it, so nothing is to be predicted; "
            "take a causal architecture, e.g. llama, gpt_neox or mamba2"
        )
    return model


@torch.no_grad()
def _is_causal(model: HuggingFace) -> bool:
    """Tried: the last token changes no logits before it."""
    ids = torch.zeros(2, 4, dtype=torch.int64, device=model.inner.device)
    if ids.is_meta:
        return True
    ids[1, -1] = 1 % model.inner.get_input_embeddings().num_embeddings
    training = model.training
    logits = model.eval()(ids)[:, :-1]
    model.train(training)
    return torch.allclose(logits[0], logits[1], rtol=1e-4, atol=1e-5)


def _config_class(model_type: str) -> tuple[Any, bool]:
    """The config of a causal architecture, and whether it comes from another library than `transformers`."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    from . import canon_llama

    canon_llama.register()
    where = f"model.model_type={shown(model_type)}"
    causal = [name for name in CONFIG_MAPPING if CONFIG_MAPPING[name] in MODEL_FOR_CAUSAL_LM_MAPPING]
    outside = model_type not in CONFIG_MAPPING
    if outside:
        try:
            importlib.import_module("fla")  # it makes its models known to transformers
        except ImportError as error:
            raise ConfigError(
                f"{where}{nearest(model_type, causal)} is no architecture of transformers; if it is one of "
                "flash-linear-attention, `pip install flash-linear-attention` (its models need a GPU)"
            ) from error
    if model_type not in CONFIG_MAPPING or CONFIG_MAPPING[model_type] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"{where}{nearest(model_type, causal)} is no causal architecture of transformers or "
            "flash-linear-attention; take a model_type of theirs, e.g. llama, gpt_neox or mamba2"
        )
    return CONFIG_MAPPING[model_type], outside


def _keys(config_class: Any) -> set[str]:
    """The keys that a config of this class has itself."""
    fields = dataclasses.fields(config_class) if dataclasses.is_dataclass(config_class) else ()
    signature = inspect.signature(config_class.__init__).parameters.values()
    named = {each.name for each in signature if each.kind is not each.VAR_KEYWORD}
    return ({field.name for field in fields} | named) - {"self", "args"}


def _values(
    known: set[str], vocab_size: int, positions: int, sizes: Mapping[str, int | None]
) -> dict[str, Any]:
    """What follows from the sizes, as far as the config has such keys."""
    width, heads = sizes["width"], sizes["heads"]
    assert width is not None
    values: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": sizes["layers"],
        "max_position_embeddings": positions,
        "is_decoder": True,
        "intermediate_size": 4 * width,
        **dict.fromkeys(_TOKENS),
        **{name: 0.0 for name in known if name.endswith(("dropout", "_pdrop", "dropout_prob", "layerdrop"))},
    }
    if "num_attention_heads" in known:
        heads = heads or max(1, width // 64)
        if width % heads:
            raise ConfigError(
                f"model.width={width} must be a multiple of {heads} with {heads} heads; change model.width "
                "or model.heads"
            )
        values |= {"num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": width // heads}
    elif heads is not None:
        if "num_heads" not in known:
            raise ConfigError(f"model.heads={heads}: the architecture has no heads; leave it null")
        values["num_heads"] = heads
    return {name: value for name, value in values.items() if name in known}


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items() if isinstance(value, int) and value)
