"""`build_model`: the model a `conf/model` file describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..tasks.errors import ConfigError, nearest
from .base import LanguageModel
from .llama import Llama

# kind -> the other keys of its file in conf/model.
KINDS = {
    "tiny_gpt2": ("layers", "width", "heads"),
    "llama": ("layers", "width", "heads", "mlp_width", "rope_theta", "init_std", "canon", "canon_kernel"),
    "from_pretrained": ("name_or_path",),
}
_OPTIONAL = ("heads", "mlp_width")  # null: from the width, as published


def build_model(config: Mapping[str, Any], *, vocab_size: int, positions: int, seed: int) -> LanguageModel:
    """Make or load the model for ids below `vocab_size` and windows up to `positions` tokens.

    New weights are a function of `seed` alone; torch's global random state is left as it was.
    ConfigError (an OstracaError) where a key is wrong; OstracaError where a model cannot be loaded.
    """
    sizes = _checked(config)
    kind = config["kind"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "llama":
            return Llama(vocab_size, **sizes)
        from . import hugging_face

        make = hugging_face.tiny_gpt2 if kind == "tiny_gpt2" else hugging_face.from_pretrained
        return make(vocab_size, positions, **sizes)


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the model's kind without `name` and `kind`, each looked at."""
    kind = config.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"model.kind={kind!r}{nearest(kind, KINDS)} must be one of {', '.join(KINDS)}")
    given = {key: value for key, value in config.items() if key not in ("name", "kind")}
    for key in given.keys() ^ set(KINDS[kind]):
        what = "is not a key of" if key in given else "is missing in"
        raise ConfigError(f"model.{key} {what} kind {kind}; its keys: {', '.join(KINDS[kind])}")
    for key in given.keys() & {"layers", "width", "heads", "mlp_width", "canon_kernel"}:
        value = given[key]
        left_open = value is None and key in _OPTIONAL and kind == "llama"
        if not left_open and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"model.{key}={value!r} must be an integer, 1 or more")
    for key in given.keys() & {"rope_theta", "init_std"}:
        value = given[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ConfigError(f"model.{key}={value!r} must be a number above 0")
    if "canon" in given and not isinstance(given["canon"], bool):
        raise ConfigError(f"model.canon={given['canon']!r} must be true or false")
    if "width" in given:
        heads = given["heads"] or max(1, given["width"] // 64)
        step = heads * (2 if kind == "llama" else 1)  # RoPE turns pairs of channels
        if given["width"] % step:
            raise ConfigError(
                f"model.width={given['width']} must be a multiple of {step} with {heads} heads; change "
                "model.width or model.heads"
            )
    return given
