"""Small settings and models whose answers are known, for the tests beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from harness.words import over
from torch import Tensor

from ostraca.cli import compose
from ostraca.training.models.base import LanguageModel
from ostraca.training.models.llama import Llama

# Two-token words out of 6, compact ids; an example has at most 1 + 5*4 + 3*6 = 39 tokens.
DEPO = {
    "N": 5,
    "K": 4,
    "M": 3,
    "mini_vocab": 6,
    "min_tlen": 1,
    "max_tlen": 2,
    "query_token_base": 12,
    "answer_token_id": 17,
}
VOCABULARY = 18


def train_words(out: Path, *overrides: str) -> list[str]:
    """`ostraca train` on `DEPO` with a model of a few thousand weights: a second or so."""
    dataset = [f"dataset.{key}={value}" for key, value in DEPO.items()]
    small = ["model=llama", "model.width=16", "model.heads=2", "model.layers=1"]
    if any(word.startswith("model=") for word in overrides):
        small = []
    brief = ["train.max_steps=4", "train.batch_size=4", "train.threads=1", "train.warmup_steps=2"]
    return over(f"out={out}", *dataset, *small, *brief, *overrides)


def curve_words(out: Path, *overrides: str) -> list[str]:
    """The same of `ostraca curve`."""
    measured = ["eval.every_steps=2", "eval.num_examples_per_hop=3", "eval.batch_size=2"]
    return train_words(out, *measured, *overrides)


def curve_config(out: Path, *overrides: str) -> dict[str, Any]:
    """The config that these words make."""
    return compose("curve", curve_words(out, *overrides))


def tiny_llama(*, seed: int = 0, vocabulary: int = VOCABULARY, layers: int = 2, **form: Any) -> Llama:
    """One or two thousand random weights, large enough that logits differ clearly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Llama(vocabulary, layers=layers, width=16, heads=2, init_std=0.5, **form)


class Oracle(LanguageModel):
    """Looks one token ahead: right everywhere, but wrong where the next token is in `wrong`."""

    def __init__(self, vocabulary: int, wrong: set[int] | None = None) -> None:
        super().__init__()
        self._vocabulary, self._wrong = vocabulary, wrong or set()

    def hidden(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        following = input_ids.roll(-1, dims=1)
        for token in self._wrong:
            following = torch.where(following == token, (token + 1) % self._vocabulary, following)
        return torch.nn.functional.one_hot(following, self._vocabulary).float()

    def head(self, hidden: Tensor) -> Tensor:
        return hidden
