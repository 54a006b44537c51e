"""The training loop: AdamW, warm-up and cosine, loss on the labelled tokens alone."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..tasks.errors import OstracaError
from .base import LanguageModel, labelled_logits
from .canon import Canon
from .data import Batch, to_device
from .settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one training step did."""

    number: int  # of this step, from 1
    loss: Tensor  # float32 [], mean over the batch's labels, nats; on the model's device
    tokens: int  # seen so far, of this step too
    seconds: float  # spent in steps so far; on a GPU the work may still be under way


def train(
    model: LanguageModel, batches: Iterable[Batch], settings: TrainSettings, device: torch.device
) -> Iterator[Step]:
    """Train `model` in place for `settings.max_steps` steps, giving a record after each.

    The caller may evaluate between two steps: each begins with `model.train()`. OstracaError where the
    batches end early.
    """
    optimizer = make_optimizer(model, settings)
    source = iter(batches)
    tokens, seconds = 0, 0.0
    for number in range(1, settings.max_steps + 1):
        begin = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            raise OstracaError(f"the data ended after {number - 1} of train.max_steps={settings.max_steps}")
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, settings)
        loss = batch_loss(model, to_device(batch, device), settings, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.grad_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
        optimizer.step()
        tokens += batch["input_ids"].numel()
        seconds += time.perf_counter() - begin
        yield Step(number=number, loss=loss.detach(), tokens=tokens, seconds=seconds)


def batch_loss(model: LanguageModel, batch: Batch, settings: TrainSettings, device: torch.device) -> Tensor:
    """Mean cross entropy over the labelled tokens, float32 []."""
    positions = batch["position_ids"] if settings.document_mask else None
    with autocast(settings.precision, device):
        logits, targets = labelled_logits(model, batch["input_ids"], batch["labels"], positions)
    if len(targets) == 0:  # a batch of cut-off examples only; the mean over nothing would be NaN
        return logits.float().sum()
    return functional.cross_entropy(logits.float(), targets)


def learning_rate(number: int, settings: TrainSettings) -> float:
    """Rate of step `number` (from 1): a line up to warmup_steps, then half a cosine down to the ratio."""
    if number <= settings.warmup_steps:
        return settings.learning_rate * number / settings.warmup_steps
    rest = max(1, settings.max_steps - settings.warmup_steps)
    fallen = 0.5 * (1 - math.cos(math.pi * (number - settings.warmup_steps) / rest))
    return settings.learning_rate * (1 - (1 - settings.min_learning_rate_ratio) * fallen)


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices alone: neither norms and biases nor embeddings and Canon weights."""
    spared = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding | Canon)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim >= 2 and parameter not in spared].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": settings.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bfloat16 products under master weights of float32; `auto` is bfloat16 on a GPU alone."""
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextlib.contextmanager
def isolated(seed: int, threads: int | None) -> Iterator[None]:
    """Torch with its own random state and number of threads; both are put back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
