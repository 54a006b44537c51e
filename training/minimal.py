"""`ostraca train-minimal`: a tiny GPT-2 takes a few steps on a task; the smallest check that all fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..loaders import TaskSource, TokenStream
from ..tasks import get_task
from ..tasks.errors import check_integer
from ..tasks.examples import check_seed
from .evaluate.hops import score_hop
from .evaluate.tokens import score_tokens
from .loop.data import StreamDataset
from .loop.parallel import spread
from .loop.ranks import Ranks, resolve_device
from .loop.train import isolated, train
from .models.build import build_model
from .settings import TrainSettings, read_settings

MAX_LENGTH = 1024  # tokens a window, unless train.context_length says otherwise


def run(config: Mapping[str, Any]) -> None:
    """Train as conf/train-minimal.yaml says; prints the loss as it falls and the accuracy at the end."""
    settings = read_settings(TrainSettings, "train", config["train"])
    seed, every = check_seed(config["seed"]), check_integer("print_every", config["print_every"], 1)
    dataset, eval_examples = config["dataset"], check_integer("eval_examples", config["eval_examples"], 1)
    task = get_task(dataset["task"])
    source = TaskSource(task.name, dataset["config"], seed=seed)
    length = settings.context_length or min(int(task.max_tokens(source.config)), MAX_LENGTH)
    stream = TokenStream(source, batch_size=settings.batch_size, length=length, mode=settings.packing)
    data = StreamDataset(stream)
    test = TaskSource(task.name, dataset["config"], seed=seed, split="eval", count=eval_examples)
    device = resolve_device(settings.device)
    with isolated(seed, settings.threads):
        vocabulary = source.vocab_size
        model = build_model(config["model"], vocab_size=vocabulary, positions=length, seed=seed).to(device)
        losses: list[float] = []
        for step in train(spread(model, settings, Ranks(device)), data):
            losses.append(float(step.loss))
            if step.number % every == 0 or step.number == settings.max_steps:
                print(f"step {step.number:>4}  loss {sum(losses) / len(losses):.3f}", flush=True)
                losses.clear()
        batches = StreamDataset(
            TokenStream(
                test,
                batch_size=settings.batch_size,
                length=length,
                mode="padded",
                shuffle=False,
                epochs=1,
                remainder="pad",
            )
        )
        if task.hops is not None:
            answer = task.hops.answer(source.config)
            score = score_hop(model, batches, answer, device=device, precision=settings.precision)
            chance = task.hops.chance(source.config)
            line = f"answers right: {score.accuracy:.1%} of {score.answers:,} (chance {chance:.1%})"
        else:
            learned = score_tokens(model, batches, device=device, precision=settings.precision)
            line = f"tokens in the loss right: {learned.accuracy:.1%} of {learned.tokens:,}"
    print(line)
