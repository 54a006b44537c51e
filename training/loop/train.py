"""The training loop: AdamW, a schedule, loss on the labelled tokens alone."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...tasks.errors import OstracaError
from ..models.canon import Canon
from ..settings import TrainSettings
from ..whole import whole_of
from .data import Batch, labelled, parts_of
from .parallel import Spread
from .schedule import learning_rate
from .sums import TreeSum


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one training step did."""

    number: int  # of this step, from 1
    summed: Tensor  # float32 [], loss over this rank's labels, nats; on the model's device
    norm: Tensor | None  # float32 [], of the gradient before it was clipped; None: it was not looked at
    labels: int  # tokens in the loss, of all ranks
    length: int  # tokens of a window
    tokens: int  # of all ranks and steps so far, of this one too
    waited: float  # seconds so far, for data
    stop: bool  # whether a rank was asked to stop

    @property
    def loss(self) -> Tensor:
        """This rank's share of the mean over the global batch's labels, nats: float32 []."""
        return self.summed / max(self.labels, 1)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run has behind it."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0


def train(
    spread: Spread,
    batches: Iterable[Batch],
    *,
    optimizer: torch.optim.Optimizer | None = None,
    done: Done | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Train a model in place up to step `train.max_steps`, giving a record after each.

    batches: this rank's share of the global ones. optimizer, done: of a run that goes on, whose batches begin
    with the next one. The caller may evaluate
    between two steps: each begins with `model.train()`. OstracaError where the batches end early.
    """
    model, settings, ranks = spread.model, spread.settings, spread.ranks
    optimizer = make_optimizer(model, settings) if optimizer is None else optimizer
    source = iter(batches)
    done = done or Done()
    tokens, waited = done.tokens, done.waited
    for number in range(done.steps + 1, settings.max_steps + 1):
        begin = time.perf_counter()
        batch = next(source, None)
        waited += time.perf_counter() - begin
        if batch is None:
            raise OstracaError(f"the data ended after {number - 1} of train.max_steps={settings.max_steps}")
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, settings)
        optimizer.zero_grad(set_to_none=True)
        told = ranks.total(torch.tensor([labelled(batch), asked_to_stop()], dtype=torch.int64)).tolist()
        summed = _backward(spread, batch, max(told[0], 1), number)
        norm = None
        if settings.grad_clip is not None:
            norm = whole_of(nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip))
        optimizer.step()
        tokens += batch["input_ids"].numel() * ranks.world_size
        yield Step(
            number=number,
            summed=summed,
            norm=norm,
            labels=told[0],
            length=batch["input_ids"].shape[1],
            tokens=tokens,
            waited=waited,
            stop=told[1] > 0,
        )


def _backward(spread: Spread, batch: Batch, labels: int, step: int) -> Tensor:
    """Gradients of a global batch with so many labels, part after part; the loss summed over this rank's.

    What is random in the model is a function of seed, step and part.
    """
    settings, ranks = spread.settings, spread.ranks
    count = settings.parts_a_rank(ranks.world_size)
    exact = spread.kind == "sum" and ranks.device.type == "cpu" and count * ranks.world_size > 1
    tree, total = TreeSum(), torch.zeros((), device=ranks.device)
    for number, part in enumerate(parts_of(batch, count, settings.document_mask, ranks.device)):
        torch.manual_seed(_seed(spread.seed, step, ranks.rank * count + number))
        loss = spread.backward(part, number == count - 1, 1 / labels)
        if exact:
            tree.add([loss, *_taken(spread.model, ranks.device)])
        else:
            total += loss
    if not exact:
        return total
    total, has, *gradients = tree.total()
    ranks.add_up([has, *gradients])
    for parameter, found, gradient in zip(_trained(spread.model), has.tolist(), gradients, strict=True):
        parameter.grad = gradient if found else None
    return total


def _seed(seed: int, step: int, part: int) -> int:
    """Of what is random in the model while it works on a part, whoever does."""
    address = f"{seed} {step} {part}".encode()
    return int.from_bytes(hashlib.blake2b(address, digest_size=8).digest(), "big") >> 1


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _taken(model: nn.Module, device: torch.device) -> list[Tensor]:
    """Which parameters have a gradient, 0 or 1 each, and the gradients, which they lose; zeros for none."""
    has, found = [], []
    for parameter in _trained(model):
        gradient, parameter.grad = parameter.grad, None
        has.append(gradient is not None)
        found.append(torch.zeros_like(parameter) if gradient is None else gradient)
    return [torch.tensor(has, dtype=torch.float32, device=device), *found]


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices alone: neither norms and biases nor embeddings and Canon weights."""
    spared = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding | Canon)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in _trained(model):
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


@contextlib.contextmanager
def isolated(seed: int, threads: int | None, device: torch.device | None = None) -> Iterator[None]:
    """Torch with its own random state, also of a GPU, and number of threads; put back afterwards."""
    before = torch.get_num_threads()
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
