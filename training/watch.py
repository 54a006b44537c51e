"""What is seen of a run while it goes on: rows of metrics.csv, lines, TensorBoard, Weights & Biases."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO, final

from .loop.losses import Losses
from .loop.ranks import Ranks
from .loop.schedule import learning_rate
from .loop.train import Done, Step
from .record import STEPS, MetricsCsv, TensorBoard, Wandb
from .settings import LoggingSettings, TrainSettings, WandbSettings
from .speed import Work, memory_of, peak_of

METRICS = "metrics.csv"


@dataclass(frozen=True, kw_only=True)
class Logging:
    """What is written down, and where."""

    settings: LoggingSettings
    wandb: WandbSettings
    out: Path
    config: Mapping[str, Any]


@final
class Watch:
    """Writes down what a run does; on other ranks than the main one it only helps to find what is written.

    up_to: the step after which the run goes on; None: it begins.
    """

    def __init__(
        self, logging: Logging, train: TrainSettings, ranks: Ranks, work: Work, up_to: int | None
    ) -> None:
        self._logging, self._train, self._ranks, self._work = logging, train, ranks, work
        self._up_to = up_to
        self.out = logging.out
        self._peak = peak_of(ranks.device, logging.settings.peak_tflops)
        self._since = _Since()
        self._progress = Progress(train.max_steps, sys.stderr if ranks.main else None)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        out, wanted = self._logging.out, self._ranks.main
        if wanted:
            enter = self._stack.enter_context
            self._wandb = enter(Wandb(self._logging.wandb, self._logging.config, out))
            self._board = enter(TensorBoard(self._logging.settings.tensorboard, out, self._up_to))
            self._table = enter(MetricsCsv(out / METRICS, STEPS, self._up_to))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.clear()
        self._stack.__exit__(kind, error, trace)

    def begin(self, done: Done) -> None:
        """The run begins, or goes on after what it has done."""
        self._since = _Since(tokens=done.tokens, seconds=done.seconds, waited=done.waited)

    def due(self, number: int) -> bool:
        """Whether a row is written after this step."""
        return number % self._logging.settings.every_steps == 0 or number == self._train.max_steps

    def step(self, step: Step) -> None:
        """A step was made."""
        self._since.labels += step.labels
        self._progress.show(step, self._ranks.world_size)

    def row(self, step: Step, losses: Losses, examples: int, quiet: bool) -> None:
        """Write the row of this step, and its line where there is a pipe. quiet: another line tells of it."""
        loss, since = losses.mean(), self._since
        losses.clear()
        tokens = step.tokens - since.tokens
        seconds = max(step.seconds - since.seconds, 1e-9)
        flops = self._work.flops(tokens, since.labels, step.length)
        values = {
            "train_loss": loss,
            "gradient_norm": math.nan if step.norm is None else float(step.norm),
            "learning_rate": learning_rate(step.number, self._train),
            "tokens_per_second": tokens / seconds,
            "mfu": math.nan if self._peak is None else flops / seconds / self._peak / self._ranks.world_size,
            "data_wait": (step.waited - since.waited) / seconds,
            "memory_gib": memory_of(self._ranks.device),
        }
        self._since = _Since(tokens=step.tokens, seconds=step.seconds, waited=step.waited)
        if not self._ranks.main:
            return
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        written = {name: _FORMS[name].format(value) for name, value in known.items()}
        counts = {"step": step.number, "examples_seen": examples, "tokens_seen": step.tokens}
        row = {**dict.fromkeys(STEPS, ""), **counts, **written, "train_seconds": f"{step.seconds:.2f}"}
        self._table.write(row)
        self.log({**known, "examples_seen": float(examples), "tokens_seen": float(step.tokens)}, step.number)
        if not self._progress.live and not quiet:
            print(self._line(step, values), flush=True)

    def _line(self, step: Step, values: Mapping[str, float]) -> str:
        parts = [
            f"step {step.number:>6,} of {self._train.max_steps:,}",
            f"loss {values['train_loss']:.3f}",
            f"{values['tokens_per_second'] / 1000:,.0f}k tokens/s",
        ]
        if not math.isnan(values["mfu"]):
            parts.append(f"MFU {values['mfu']:.1%}")
        parts += [f"data {values['data_wait']:.1%}", f"{values['memory_gib']:.1f} GiB"]
        left = step.seconds / step.number * (self._train.max_steps - step.number)
        return "  ".join([*parts, f"{_time(left)} left"])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Tell the trackers."""
        if self._ranks.main:
            self._wandb.log(values, step)
            self._board.log(values, step)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._progress.clear()
        if self._ranks.main:
            print(line, flush=True)


_FORMS = {
    "train_loss": "{:.6f}",
    "gradient_norm": "{:.4f}",
    "learning_rate": "{:.3e}",
    "tokens_per_second": "{:.0f}",
    "mfu": "{:.4f}",
    "data_wait": "{:.4f}",
    "memory_gib": "{:.3f}",
}


@dataclass(kw_only=True)
class _Since:
    """Counts at the last row, and labels since."""

    tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    labels: int = 0


def _time(seconds: float) -> str:
    """In the two units that people would say."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 6000:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """A line that is written over: step, loss, tokens a second, time left. Nothing where it is a pipe."""

    def __init__(self, steps: int, stream: TextIO | None) -> None:
        self._steps, self._stream, self._shown, self._next = steps, stream, False, 0.0
        self.live = stream is not None and stream.isatty()

    def show(self, step: Step, world_size: int = 1) -> None:
        """Show `step`, at most four times a second (reading the loss waits for the GPU)."""
        if not self.live or self._stream is None or time.perf_counter() < self._next:
            return
        self._next = time.perf_counter() + 0.25
        left = step.seconds / step.number * (self._steps - step.number)
        rate = step.tokens / max(step.seconds, 1e-9)
        # Of this rank's share of the batch, which is as good as any.
        loss = float(step.loss) * world_size
        self._stream.write(
            f"\r\033[Kstep {step.number:,} of {self._steps:,}  loss {loss:.3f}  "
            f"{rate / 1000:,.0f}k tokens/s  {_time(left)} left"
        )
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Remove the line, so that a lasting one can be printed."""
        if self._shown and self._stream is not None:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._shown = False
