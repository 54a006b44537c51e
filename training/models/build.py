"""`build_model`: the model a `conf/model` file describes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ...tasks.errors import ConfigError, nearest
from ...tasks.keys import REQUIRED, Key, check_keys
from .base import LanguageModel
from .canon import PLACES
from .llama import Llama
from .own_model import own_model

_LAYERS = Key(default=REQUIRED, low=1, help="how many blocks")
_WIDTH = Key(default=REQUIRED, low=1, help="channels of the residual stream")

_HEADS = Key(default=None, low=1, optional=True, help="attention heads")
_CANON = Key(default="", kind=object, help="where Canon layers stand")
_CANON_KERNEL = Key(default=4, low=1, help="tokens a Canon layer sums over")
_OPTIONS = Key(default=None, kind=object, help="what the model is made with beside its sizes")


def _above_0(default: float, what: str) -> Key:
    return Key(default=default, kind=float, low=math.ulp(0.0), high=math.inf, help=what)


# kind -> the other keys of its file in conf/model.
KINDS: dict[str, dict[str, Key]] = {
    "tiny_gpt2": {"layers": _LAYERS, "width": _WIDTH, "heads": _HEADS},
    "gpt2": {"layers": _LAYERS, "width": _WIDTH, "heads": _HEADS},
    "llama": {
        "layers": _LAYERS,
        "width": _WIDTH,
        "heads": _HEADS,
        "mlp_width": Key(default=None, low=1, optional=True, help="inner channels of the MLP"),
        "rope_theta": _above_0(10000.0, "RoPE's base"),
        "rope_fraction": Key(default=1.0, kind=float, low=0, high=1, help="share of channels RoPE turns"),
        "qk_norm": Key(default=False, kind=bool, help="RMSNorm of queries and keys"),
        "sliding_window": Key(default=None, low=1, optional=True, help="tokens that a token sees"),
        "loops": Key(default=1, low=1, help="how often the blocks are passed"),
        "canon": _CANON,
        "canon_kernel": _CANON_KERNEL,
        "canon_residual": Key(default=True, kind=bool, help="whether a Canon layer adds to its input"),
        "canon_activation": Key(default=False, kind=bool, help="whether a Canon layer takes SiLU"),
        "init_std": _above_0(0.02, "of the first weights"),
    },
    "transformers": {
        "model_type": Key(default=REQUIRED, kind=str, help="an architecture, e.g. mamba2"),
        "layers": _LAYERS,
        "width": _WIDTH,
        "heads": _HEADS,
        "options": _OPTIONS,
    },
    "from_pretrained": {
        "name_or_path": Key(default=None, kind=object, help="a folder or a name"),
        "canon": _CANON,
        "canon_kernel": _CANON_KERNEL,
    },
    "own": {
        "target": Key(default=REQUIRED, kind=str, help="module:name of what makes the model"),
        "options": _OPTIONS,
    },
}


def build_model(config: Mapping[str, Any], *, vocab_size: int, positions: int, seed: int) -> LanguageModel:
    """Make or load the model for ids below `vocab_size` and windows up to `positions` tokens.

    New weights are a function of `seed` alone; torch's global random state is left as it was.
    ConfigError (an OstracaError) where a key is wrong; OstracaError where a model cannot be loaded.
    """
    sizes = _checked(config)
    kind = config["kind"]
    with torch.random.fork_rng(devices=[]):  # weights are made on the CPU
        torch.manual_seed(seed)
        if kind == "llama":
            return Llama(vocab_size, **sizes)
        if kind == "own":
            return own_model(vocab_size, **sizes)
        from .architectures import by_model_type, gpt2
        from .hugging_face import from_pretrained

        if kind == "from_pretrained":
            return from_pretrained(vocab_size, positions, **sizes)
        if kind == "transformers":
            model_type, options = sizes.pop("model_type"), sizes.pop("options")
            return by_model_type(vocab_size, positions, model_type, sizes, options)
        return gpt2(vocab_size, positions, **sizes)


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the model's kind without `name` and `kind`, each looked at."""
    kind = config.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"model.kind={kind!r}{nearest(kind, KINDS)} must be one of {', '.join(KINDS)}")
    given = {key: value for key, value in config.items() if key not in ("name", "kind")}
    sizes = check_keys("model.", given, KINDS[kind])
    if "options" in sizes and sizes["options"] is None:
        sizes["options"] = {}
    if "options" in sizes and not isinstance(sizes["options"], Mapping):
        raise ConfigError(f"model.options={sizes['options']!r} must be a mapping, e.g. {{width: 64}}")
    if "canon" in sizes:
        sizes["canon"] = _places(sizes["canon"])
    if "width" in sizes and kind != "transformers":
        heads = sizes["heads"] or max(1, sizes["width"] // 64)
        step = heads * (2 if kind == "llama" else 1)  # RoPE turns pairs of channels
        if sizes["width"] % step:
            raise ConfigError(
                f"model.width={sizes['width']} must be a multiple of {step} with {heads} heads; change "
                "model.width or model.heads"
            )
    return sizes


def _places(canon: Any) -> str:
    """Where Canon layers stand; "" is nowhere."""
    if canon is None or canon == "":
        return ""
    if not isinstance(canon, str) or len(set(canon)) < len(canon) or not set(canon) <= set(PLACES):
        raise ConfigError(
            f"model.canon={canon!r} must be some of the letters {PLACES}, e.g. AC, or null (A: before "
            "attention, B: in its queries, keys and values, C: before the MLP, D: inside it)"
        )
    return canon
