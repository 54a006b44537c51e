"""Causality, document borders, RoPE and the models that conf/model describes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny_llama
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from ostraca.cli import compose
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.training.models.architectures import gpt2
from ostraca.training.models.base import LanguageModel, labelled_logits
from ostraca.training.models.build import build_model
from ostraca.training.models.hugging_face import HuggingFace
from ostraca.training.models.pointwise import Rope, rotate

MODELS = {
    "llama": lambda: tiny_llama(),
    "llama_canon": lambda: tiny_llama(canon="AC"),
    "llama_canon_everywhere": lambda: tiny_llama(canon="ABCD", canon_residual=False, canon_activation=True),
    "llama_nope": lambda: tiny_llama(rope_fraction=0.0, canon="A"),
    "llama_partial": lambda: tiny_llama(rope_fraction=0.5, qk_norm=True),
    "llama_window": lambda: tiny_llama(sliding_window=3),
    "llama_looped": lambda: tiny_llama(loops=2),
    "tiny_gpt2": lambda: gpt2(18, 16, layers=2, width=16, heads=2),
    "hf_llama": lambda: HuggingFace(small_hf_llama()),
}


def small_hf_llama(vocabulary: int = 18) -> Any:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return MODELS[request.param]().eval()


def ids(rows: int = 2, length: int = 12) -> torch.Tensor:
    return torch.randint(0, 18, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_token_changes_nothing_before_it(model: LanguageModel) -> None:
    tokens = ids()
    before = model(tokens)
    for t in range(tokens.shape[1]):
        changed = tokens.clone()
        changed[:, t] = (changed[:, t] + 1) % 18
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(after[:, t], before[:, t], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_with_document_borders_an_example_stands_alone(model: LanguageModel) -> None:
    tokens = ids(rows=1)
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])
    packed = model(tokens, positions)
    for begin, end in ((0, 5), (5, 8), (8, 12)):
        alone = model(tokens[:, begin:end])
        torch.testing.assert_close(packed[:, begin:end], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(packed[:, 5:], model(tokens)[:, 5:], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_labelled_logits_are_the_full_ones_shifted(model: LanguageModel) -> None:
    tokens = ids()
    labels = torch.where(ids() % 3 == 0, tokens, -100)
    logits, targets = labelled_logits(model, tokens, labels)
    rows, columns = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    torch.testing.assert_close(logits, model(tokens)[rows, columns], rtol=1e-4, atol=1e-5)
    assert torch.equal(targets, tokens[rows, columns + 1])


def test_rope_knows_distances_alone() -> None:
    rope, (q, k) = Rope(8, 8, 100.0).double(), torch.randn(2, 8, dtype=torch.float64)

    def score(at_q: int, at_k: int) -> torch.Tensor:
        def turned(x: torch.Tensor, at: int) -> torch.Tensor:
            return rotate(x[None, None, None], rope(120, torch.tensor([[at]])))

        return (turned(q, at_q) * turned(k, at_k)).sum()

    torch.testing.assert_close(score(9, 4), score(105, 100), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score(5, 5), q @ k, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(score(9, 4), score(9, 5), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_angles_are_made_once() -> None:
    """For as many positions as have been asked for; in an evaluation too, and then trained with."""
    model = tiny_llama()
    assert model.rope is not None
    with torch.inference_mode():
        model(ids(length=6))
    table = model.rope.cos
    assert table.shape == (6, 8)
    model(ids(length=5))
    assert model.rope.cos is table
    with torch.enable_grad():
        model(ids(length=6)).sum().backward()
        model(ids(length=9)).sum().backward()
    assert torch.equal(model.rope.cos[:6], table)
    assert not any("rope" in name for name in model.state_dict())


@torch.no_grad()
def test_our_llama_is_the_llama_of_transformers() -> None:
    theirs = small_hf_llama().eval()
    ours = tiny_llama()
    state = dict(theirs.state_dict())
    names = {"model.embed_tokens.weight": "embedding.weight", "model.norm.weight": "norm.weight"}
    ours_state = {names[name]: state[name] for name in names} | {"output.weight": state["lm_head.weight"]}
    for layer in range(2):
        old, new = f"model.layers.{layer}.", f"blocks.{layer}."
        qkv = [state[f"{old}self_attn.{part}_proj.weight"] for part in "qkv"]
        gate_up = [state[f"{old}mlp.{part}_proj.weight"] for part in ("gate", "up")]
        ours_state |= {
            f"{new}attention_norm.weight": state[f"{old}input_layernorm.weight"],
            f"{new}qkv.weight": torch.cat(qkv),
            f"{new}out.weight": state[f"{old}self_attn.o_proj.weight"],
            f"{new}mlp_norm.weight": state[f"{old}post_attention_layernorm.weight"],
            f"{new}gate_up.weight": torch.cat(gate_up),
            f"{new}down.weight": state[f"{old}mlp.down_proj.weight"],
        }
    ours = type(ours)(18, layers=2, width=16, heads=2, mlp_width=32)
    ours.load_state_dict(ours_state)
    torch.testing.assert_close(ours(ids()), theirs(ids()).logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_rope_turns_the_share_of_channels_that_is_asked_for() -> None:
    x = torch.randn(1, 5, 2, 8)
    turned = rotate(x, Rope(8, 4, 100.0)(5))
    assert torch.equal(turned[..., 4:], x[..., 4:])
    torch.testing.assert_close(turned[..., :4], rotate(x[..., :4], Rope(4, 4, 100.0)(5)))


@torch.no_grad()
@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_without_rope_a_token_does_not_know_the_order_of_those_before_it(fraction: float) -> None:
    """With one layer: deeper ones see what the causal mask let the tokens before them know."""
    model = tiny_llama(layers=1, rope_fraction=fraction).eval()
    tokens = ids(rows=1)
    other = torch.cat([tokens[:, :-1].flip(1), tokens[:, -1:]], dim=1)
    same = torch.allclose(model(tokens)[:, -1], model(other)[:, -1], rtol=1e-4, atol=1e-5)
    assert same == (fraction == 0.0)


@torch.no_grad()
@pytest.mark.parametrize("packed", [False, True])
def test_a_window_hides_what_lies_before_it(packed: bool) -> None:
    """A token sees `window` tokens, through two layers 2 (window - 1) tokens back."""
    model, tokens = tiny_llama(sliding_window=3).eval(), ids(rows=1)
    positions = torch.arange(12)[None] if packed else None
    before = model(tokens, positions)
    changed = tokens.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 18
    after = model(changed, positions)
    moved = (after - before).abs().amax(-1)[0] > 1e-4
    assert moved.tolist() == [False] * 2 + [True] * 5 + [False] * 5
    wide = tiny_llama(sliding_window=12)(tokens, positions)
    torch.testing.assert_close(wide, tiny_llama()(tokens, positions))


@torch.no_grad()
def test_loops_are_more_layers_with_the_same_weights() -> None:
    looped, deep = tiny_llama(loops=2), tiny_llama(layers=4)
    state = looped.state_dict()
    for name in list(state):
        if name.startswith("blocks."):
            layer, rest = name.removeprefix("blocks.").split(".", 1)
            state[f"blocks.{int(layer) + 2}.{rest}"] = state[name]
    deep.load_state_dict(state)
    assert torch.equal(looped(ids()), deep(ids()))


@torch.no_grad()
@pytest.mark.parametrize("place", "ABCD")
def test_a_canon_layer_stands_where_its_letter_says(place: str) -> None:
    """With weights of 0 it is as if it were not there; its width is that of what it stands on."""
    model, plain = tiny_llama(canon=place), tiny_llama()
    model.load_state_dict(plain.state_dict(), strict=False)
    layers = {name: weight for name, weight in model.named_parameters() if "canon" in name}
    wanted = {
        "A": ("attention_canon", 16),
        "B": ("qkv_canon", 48),
        "C": ("mlp_canon", 16),
        "D": ("gate_up_canon", 96),
    }
    name, width = wanted[place]
    assert {key: tuple(weight.shape) for key, weight in layers.items()} == {
        f"blocks.{layer}.{name}.weight": (4, width) for layer in range(2)
    }
    assert not torch.allclose(model(ids()), plain(ids()))
    for weight in layers.values():
        weight.zero_()
    torch.testing.assert_close(model(ids()), plain(ids()))


@torch.no_grad()
def test_queries_and_keys_are_normed() -> None:
    """So their size does not matter any more."""
    model = tiny_llama(qk_norm=True)
    before = model(ids())
    for block in model.blocks:
        block.get_parameter("qkv.weight")[:32] *= 7
    torch.testing.assert_close(model(ids()), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("llama_8l512d", 25.2), ("llama_12l512d", 37.8), ("llama_8l768d", 56.6), ("llama_12l768d", 84.9)],
)
def test_published_sizes(name: str, millions: float) -> None:
    """12 width^2 a layer: 4 in attention, 8 in an MLP of 8/3 width."""
    model = build_model(compose("curve", [f"model={name}"])["model"], vocab_size=60, positions=64, seed=0)
    inside = sum(weight.numel() for key, weight in model.named_parameters() if key.startswith("blocks."))
    assert inside / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize("name", ["tiny_gpt2", "llama", "llama_canon", "llama_looped", "mamba2"])
def test_files_of_conf_model_are_a_function_of_the_seed(name: str) -> None:
    config = compose("curve", [f"model={name}"])["model"]
    state = torch.random.get_rng_state()
    first, again, other = (build_model(config, vocab_size=60, positions=64, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (key, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), key
        constant = a.unique().numel() == 1 or key.endswith("A_log")  # norms and biases; of a Mamba, 1, 2, ...
        assert constant or not torch.equal(a, c), key
    assert any("canon" in key for key, _ in first.named_parameters()) == (name == "llama_canon")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"kind": "lama"}, "did you mean 'llama'"),
        ({"layers": 0}, "model.layers=0"),
        ({"heads": 3}, "multiple of"),
        ({"init_std": -1.0}, "model.init_std"),
        ({"canon": True}, "model.canon=True must be some of the letters ABCD"),
        ({"canon": "AE"}, "model.canon='AE' must be"),
        ({"canon": "AA"}, "model.canon='AA' must be"),
        ({"rope_fraction": 1.5}, "model.rope_fraction=1.5"),
        ({"loops": 0}, "model.loops=0"),
        ({"sliding_window": 0}, "model.sliding_window=0"),
        ({"depth": 3}, "model: unknown key 'depth'"),
    ],
)
def test_wrong_models_are_refused(change: dict[str, Any], line: str) -> None:
    config = compose("curve", ["model=llama"])["model"] | change
    with pytest.raises(ConfigError, match=line):
        build_model(config, vocab_size=60, positions=64, seed=0)


def pretrained(path: object) -> LanguageModel:
    config = {"kind": "from_pretrained", "name_or_path": None if path is None else str(path)}
    return build_model(config, vocab_size=18, positions=40, seed=0)


@torch.no_grad()
def test_pretrained_models_load_and_grow(tmp_path: Path) -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=48, n_layer=1, n_embd=8, n_head=2))
    for name, inner in (("gpt2", gpt2), ("llama", small_hf_llama(vocabulary=30))):
        inner.save_pretrained(tmp_path / name)
        model = pretrained(tmp_path / name).eval()
        tokens = ids() % 11
        kept = model(tokens)[..., :11]
        torch.testing.assert_close(kept, inner.eval()(tokens).logits[..., :11], rtol=1e-4, atol=1e-5)
        assert model(ids()).shape[-1] == (18 if name == "gpt2" else 30)


def test_pretrained_models_that_cannot_be_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=32, n_layer=1, n_embd=8, n_head=2)).save_pretrained(
        tmp_path / "short"
    )
    with pytest.raises(OstracaError, match="takes 32 tokens, but 40"):
        pretrained(tmp_path / "short")
    with pytest.raises(OstracaError, match="save_pretrained") as caught:
        pretrained(tmp_path / "nothing")
    assert "\n" not in str(caught.value)
    with pytest.raises(OstracaError, match=r"model.name_or_path is not set"):
        pretrained(None)


def test_a_head_that_does_more_is_not_taken_apart() -> None:
    inner = small_hf_llama()
    plain, forward = HuggingFace(inner), inner.forward
    assert plain.hidden(ids()).shape[-1] == 16

    def capped(*arguments: Any, **keys: Any) -> Any:
        output = forward(*arguments, **keys)
        output.logits = 2.0 * torch.tanh(output.logits / 2.0 + 0.1)
        return output

    inner.forward = capped
    model = HuggingFace(inner)
    torch.testing.assert_close(model(ids()), inner(ids()).logits)
    assert model.hidden(ids()).shape[-1] == 18
