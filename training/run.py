"""`ostraca train`: train a model on the stream, written down and saved so that no run is lost."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from ..loaders import TokenStream
from ..pipeline.build.jobs.stopping import Stopped, held_back
from ..pipeline.store.atomic import lock, plain_errors
from ..pipeline.store.folder import Folder
from ..pipeline.store.open import open_folder
from ..tasks.core.paths import local_path
from ..tasks.errors import ConfigError, OstracaError, check_path, first_line
from . import on_ray
from .checkpoints import Checkpoints
from .going import Going
from .loop.data import StreamDataset
from .loop.losses import DivergedError
from .loop.parallel import spread
from .loop.ranks import Ranks, ranks_of
from .loop.schedule import learning_rate
from .loop.train import Done, Step, isolated, train
from .models.base import LanguageModel
from .models.build import build_model
from .run_folder import claim, run_of
from .seeds import for_seeds
from .settings import LoggingSettings, TrainSettings, WandbSettings, read_settings
from .source import Data, Seeds, open_data
from .speed import work_of
from .stop import Stop
from .watch import METRICS, Logging, Watch

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an evaluation found."""

    values: Mapping[str, float]  # for the trackers
    line: str  # for people


class Evaluation(Protocol):
    """Measures the model at step 0, every so many steps and at the end."""

    every_steps: int
    longest: int  # tokens of its longest example

    def opened(self, out: Path, up_to: int | None) -> AbstractContextManager[None]:
        """Its file in `out`, of whose rows those up to a step stay; on the main rank alone."""

    def __call__(self, model: LanguageModel, number: int, at: Mapping[str, Any], ranks: Ranks) -> Measured:
        """Measure, on all ranks together, for the `number`-th time; the main one writes rows with `at`."""

    def end(self, out: Path) -> str:
        """Draw what is to be drawn once all is done; what is said of it."""


Evaluator = Callable[[Mapping[str, Any], Data, Seeds], Evaluation]


def run(config: Mapping[str, Any]) -> None:
    """Train as conf/train.yaml says."""
    for_seeds("train", config, training)


def training(config: Mapping[str, Any], evaluator: Evaluator | None = None) -> Path:
    """Train, on Ray where that is wanted, and measure where there is an evaluator; the folder of the run."""
    if on_ray.wanted(config):
        read_settings(TrainSettings, "train", config["train"])  # before Ray is started
        return on_ray.train_on_ray(config, partial(one_run, evaluator))
    return one_run(evaluator, config, Stop())


def one_run(evaluator: Evaluator | None, config: Mapping[str, Any], stop: Stop) -> Path:
    """A run of which this process is one of the ranks; the folder in which it is written down.

    A run that was stopped there goes on; ConfigError where the folder holds another one. Everything that can
    be refused is refused before the first step. OstracaError says why in one line.
    """
    settings = read_settings(TrainSettings, "train", config["train"])
    seeds = Seeds.of(config)
    given = dict(config["logging"])
    wandb = read_settings(WandbSettings, "logging.wandb", given.pop("wandb"))
    logging = read_settings(LoggingSettings, "logging", given)
    data = open_data(config, seeds)
    evaluation = None if evaluator is None else evaluator(config, data, seeds)
    out = local_path(check_path("out", config["out"] or f"runs/{data.name}-{config['model']['name']}"))
    longest = data.longest() if evaluation is None else evaluation.longest
    if evaluation is not None and len(data.sources) > 1:
        longest = max(longest, data.longest())
    length = context_length(settings.context_length, longest, data.row_length, evaluation is not None)
    with (
        ranks_of(settings.device) as ranks,
        isolated(seeds.init, settings.threads, ranks.device),
        _memory_told(),
    ):
        settings.parts_a_rank(ranks.world_size)
        stream = TokenStream(
            data.source,
            batch_size=settings.batch_size,
            length=length,
            mode=settings.packing,
            seed=seeds.order,
        )
        vocabulary = data.source.vocab_size
        model = build_model(config["model"], vocab_size=vocabulary, positions=length, seed=seeds.init)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        work = work_of(model)
        if settings.document_mask:  # refused where the model cannot keep examples apart
            model.hidden(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[0, 1, 0, 1]]))
        laid = spread(model.to(ranks.device), settings, ranks, seeds.init)
        if ranks.main:
            print(_title(config, parameters, vocabulary, length, settings, ranks), flush=True)
        run_here = run_of(config, seeds, data.source.identity)
        kept = open_folder(settings.checkpoint_folder or str(out / CHECKPOINTS))
        checkpoints = Checkpoints(kept, settings.keep_checkpoints)
        with ExitStack() as stack:
            with ranks.on_main() as mine:
                if mine:
                    stack.enter_context(_folder(out, run_here, settings.checkpoint_folder))
                    stack.enter_context(_alone_in(kept, settings.checkpoint_folder))
                    kept.remove_unfinished()
                    checkpoints.require_writable()
            data_here = StreamDataset(stream)
            going = Going.at_last(data_here, laid, checkpoints, run_here, evaluation is not None)
            up_to = going.done.steps if going.goes_on else None
            watch = Watch(
                Logging(settings=logging, wandb=wandb, out=out, config=config), laid, work, going.clock
            )
            with ranks.on_main() as mine:
                if mine:
                    stack.enter_context(plain_errors(out))
                    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
                    stack.enter_context(watch.opened(up_to))
                    if evaluation is not None:
                        stack.enter_context(evaluation.opened(out, up_to))
            _Run(going=going, watch=watch, evaluation=evaluation, stop=stop).all_of_it()
            with ranks.on_main() as mine:
                if mine:
                    watch.say(f"wrote {out / METRICS}" + ("" if evaluation is None else evaluation.end(out)))
    return out


def _title(
    config: Mapping[str, Any],
    parameters: int,
    vocabulary: int,
    length: int,
    settings: TrainSettings,
    ranks: Ranks,
) -> str:
    where = str(ranks.device) if ranks.world_size == 1 else f"{ranks.world_size} x {ranks.device.type}"
    return (
        f"{config['model'].get('name', 'model')}: {parameters:,} parameters, {vocabulary:,} ids, "
        f"{settings.batch_size} x {length:,} tokens a step, on {where}"
    )


@contextmanager
def _folder(out: Path, run_here: Mapping[str, Any], checkpoints: str | None) -> Iterator[None]:
    """Hold a folder for this run; ConfigError where it holds another, OstracaError where one is going on."""
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".run" / "lock", "run"):
        with plain_errors(out):
            claim(out, run_here, checkpoints)
        yield


def _alone_in(kept: Folder, asked: str | None) -> AbstractContextManager[Any]:
    """Hold a checkpoint folder of the user's own: two runs would remove one another's."""
    return nullcontext() if asked is None else kept.lock(".run/lock")


@contextmanager
def _memory_told() -> Iterator[None]:
    """One line where there is too little memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
            if "can't allocate memory" not in text and "not enough memory" not in text:
                raise
        raise OstracaError(
            f"too little memory for a step ({first_line(error)}); raise train.parts, set "
            "train.activation_checkpointing=true, lower train.batch_size or train.context_length, or take a "
            "smaller model"
        ) from error


def context_length(asked: int | None, longest: int, packed: int | None = None, measured: bool = True) -> int:
    """Tokens a window; None is the longest example rounded up to a multiple of 64, or the length that the
    corpus's rows were packed to, where that is more.

    ConfigError where a packed row does not fit, nor, where it is measured, the longest test example: its last
    positions would never be trained.
    """
    if asked is None:
        return max(-(-longest // 64) * 64, packed or 0)
    if packed is not None and asked < packed:
        raise ConfigError(
            f"train.context_length={asked} is shorter than the corpus's rows, which were packed to {packed} "
            f"tokens; set {max(packed, longest)} or more (or null), or take a corpus built without pack"
        )
    if measured and asked < longest:
        raise ConfigError(
            f"train.context_length={asked} is shorter than a test example can be ({longest} tokens), so its "
            f"end would never be trained; set {longest} or more (or null), or lower dataset.N or dataset.M"
        )
    return asked


@dataclass(frozen=True, kw_only=True)
class _Run:
    """All that the loop needs."""

    going: Going
    watch: Watch
    evaluation: Evaluation | None
    stop: Stop

    def all_of_it(self) -> None:
        """Train up to the last step.

        A signal to stop waits for the end of a step, and for a checkpoint of it.
        """
        going, watch = self.going, self.watch
        settings, ranks = going.spread.settings, going.spread.ranks
        if going.goes_on:
            what = "is finished at" if going.done.steps >= settings.max_steps else "goes on after"
            watch.say(f"the run in {watch.out} {what} step {going.done.steps:,}")
        else:
            self._measure(0, going.done)
        going.clock.go_on(going.done.seconds)
        watch.begin(going.done)
        try:
            with held_back() as held:
                steps = train(
                    going.spread,
                    going.data,
                    optimizer=going.optimizer,
                    done=going.done,
                    asked_to_stop=lambda: held.number is not None or self.stop.asked,
                )
                for step in steps:
                    try:
                        self._after(step)
                    except DivergedError as error:
                        raise going.diverged(error) from None
                    if step.stop:
                        going.checkpoints.wait()
                        ranks.wait()
                        held.let_go()
                        raise Stopped(signal.SIGTERM)  # another rank was asked
                held.let_go()  # one that came in the last step
        finally:
            going.checkpoints.wait()

    def _after(self, step: Step) -> None:
        """Write down, measure and save what is due after a step."""
        going, watch, number = self.going, self.watch, step.number
        going.add(step)
        watch.step(step)
        last = number == going.spread.settings.max_steps
        measures = self.evaluation is not None and (number % self.evaluation.every_steps == 0 or last)
        if watch.due(number):
            watch.row(step, going.since_row, going.examples_seen(), quiet=measures)
        if measures:
            with going.clock.aside():
                self._measure(number, Done(steps=number, tokens=step.tokens, seconds=going.clock.seconds()))
        if number % going.spread.settings.checkpoint_every == 0 or last or step.stop:
            going.save(step)

    def _measure(self, number: int, done: Done) -> None:
        """Measure the model and write it down."""
        if self.evaluation is None:
            return
        going, watch = self.going, self.watch
        loss, examples = going.since_evaluation.mean(), going.examples_seen()
        going.since_evaluation.clear()
        rate = learning_rate(number, going.spread.settings) if number else 0.0
        at = {
            "step": number,
            "examples_seen": examples,
            "train_loss": "" if math.isnan(loss) else f"{loss:.6f}",
            "learning_rate": f"{rate:.3e}",
            "tokens_seen": done.tokens,
            "train_seconds": f"{done.seconds:.2f}",
        }
        measured = self.evaluation(going.spread.model, going.evaluations, at, going.spread.ranks)
        going.evaluations += 1
        watch.log(measured.values, number)
        shown = "  -  " if math.isnan(loss) else f"{loss:.3f}"
        watch.say(f"step {number:>6,} of {going.spread.settings.max_steps:,}  loss {shown}  {measured.line}")
