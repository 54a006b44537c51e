"""Canon layers in the Llama of `transformers`, whose weights keep their names.

Only what loads models imports this file, and calls `register` first.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from ...tasks.errors import ConfigError
from .canon import Canon

_OF_THE_CLASS = ("model_type", "architectures", "transformers_version")  # of a config, not of the model


class CanonLlamaConfig(LlamaConfig):  # type: ignore[misc]
    """A `LlamaConfig` that says where Canon layers stand, some of "ABCD", and of what form they are."""

    model_type = "canon_llama"
    canon: str = "ABCD"
    canon_kernel: int = 4
    canon_residual: bool = True
    canon_activation: bool = False


@final
class CanonAfter(nn.Module):
    """A Canon layer over what a module of a block gives; the block says before at which positions."""

    def __init__(self, width: int, config: CanonLlamaConfig) -> None:
        super().__init__()
        residual, activation = config.canon_residual, config.canon_activation
        self.layer = Canon(width, config.canon_kernel, residual=residual, activation=activation)
        self.position_ids: Tensor | None = None  # int64 [1 or B, L], from 0 in each example

    def forward(self, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
        """As a forward hook: [B, L, width] -> [B, L, width]."""
        y: Tensor = self.layer(output, self.position_ids)
        return y


class CanonLlamaDecoderLayer(LlamaDecoderLayer):  # type: ignore[misc]
    """A block of a Llama with Canon layers after its norms (A, C) and its projections (B, D)."""

    def __init__(self, config: CanonLlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.canon = nn.ModuleDict()
        for place, name in (
            ("A", "input_layernorm"),
            ("B", "self_attn.q_proj"),
            ("B", "self_attn.k_proj"),
            ("B", "self_attn.v_proj"),
            ("C", "post_attention_layernorm"),
            ("D", "mlp.gate_proj"),
            ("D", "mlp.up_proj"),
        ):
            if place in config.canon:
                module = self.get_submodule(name)
                weight = module.get_parameter("weight")  # [width] of a norm, [width, from] of a projection
                after = CanonAfter(len(weight), config)
                module.register_forward_hook(after)
                self.canon[name.rpartition(".")[2]] = after

    def forward(self, hidden_states: Tensor, *given: Any, **keys: Any) -> Tensor:
        """[B, L, width] -> [B, L, width]; `position_ids` int64 [1 or B, L], from 0 in each example."""
        if keys.get("past_key_values") is not None:
            raise ValueError("a Llama with Canon layers keeps no cache: call it with use_cache=False")
        # Before each pass, a recomputed one too: what the hooks see belongs to it.
        for after in self.canon.values():
            after.position_ids = keys["position_ids"]
        output: Tensor = super().forward(hidden_states, *given, **keys)
        return output


class CanonLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """A `LlamaForCausalLM` with Canon layers. It has no cache: what generates computes all tokens again."""

    config_class = CanonLlamaConfig

    def __init__(self, config: CanonLlamaConfig) -> None:
        config.use_cache = False
        super().__init__(config)
        layers = range(config.num_hidden_layers)
        self.model.layers = nn.ModuleList(CanonLlamaDecoderLayer(config, layer) for layer in layers)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Canon):
            module.reset()


def register() -> None:
    """Make `AutoConfig` and `AutoModelForCausalLM` know the model type `canon_llama`; again does no harm."""
    AutoConfig.register(CanonLlamaConfig.model_type, CanonLlamaConfig, exist_ok=True)
    AutoModelForCausalLM.register(CanonLlamaConfig, CanonLlamaForCausalLM, exist_ok=True)


def put_canon(model: Any, places: str, **form: Any) -> CanonLlamaForCausalLM:
    """A Llama of `transformers` with Canon layers at `places`, its other weights as they are (copies).

    form: kernel, residual, activation, as `Canon` has them. The new weights are drawn from torch's random
    state. A model that has just these layers comes back itself. ConfigError where it is no Llama, or has
    other Canon layers.
    """
    wanted = {"canon": places, **{f"canon_{key}": value for key, value in form.items()}}
    if isinstance(model, CanonLlamaForCausalLM):
        there = {key: getattr(model.config, key) for key in wanted}
        if there != wanted:
            raise ConfigError(f"model.canon: the model has {there} already, not {wanted}; set canon to null")
        return model
    if type(model) is not LlamaForCausalLM:
        raise ConfigError(
            f"model.canon={places!r}: a {type(model).__name__} takes no Canon layers, only a "
            "LlamaForCausalLM does; set canon to null, or give a Llama"
        )
    kept = {key: value for key, value in model.config.to_dict().items() if key not in _OF_THE_CLASS}
    made = CanonLlamaForCausalLM(CanonLlamaConfig(**kept, **wanted))
    made.to(model.device, model.dtype)
    missing, unexpected = made.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all(".canon." in name for name in missing)
    if made.generation_config is not None:
        made.generation_config.use_cache = False
    made.train(model.training)
    return made
