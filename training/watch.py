"""What is seen of a run while it goes on: rows of metrics.csv, lines, TensorBoard, Weights & Biases."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, final

from ..tasks.errors import OstracaError
from .loop.clock import Clock
from .loop.losses import Losses
from .loop.parallel import Spread
from .loop.schedule import learning_rate
from .loop.train import Done, Step
from .record import STEPS, MetricsCsv, TensorBoard, Wandb
from .settings import LoggingSettings, WandbSettings
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
    """Writes down what a run does; on other ranks than the main one it only helps to find what is written."""

    def __init__(self, logging: Logging, spread: Spread, work: Work, clock: Clock) -> None:
        self.out = logging.out
        self._logging, self._train, self._ranks = logging, spread.settings, spread.ranks
        self._work, self._clock = work, clock
        self._peak = peak_of(self._ranks.device, logging.settings.peak_tflops)
        self._since = _Since()
        self._begun = (0, time.perf_counter())  # steps that were made before, and when this process began
        self._progress = Progress(sys.stderr if self._ranks.main else None)

    @contextmanager
    def opened(self, up_to: int | None) -> Iterator[None]:
        """What is written to, on the main rank. up_to: the step after which it goes on; None: it begins."""
        with (
            Wandb(self._logging.wandb, self._logging.config, self.out, up_to is not None) as self._wandb,
            TensorBoard(self._logging.settings.tensorboard, self.out, up_to) as self._board,
            MetricsCsv(self.out / METRICS, STEPS, up_to) as self._table,
        ):
            try:
                yield
            finally:
                self._progress.clear()

    def begin(self, done: Done) -> None:
        """The run begins, or goes on after what it has done."""
        self._since = _Since(tokens=done.tokens, seconds=done.seconds, waited=done.waited)
        self._begun = done.steps, time.perf_counter()

    def due(self, number: int) -> bool:
        """Whether a row is written after this step."""
        return number % self._logging.settings.every_steps == 0 or number == self._train.max_steps

    def step(self, step: Step) -> None:
        """A step was made."""
        self._since.labels += step.labels
        if self._progress.due():
            # Of this rank's share of the batch, which is as good as any.
            loss = float(step.loss) * self._ranks.world_size
            self._progress.show(self._line(step, {**self._values(step), "train_loss": loss}))

    def _values(self, step: Step) -> dict[str, float]:
        """What was measured since the last row, but the loss."""
        since, seconds = self._since, max(self._clock.seconds() - self._since.seconds, 1e-9)
        tokens = step.tokens - since.tokens
        flops = self._work.flops(tokens, since.labels, step.length)
        return {
            "learning_rate": learning_rate(step.number, self._train),
            "tokens_per_second": tokens / seconds,
            "mfu": math.nan if self._peak is None else flops / seconds / self._peak / self._ranks.world_size,
            "data_wait": (step.waited - since.waited) / seconds,
            "memory_gib": memory_of(self._ranks.device),
        }

    def row(self, step: Step, losses: Losses, examples: int, quiet: bool) -> None:
        """Write the row of this step, and its line where there is a pipe. quiet: another line tells of it.

        OstracaError where none of its steps had a label.
        """
        loss = losses.mean()  # waits for the GPU, so that the clock is right
        losses.clear()
        if not self._since.labels:
            raise OstracaError(
                f"no token of the steps up to {step.number} was in the loss: with "
                f"train.context_length={step.length} examples are cut before there is one; set more, or null"
            )
        norm = math.nan if step.norm is None else float(step.norm)
        values = {"train_loss": loss, "gradient_norm": norm, **self._values(step)}
        seconds = self._clock.seconds()
        self._since = _Since(tokens=step.tokens, seconds=seconds, waited=step.waited)
        with self._ranks.on_main() as mine:
            if not mine:
                return
            known = {name: value for name, value in values.items() if not math.isnan(value)}
            written = {name: _FORMS[name].format(value) for name, value in known.items()}
            counts = {"step": step.number, "examples_seen": examples, "tokens_seen": step.tokens}
            times = {"train_seconds": f"{seconds:.2f}"}
            self._table.write({**dict.fromkeys(STEPS, ""), **counts, **written, **times})
            sent = {**known, "examples_seen": float(examples), "tokens_seen": float(step.tokens)}
            self.log(sent, step.number)
            # On a terminal the line that is written over tells of all but the last.
            live = self._progress.live and sys.stdout.isatty()
            if not quiet and (not live or step.number == self._train.max_steps):
                self.say(self._line(step, values))

    def _line(self, step: Step, values: Mapping[str, float]) -> str:
        parts = [
            f"step {step.number:>6,} of {self._train.max_steps:,}",
            f"loss {values['train_loss']:.3f}",
            f"rate {values['learning_rate']:.1e}",
            f"{values['tokens_per_second'] / 1000:,.0f}k tokens/s",
        ]
        if not math.isnan(values["mfu"]):
            parts.append(f"MFU {values['mfu']:.1%}")
        parts += [f"data {values['data_wait']:.1%}", f"{values['memory_gib']:.1f} GiB"]
        # All that there is counts here, evaluations and checkpoints too.
        steps, since = self._begun
        pace = (time.perf_counter() - since) / max(step.number - steps, 1)
        return "  ".join([*parts, f"{_time(pace * (self._train.max_steps - step.number))} left"])

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
    """How the counts stood at the last row; and the labels since."""

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


@final
class Progress:
    """A line that is written over. Nothing where it is a pipe."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream, self._shown, self._next = stream, False, 0.0
        self.live = stream is not None and stream.isatty()

    def due(self) -> bool:
        """Whether to show it: four times a second at most, since reading the loss waits for the GPU."""
        if not self.live or time.perf_counter() < self._next:
            return False
        self._next = time.perf_counter() + 0.25
        return True

    def show(self, line: str) -> None:
        """Show a line in place of the last."""
        if self._stream is not None:
            self._stream.write(f"\r\033[K{line}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Remove the line, so that a lasting one can be printed."""
        if self._shown and self._stream is not None:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._shown = False
