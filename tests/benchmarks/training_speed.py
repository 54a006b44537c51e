"""How fast a model is trained: our loop, and `transformers`' Trainer on the same model and batches.

    python tests/benchmarks/run.py training

On a CPU the demo's models; on a GPU the published sizes, of which a step is 32 x 2,048 tokens of Depo1.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch

from ostraca.cli import compose
from ostraca.loaders import TaskSource, TokenStream
from ostraca.training.loop.data import StreamDataset
from ostraca.training.loop.parallel import spread
from ostraca.training.loop.ranks import Ranks, resolve_device
from ostraca.training.loop.train import Step, train
from ostraca.training.models.build import build_model
from ostraca.training.models.hugging_face import HuggingFace
from ostraca.training.settings import TrainSettings, read_settings
from ostraca.training.speed import memory_of, peak_of, work_of


def device() -> None:
    """Print what is trained on."""
    place = resolve_device("auto")
    print(json.dumps({"device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"}))


def _stream(words: list[str], batch_size: int, length: int) -> tuple[TokenStream, dict[str, Any], int]:
    config = compose("train", words)
    dataset = config["dataset"]
    source = TaskSource(dataset["task"], dataset["config"])
    return TokenStream(source, batch_size=batch_size, length=length), config, source.vocab_size


def ours(model: str, dataset: str, batch_size: str, length: str, warm: str, steps: str) -> None:
    """Print tokens/s, MFU, the share of time that data were waited for, ms a step and GiB.

    model: a file of conf/model, with further words after commas; `transformers` is its Llama at that size.
    """
    name, *more = model.split(",")
    theirs = name.removesuffix("@transformers") != name
    words = [f"dataset={dataset}", f"model={name.removesuffix('@transformers')}", *more]
    if dataset == "depo-demo":
        words.append("train=demo")
    stream, config, vocabulary = _stream(words, int(batch_size), int(length))
    settings = read_settings(TrainSettings, "train", config["train"])
    settings = replace(settings, max_steps=int(warm) + int(steps), batch_size=int(batch_size))
    place = resolve_device("auto")
    made = build_model(config["model"], vocab_size=vocabulary, positions=int(length), seed=0)
    built = HuggingFace(_hf_llama(config["model"], vocabulary, int(length))) if theirs else made
    work = work_of(made)
    at: list[tuple[float, Step]] = []
    for step in train(spread(built.to(place), settings, Ranks(place)), StreamDataset(stream)):
        if step.number in (int(warm), settings.max_steps):
            float(step.loss)  # waits for the GPU
            at.append((time.perf_counter(), step))
        elif step.number > int(warm):
            labels = step.labels
    (began, begin), (ended, end) = at
    seconds = ended - began
    tokens = end.tokens - begin.tokens
    peak = peak_of(place, None)
    flops = work.flops(tokens, labels * int(steps), int(length))
    found = {
        "tokens": tokens / seconds / 1e3,
        "mfu": 100 * flops / seconds / peak if peak else 0.0,
        "wait": 100 * (end.waited - begin.waited) / seconds,
        "ms": 1e3 * seconds / int(steps),
        "memory": memory_of(place),
    }
    print(json.dumps(found))


def _hf_llama(config: dict[str, Any], vocabulary: int, length: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    width = config["width"]
    heads = config["heads"] or width // 64
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=-(-8 * width // 24) * 8,
            num_hidden_layers=config["layers"],
            num_attention_heads=heads,
            max_position_embeddings=length,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def trainer(model: str, dataset: str, batch_size: str, length: str, warm: str, steps: str) -> None:
    """Print the tokens/s of `transformers`' Trainer on its Llama of the same size and the same batches."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    stream, config, vocabulary = _stream(
        [f"dataset={dataset}", f"model={model}"], int(batch_size), int(length)
    )

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.at: dict[int, float] = {}

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step in (int(warm), int(warm) + int(steps)):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self.at[state.global_step] = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=int(warm) + int(steps),
            per_device_train_batch_size=int(batch_size),
            learning_rate=1e-3,
            save_strategy="no",
            report_to=[],
            logging_steps=10**9,
            disable_tqdm=True,
            bf16=torch.cuda.is_available(),
            torch_compile=torch.cuda.is_available(),
            optim="adamw_torch_fused",
        )
        rows = stream.rows()
        Trainer(
            model=_hf_llama(config["model"], vocabulary, int(length)),
            args=arguments,
            train_dataset=rows,
            callbacks=[clock],
        ).train()
    first, last = (clock.at[step] for step in (int(warm), int(warm) + int(steps)))
    print(json.dumps({"tokens": int(steps) * int(batch_size) * int(length) / (last - first) / 1e3}))
