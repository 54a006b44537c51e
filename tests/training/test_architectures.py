"""Models by the name of their architecture, and every file of conf/model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny_llama

from ostraca.cli import compose
from ostraca.tasks.errors import ConfigError
from ostraca.training.models.architectures import by_model_type
from ostraca.training.models.base import LanguageModel
from ostraca.training.models.build import build_model
from ostraca.training.models.hugging_face import HuggingFace
from ostraca.training.models.own_model import OwnModel

FILES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
SIZES = {"layers": 2, "width": 32, "heads": 2}
ATTENTION = ["llama", "gpt_neox", "qwen3", "olmo2", "phi", "gemma2", "opt"]
POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])
MAMBA = {"head_dim": 32, "state_size": 16, "n_groups": 1, "chunk_size": 16}


def small(name: str, **options: Any) -> HuggingFace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return by_model_type(18, 32, name, SIZES, options)


def ids(length: int = 12) -> torch.Tensor:
    return torch.randint(0, 18, (1, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_conf_model_builds(name: str) -> None:
    """As it is with no memory for its weights, and with one layer; what is not there to be loaded says so."""
    config = compose("curve", [f"model={name}"])["model"]
    if name in ("fla", "from_pretrained"):
        line = "pip install flash-linear-attention" if name == "fla" else "name_or_path is not set"
        with pytest.raises(ConfigError, match=line):
            build_model(config, vocab_size=60, positions=64, seed=0)
        return
    with torch.device("meta"):
        build_model(config, vocab_size=60, positions=64, seed=0)
    model = build_model(config | {"layers": 1}, vocab_size=60, positions=64, seed=0)
    assert model(torch.zeros(1, 8, dtype=torch.int64)).shape == (1, 8, 60)


@torch.no_grad()
@pytest.mark.parametrize("name", [*ATTENTION, "mistral"])
def test_architectures_with_attention_keep_examples_apart(name: str) -> None:
    """Where they have windows too."""
    model = small(name, **({"sliding_window": 3} if name == "mistral" else {})).eval()
    packed = model(ids(), POSITIONS)
    for begin, end in ((0, 5), (5, 8), (8, 12)):
        torch.testing.assert_close(packed[:, begin:end], model(ids()[:, begin:end]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), [("mamba2", MAMBA | {"num_heads": 2}), ("bloom", {})])
def test_architectures_that_cannot_keep_examples_apart_say_so(name: str, options: dict[str, Any]) -> None:
    """What is recurrent, or takes no positions."""
    model = small(name, **options)
    assert model(ids()).shape == (1, 12, 18)
    with pytest.raises(ConfigError, match=r"train\.document_mask=true: a \w+ForCausalLM lets a token see"):
        model(ids(), POSITIONS)


@torch.no_grad()
def test_a_mamba_sees_nothing_that_comes_after() -> None:
    model = small("mamba2", **MAMBA).eval()
    before, changed = model(ids()), ids()
    changed[:, 6] = (changed[:, 6] + 1) % 18
    after = model(changed)
    torch.testing.assert_close(after[:, :6], before[:, :6])
    assert not torch.allclose(after[:, 8:], before[:, 8:])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_type": "lama"}, "did you mean 'llama'.*pip install flash-linear-attention"),
        ({"model_type": "vit"}, "is no causal architecture"),
        ({"options": {"rope_tetha": 1}}, "unknown key 'rope_tetha'.*did you mean 'rope_"),
        ({"options": {"vocab_size": 5}}, "unknown key 'vocab_size'"),
        ({"options": {"max_position_embeddings": 8}}, "max_position_embeddings=8 is less than the 64 tokens"),
        ({"options": 3}, "model.options=3 must be a mapping"),
        ({"heads": 3}, "model.width=32 must be a multiple of 3"),
        (
            {"model_type": "mamba2", "options": MAMBA | {"head_dim": 5}},
            "mamba2: cannot be made with",
        ),
        ({"model_type": "rwkv"}, "model.heads=2: the architecture has no heads"),
    ],
)
def test_wrong_architectures_are_refused(
    change: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fla", None)
    config = {"kind": "transformers", "model_type": "llama", **SIZES} | change
    with pytest.raises(ConfigError, match=line) as caught:
        build_model(config, vocab_size=18, positions=64, seed=0)
    assert "\n" not in str(caught.value)


def test_what_is_not_causal_is_refused() -> None:
    with pytest.raises(ConfigError, match="a token sees those after it"):
        small("bert", is_decoder=False)


def gradients(model: LanguageModel, positions: torch.Tensor | None) -> list[torch.Tensor]:
    model.train().zero_grad()
    model(ids(), positions).square().mean().backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["llama", "llama_canon_looped", "hf_llama", "gpt2", "mamba2"])
def test_recomputed_activations_give_the_same_gradients(name: str, packed: bool) -> None:
    if packed and name == "mamba2":
        pytest.skip("keeps no examples apart")
    model: LanguageModel
    if name.startswith("llama"):
        model = tiny_llama(canon="ABCD", loops=2) if name != "llama" else tiny_llama()
    else:
        model = small(name.removeprefix("hf_"), **(MAMBA if name == "mamba2" else {}))
    positions = POSITIONS if packed else None
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        plain, stored = gradients(model, positions), sum(saved)
    model.recompute_activations()
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        again = gradients(model, positions)
    assert len(plain) == len(again) > 0
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)
    assert sum(saved) < stored


def test_own_models_recompute_nothing() -> None:
    with pytest.raises(ConfigError, match=r"train\.activation_checkpointing=true: .* recompute_act"):
        OwnModel(torch.nn.Embedding(18, 18), "my_module:MyModel").recompute_activations()
