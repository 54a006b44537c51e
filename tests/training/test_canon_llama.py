"""Canon layers in the Llama of transformers: kept weights, kept borders, saved and loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from ostraca.pipeline.store.open import open_folder
from ostraca.tasks.errors import ConfigError
from ostraca.training.checkpoints import Checkpoint, Checkpoints
from ostraca.training.models import canon_llama
from ostraca.training.models.build import build_model
from ostraca.training.models.canon_llama import put_canon
from ostraca.training.models.hugging_face import HuggingFace
from ostraca.training.whole import weights_of

POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])
NAMES = {
    "A": {"input_layernorm": 16},
    "B": {"q_proj": 16, "k_proj": 8, "v_proj": 8},
    "C": {"post_attention_layernorm": 16},
    "D": {"gate_proj": 32, "up_proj": 32},
}


def llama() -> Any:
    """Two query heads share one of keys; large weights, so that logits differ clearly."""
    config = LlamaConfig(
        vocab_size=18,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def ids(rows: int = 1, length: int = 12) -> torch.Tensor:
    return torch.randint(0, 18, (rows, length), generator=torch.Generator().manual_seed(1))


def canon_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.named_parameters() if ".canon." in name}


@torch.no_grad()
@pytest.mark.parametrize("places", ["A", "B", "C", "D", "AC", "ABCD"])
def test_stands_where_its_letters_say_and_with_zeros_changes_nothing(places: str) -> None:
    plain = llama()
    model = put_canon(plain, places, kernel=3)
    expected = {
        f"model.layers.{layer}.canon.{name}.layer.weight": (3, width)
        for layer in range(2)
        for place in places
        for name, width in NAMES[place].items()
    }
    weights = canon_weights(model)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == expected
    state = model.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in plain.state_dict().items())
    assert not torch.allclose(model(ids()).logits, plain(ids()).logits, rtol=1e-2, atol=1e-2)
    for weight in weights.values():
        assert 0.05 < float(weight.abs().max()) <= 3**-0.5
        weight.zero_()
    torch.testing.assert_close(model(ids()).logits, plain(ids()).logits)


@torch.no_grad()
def test_examples_stay_apart_and_nothing_is_seen_before_it_comes() -> None:
    model = HuggingFace(put_canon(llama(), "ABCD"))
    packed = model(ids(), POSITIONS)
    for begin, end in ((0, 5), (5, 8), (8, 12)):
        torch.testing.assert_close(packed[:, begin:end], model(ids()[:, begin:end]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(packed[:, 5:], model(ids())[:, 5:], rtol=1e-2, atol=1e-2)
    changed = ids()
    changed[:, 6] = (changed[:, 6] + 1) % 18
    torch.testing.assert_close(model(changed)[:, :6], model(ids())[:, :6])


def test_recomputed_under_other_positions_in_between() -> None:
    """The backward pass computes a block again with the positions of its own forward pass."""
    model = HuggingFace(put_canon(llama(), "ABCD"))
    model.train()(ids(), POSITIONS).square().mean().backward()
    plain = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    model.recompute_activations()
    loss = model(ids(), POSITIONS).square().mean()
    model(ids(rows=3, length=7))
    loss.backward()
    for one, weight in zip(plain, model.parameters(), strict=True):
        torch.testing.assert_close(one, weight.grad)


@torch.no_grad()
@pytest.mark.parametrize("form", [{}, {"kernel": 2, "residual": False, "activation": True}])
def test_saved_and_loaded_again(form: dict[str, Any], tmp_path: Path) -> None:
    model = put_canon(llama(), "ABD", **form)
    logits = model(ids()).logits
    model.save_pretrained(tmp_path / "model")
    canon_llama.register()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    config = {"kind": "from_pretrained", "name_or_path": str(tmp_path / "model")}
    ours = build_model(config, vocab_size=18, positions=40, seed=0)
    for other in (loaded, copy.deepcopy(model)):
        assert torch.equal(other.eval()(ids()).logits, logits)
    assert torch.equal(ours.eval()(ids()), logits)
    model.generate(ids(), max_new_tokens=3, do_sample=False, pad_token_id=0)
    with pytest.raises(ValueError, match="keeps no cache"):
        model(ids(), use_cache=True)


@torch.no_grad()
def test_a_checkpoint_of_ours_is_loaded(tmp_path: Path) -> None:
    """By our `from_pretrained`, and once the model type is registered by that of transformers."""
    model = HuggingFace(put_canon(llama(), "ABCD"))
    saved, config = model.to_save()
    checkpoints = Checkpoints(open_folder(str(tmp_path)), keep=1)
    checkpoints.save(Checkpoint(step=3, weights=weights_of(saved), training={}, state={}, config=config))
    checkpoints.wait()
    folder = str(tmp_path / "step-00000003")
    ours = build_model(
        {"kind": "from_pretrained", "name_or_path": folder}, vocab_size=18, positions=40, seed=0
    )
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(ours.eval()(ids()), model(ids()))
    assert torch.equal(theirs.eval()(ids()).logits, model(ids()))


@torch.no_grad()
def test_the_key_canon_puts_them_into_what_is_loaded(tmp_path: Path) -> None:
    plain = llama()
    plain.save_pretrained(tmp_path / "llama")
    config = {
        "kind": "from_pretrained",
        "name_or_path": str(tmp_path / "llama"),
        "canon": "AC",
        "canon_kernel": 2,
    }
    first, again, other = (build_model(config, vocab_size=18, positions=40, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first(ids()), again(ids()))
    assert not torch.equal(first(ids()), other(ids()))
    for weight in canon_weights(first).values():
        assert weight.shape[0] == 2
        weight.zero_()
    torch.testing.assert_close(first(ids()), plain(ids()).logits)
    saved, its_config = first.to_save()
    assert its_config is not None
    assert (its_config["model_type"], its_config["canon"]) == ("canon_llama", "AC")
    assert its_config["architectures"] == ["CanonLlamaForCausalLM"]
    assert canon_weights(saved)


def test_what_takes_no_canon_layers_is_told() -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=18, n_positions=48, n_layer=1, n_embd=8, n_head=2))
    with pytest.raises(ConfigError, match="a GPT2LMHeadModel takes no Canon layers"):
        put_canon(gpt2, "A")
    model = put_canon(llama(), "AC")
    assert put_canon(model, "AC", kernel=4) is model
    with pytest.raises(ConfigError, match="already"):
        put_canon(model, "A")
