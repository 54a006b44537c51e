"""The loop: rate, decay groups, loss, and that it learns."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from small import DEPO, VOCABULARY, tiny_llama

from ostraca.cli import compose
from ostraca.loaders import TaskSource, TokenStream
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.training.loop.data import Batch, StreamDataset, labelled, parts_of
from ostraca.training.loop.objective import Objective
from ostraca.training.loop.parallel import spread
from ostraca.training.loop.ranks import Ranks
from ostraca.training.loop.schedule import learning_rate
from ostraca.training.loop.train import Step, isolated, make_optimizer, train
from ostraca.training.models.base import LanguageModel, labelled_logits
from ostraca.training.models.llama import Llama
from ostraca.training.settings import EvalSettings, TrainSettings, read_settings

CPU = torch.device("cpu")


def steps(model: LanguageModel, batches: StreamDataset, wanted: TrainSettings) -> Iterator[Step]:
    return train(spread(model, wanted, Ranks(CPU)), batches)


def sums(model: LanguageModel, batch: Batch, wanted: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    (part,) = parts_of(batch, 1, wanted.document_mask, CPU)
    loss, added = Objective(model, wanted, CPU)(part)
    return loss, added


def batch_loss(model: LanguageModel, batch: Batch, wanted: TrainSettings) -> torch.Tensor:
    return sums(model, batch, wanted)[0] / max(1, labelled(batch))


def settings(**changes: object) -> TrainSettings:
    values = compose("curve", [])["train"] | {"threads": 1} | changes
    return read_settings(TrainSettings, "train", values)


def data(count: int | None = None, length: int = 39, batch_size: int = 8) -> StreamDataset:
    source = TaskSource("depo", DEPO, count=count)
    epochs = None if count is None else 1
    return StreamDataset(TokenStream(source, batch_size=batch_size, length=length, epochs=epochs))


def test_loss_is_the_mean_over_labels_of_the_shifted_logits() -> None:
    model, batch = tiny_llama(), next(iter(data(length=117)))
    logits = model(batch["input_ids"])[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(batch_loss(model, batch, settings()), expected)
    masked = batch_loss(model, batch, settings(document_mask=True))
    logits = model(batch["input_ids"], batch["position_ids"])[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(masked, expected)
    assert abs((masked - batch_loss(model, batch, settings())).item()) > 1e-4


def test_a_batch_without_labels_is_no_step_into_nan() -> None:
    batch = next(iter(data()))
    batch["labels"] = torch.full_like(batch["labels"], -100)
    loss = batch_loss(tiny_llama(), batch, settings())
    assert loss.item() == 0.0
    loss.backward()


@pytest.mark.parametrize("canon", ["", "ABCD"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_learns(canon: str, precision: str) -> None:
    with isolated(0, 1):
        model = Llama(VOCABULARY, layers=1, width=16, heads=2, canon=canon, init_std=0.06)
        wanted = settings(max_steps=40, warmup_steps=5, learning_rate=0.01, precision=precision)
        losses = [float(step.loss) for step in steps(model, data(), wanted)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_learning_rate_rises_then_falls_to_its_ratio() -> None:
    wanted = settings(max_steps=100, warmup_steps=10, learning_rate=1.0, min_learning_rate_ratio=0.2)
    rates = [learning_rate(number, wanted) for number in range(1, 101)]
    assert rates[:10] == pytest.approx([number / 10 for number in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[54] == pytest.approx(0.6)
    assert rates[-1] == pytest.approx(0.2)
    assert learning_rate(1, dataclasses.replace(wanted, warmup_steps=0, max_steps=1)) > 0


def rates_of(**changes: object) -> list[float]:
    wanted = settings(
        max_steps=100, warmup_steps=10, learning_rate=1.0, min_learning_rate_ratio=0.2, **changes
    )
    return [learning_rate(number, wanted) for number in range(1, 101)]


def test_other_schedules_rise_alike() -> None:
    up = [number / 10 for number in range(1, 11)]
    linear = rates_of(schedule="linear")
    assert linear == pytest.approx(up + [1 - 0.8 * number / 90 for number in range(1, 91)])
    assert rates_of(schedule="constant") == pytest.approx([*up, *[1.0] * 90])
    for steps, decay in ((20, 20), (None, 9), (90, 90), (500, 90)):
        falling = [1 - 0.8 * number / decay for number in range(1, decay + 1)]
        wanted = [*up, *[1.0] * (90 - decay), *falling]
        assert rates_of(schedule="wsd", decay_steps=steps) == pytest.approx(wanted)
    assert rates_of(schedule="wsd", decay_steps=0) == pytest.approx([*up, *[1.0] * 90])


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_worked_on_in_parts_is_the_same_step(parts: int) -> None:
    """Parts have different numbers of labels; the mean is over all of them."""
    found = []
    for number in (1, parts):
        model = tiny_llama(canon="AC").double()
        wanted = settings(max_steps=3, warmup_steps=0, parts=number, z_loss=0.01)
        losses = [step.loss for step in steps(model, data(length=117), wanted)]
        found.append([*losses, *model.parameters()])
    for whole, divided in zip(*found, strict=True):
        torch.testing.assert_close(divided.double(), whole.double(), rtol=1e-5, atol=1e-6)


def test_z_loss_is_the_squared_logarithm_of_the_sum() -> None:
    model, batch = tiny_llama(), next(iter(data()))
    loss, added = sums(model, batch, settings(z_loss=0.5))
    logits, targets = labelled_logits(model, batch["input_ids"], batch["labels"])
    summed = logits.exp().sum(-1).log()
    torch.testing.assert_close(added, 0.5 * (summed**2).sum())
    torch.testing.assert_close(loss, (summed - logits.gather(1, targets[:, None])[:, 0]).sum())
    assert len(targets) == labelled(batch)


def test_decay_spares_norms_embeddings_and_canon() -> None:
    model = tiny_llama(canon="AC")
    decayed, spared = make_optimizer(model, settings(weight_decay=0.5)).param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.5
    assert spared["weight_decay"] == 0.0
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    for parameter in spared["params"]:
        assert any(word in names[parameter] for word in ("norm", "embedding", "canon"))
    for parameter in decayed["params"]:
        assert not any(word in names[parameter] for word in ("norm", "embedding", "canon"))


def test_data_that_ends_is_told() -> None:
    with pytest.raises(OstracaError, match=r"ended after \d+ of train.max_steps=400"):
        list(steps(tiny_llama(), data(count=20), settings()))


def test_global_state_is_put_back() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with isolated(1, threads + 1):
        torch.rand(3)
        assert torch.get_num_threads() == threads + 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dataset_shares_memory_and_resumes() -> None:
    stream = TokenStream(TaskSource("depo", DEPO), batch_size=2, length=40)
    dataset = StreamDataset(stream)
    batches = iter(dataset)
    first = next(batches)
    assert set(first) == {"input_ids", "labels", "position_ids"}
    assert {(value.dtype, tuple(value.shape)) for value in first.values()} == {(torch.int64, (2, 40))}
    state = dataset.state_dict()
    assert dataset.examples_seen == int((first["position_ids"] == 0).sum())
    second = next(batches)
    other = data(length=40, batch_size=2)
    other.load_state_dict(state)
    assert torch.equal(next(iter(other))["input_ids"], second["input_ids"])


def test_dataset_goes_through_a_data_loader() -> None:
    loader = torch.utils.data.DataLoader(data(), batch_size=None)
    assert torch.equal(next(iter(loader))["input_ids"], next(iter(data()))["input_ids"])


@pytest.mark.parametrize(
    ("section", "change", "line"),
    [
        ("train", {"max_step": 3}, "did you mean 'max_steps'"),
        ("train", {"batch_size": 0}, "train.batch_size=0 must be an integer, 1 or more"),
        ("train", {"betas": 0.9}, "must be a list"),
        ("train", {"betas": [0.9]}, "train.betas"),
        ("train", {"learning_rate": "fast"}, "must be a number"),
        ("train", {"precision": "float16"}, "bfloat16"),
        ("train", {"document_mask": 1}, "true or false"),
        ("train", {"schedule": "cosin"}, "did you mean 'cosine'"),
        ("train", {"parts": 3}, r"train.parts=3 does not divide train.batch_size=8"),
        ("eval", {"hops": [1.5]}, "must be an integer"),
        ("eval", {"qa": "yes"}, "true or false"),
    ],
)
def test_wrong_settings_are_refused(section: str, change: dict[str, object], line: str) -> None:
    values = compose("curve", [])[section] | change
    with pytest.raises(ConfigError, match=line):
        read_settings({"train": TrainSettings, "eval": EvalSettings}[section], section, values)


def test_a_missing_key_is_named() -> None:
    values = compose("curve", [])["eval"]
    del values["qa"]
    with pytest.raises(ConfigError, match=r"eval\.qa is missing"):
        read_settings(EvalSettings, "eval", values)


def test_a_program_that_ends_in_the_midst_of_training_says_nothing() -> None:
    """What is still held then is taken away after Python's own modules."""
    code = """
import torch
from ostraca.cli import compose
from ostraca.loaders import TaskSource, TokenStream
from ostraca.training.loop.data import StreamDataset
from ostraca.training.loop.parallel import spread
from ostraca.training.loop.ranks import Ranks
from ostraca.training.loop.train import train
from ostraca.training.models.build import build_model
from ostraca.training.settings import TrainSettings, read_settings

config = compose("curve", ["dataset=depo-demo", "model=llama", "train=demo"])
source = TaskSource("depo", config["dataset"]["config"])
data = StreamDataset(TokenStream(source, batch_size=2, length=43))
model = build_model(config["model"], vocab_size=source.vocab_size, positions=43, seed=0)
settings = read_settings(TrainSettings, "train", config["train"])
steps = train(spread(model, settings, Ranks(torch.device("cpu"))), data)
next(steps)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
