"""`ostraca curve`: train a model on the stream and draw its accuracy hop by hop."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from ..loaders import CorpusSource, Source, TaskSource, TokenStream
from ..pipeline.build.jobs.stopping import held_back
from ..pipeline.spec.given import dataset_name
from ..pipeline.store.atomic import plain_errors
from ..pipeline.store.open import open_folder
from ..tasks import TASKS, get_task
from ..tasks.base import Hops
from ..tasks.core.paths import local_path
from ..tasks.errors import ConfigError, OstracaError, check_path
from ..tasks.examples import check_seed
from ..tasks.vocabulary import Renaming
from .base import LanguageModel, resolve_device
from .checkpoints import Checkpoint, Checkpoints, load_weights, to_cpu, weights_of
from .data import StreamDataset
from .evaluate.hops import HopScore, choose_hops, hop_dataset, score_hop
from .models import build_model
from .plots import METRICS, draw_runs
from .record import MetricsCsv, Wandb
from .run_folder import claim, run_of
from .schedule import learning_rate
from .settings import EvalSettings, TrainSettings, WandbSettings, read_settings
from .train import Done, Step, isolated, make_optimizer, train

PICTURE = "depo_hop_curves.png"
CHECKPOINTS = "checkpoints"


def run(config: Mapping[str, Any]) -> None:
    """Train and measure as conf/curve.yaml says; `METRICS`, `PICTURE` and checkpoints go to `out`.

    A run that was stopped there goes on; ConfigError where the folder holds another one. Everything that can
    be refused is refused before the first step. OstracaError says why in one line.
    """
    settings = read_settings(TrainSettings, "train", config["train"])
    evaluation = read_settings(EvalSettings, "eval", config["eval"])
    wandb = read_settings(WandbSettings, "logging.wandb", config["logging"]["wandb"])
    seed = check_seed(config["seed"])
    source, name, measured = open_source(config)
    out = local_path(check_path("out", config["out"] or f"runs/{name}-{config['model']['name']}"))
    task_config = measured.config
    asks = measured.hops
    hops = choose_hops(evaluation.hops, asks.key, int(task_config[asks.key]))
    sets = {hop: asks.config(task_config, hop, evaluation.qa) for hop in hops}
    longest = max(int(get_task(measured.task).max_tokens(set_config)) for set_config in sets.values())
    length = context_length(settings.context_length, longest, source.row_length)
    stream = TokenStream(source, batch_size=settings.batch_size, length=length, seed=seed)
    data = StreamDataset(stream)
    device = resolve_device(settings.device)
    with isolated(seed, settings.threads):
        vocabulary = source.vocab_size
        model = build_model(config["model"], vocab_size=vocabulary, positions=length, seed=seed).to(device)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(
            f"{config['model'].get('name', 'model')}: {parameters:,} parameters, {vocabulary:,} ids, "
            f"{settings.batch_size} x {length:,} tokens a step, on {device}"
        )
        run_here = run_of(config, source.identity)
        with plain_errors(out):
            out.mkdir(parents=True, exist_ok=True)
            claim(out, run_here, METRICS)
            open_folder(out).remove_unfinished()  # what was being written when a run here was killed
        measure = _Measure(
            model=model,
            sets=sets,
            measured=measured,
            evaluation=evaluation,
            seed=seed + evaluation.seed_offset,
            device=device,
            precision=settings.precision,
        )
        going = _Going.in_folder(out / CHECKPOINTS, data, settings, measure)
        with (
            Wandb(wandb, config, out) as tracker,
            plain_errors(out),
            MetricsCsv(out / METRICS, going.done.steps if going.goes_on else None) as table,
        ):
            (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
            _run(going, table, tracker)
    draw_runs([out], out / PICTURE)
    print(f"wrote {out / METRICS} and {out / PICTURE}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The task that is measured."""

    task: str
    hops: Hops
    config: Mapping[str, Any]  # of the training examples
    renaming: Renaming | None  # to the ids that the model is trained on


def open_source(config: Mapping[str, Any]) -> tuple[Source, str, Measured]:
    """The training examples, a name for them, and the task with hops (Depo) among them.

    A built corpus where `corpus_path` is set, else made on the fly.

    A corpus decides task and config; ConfigError where the user set `dataset` beside it. A corpus with the
    shared vocabulary can be read as one mixture; one of its datasets must be of a task
    with hops.
    """
    seed, dataset = check_seed(config["seed"]), config["dataset"]
    asks = get_task(dataset["task"]).hops
    if asks is None:
        raise ConfigError(f"dataset.task={dataset['task']!r}: curves by hop are for {_with_hops()} alone")
    if config["corpus_path"] is None:
        on_the_fly = TaskSource(dataset["task"], dataset["config"], seed=seed)
        measured = Measured(task=on_the_fly.task, hops=asks, config=on_the_fly.config, renaming=None)
        return on_the_fly, dataset_name(config), measured
    set_too = [word for word in config.get("overrides", ()) if word.startswith("dataset")]
    if set_too:
        raise ConfigError(
            f"{set_too[0]}: the corpus in corpus_path decides the dataset; leave dataset out, "
            "or leave corpus_path out"
        )
    source = CorpusSource(check_path("corpus_path", config["corpus_path"]), datasets=config["corpus_dataset"])
    with_hops = [(name, hops) for name in source.datasets if (hops := get_task(source.task_of(name)).hops)]
    if len(with_hops) != 1:
        held = ", ".join(f"{name} ({source.task_of(name)})" for name in source.datasets)
        raise ConfigError(
            f"{config['corpus_path']} holds {held}; curves by hop need one dataset of {_with_hops()} among "
            "them: say which with corpus_dataset"
        )
    ((name, hops),) = with_hops
    measured = Measured(
        task=source.task_of(name), hops=hops, config=source.config_of(name), renaming=source.renaming(name)
    )
    return source, "-".join(source.datasets), measured


def _with_hops() -> str:
    return " or ".join(name for name in TASKS if get_task(name).hops is not None)


def context_length(asked: int | None, longest: int, packed: int | None = None) -> int:
    """Tokens a window; None is the longest test example rounded up to a multiple of 64, or the length that
    the corpus's rows were packed to, where that is more.

    ConfigError where the longest test example does not fit (its last positions would never be trained), nor
    a packed row.
    """
    if asked is None:
        return max(-(-longest // 64) * 64, packed or 0)
    if packed is not None and asked < packed:
        raise ConfigError(
            f"train.context_length={asked} is shorter than the corpus's rows, which were packed to {packed} "
            f"tokens; set {max(packed, longest)} or more (or null), or take a corpus built without pack"
        )
    if asked < longest:
        raise ConfigError(
            f"train.context_length={asked} is shorter than a test example can be ({longest} tokens), so its "
            f"end would never be trained; set {longest} or more (or null), or lower dataset.N or dataset.M"
        )
    return asked


@dataclass(kw_only=True)
class _Measure:
    """Evaluations of one model, each on fixed sets of one hop."""

    model: LanguageModel
    sets: Mapping[int, Mapping[str, Any]]  # hop -> config of its examples
    measured: Measured
    evaluation: EvalSettings
    seed: int
    device: torch.device
    precision: str
    done: int = 0

    def __call__(self) -> dict[int, tuple[HopScore, float]]:
        """hop -> its score and the chance level."""
        count = self.evaluation.num_examples_per_hop
        start = self.done * count if self.evaluation.resample_each_eval else 0
        self.done += 1
        hops, renaming, scores = self.measured.hops, self.measured.renaming, {}
        for hop, config in self.sets.items():
            data = hop_dataset(
                self.measured.task,
                config,
                seed=self.seed,
                indices=range(start, start + count),
                batch_size=self.evaluation.batch_size,
                renaming=renaming,
            )
            answer = hops.answer(config)
            if renaming is not None:
                answer = int(renaming.ids(np.array([answer], dtype=np.int32))[0])
            score = score_hop(self.model, data, answer, device=self.device, precision=self.precision)
            scores[hop] = score, hops.chance(config)
        return scores


@dataclass(kw_only=True)
class _Going:
    """A run, at its beginning or at a checkpoint."""

    data: StreamDataset
    settings: TrainSettings
    measure: _Measure
    optimizer: torch.optim.Optimizer
    checkpoints: Checkpoints
    folder: Path
    goes_on: bool = False
    done: Done = field(default_factory=Done)
    examples: int = 0  # before this process
    losses: list[torch.Tensor] = field(default_factory=list)  # since the last evaluation

    @classmethod
    def in_folder(
        cls, folder: Path, data: StreamDataset, settings: TrainSettings, measure: _Measure
    ) -> _Going:
        """The run as its last checkpoint has it, or its beginning."""
        going = cls(
            data=data,
            settings=settings,
            measure=measure,
            optimizer=make_optimizer(measure.model, settings),
            checkpoints=Checkpoints(open_folder(folder), settings.keep_checkpoints),
            folder=folder,
        )
        last = going.checkpoints.last()
        if last is not None:
            going._go_on(last, f"{folder}/step-{last.step:08}")
        return going

    def _go_on(self, last: Checkpoint, where: str) -> None:
        state = last.state
        load_weights(self.measure.model.to_save()[0], last.weights, where)
        try:
            self.optimizer.load_state_dict(last.training["optimizer"])
            torch.set_rng_state(last.training["random"])
            self.losses = list(last.training["losses"])
            self.data.load_state_dict(state["loader"])
            self.measure.done = state["evaluations"]
            self.done = Done(steps=last.step, tokens=state["tokens"], seconds=state["seconds"])
            self.examples = state["examples"]
        except (KeyError, TypeError, ValueError) as error:
            raise OstracaError(
                f"{where}: is not as ostraca writes it ({error!r}); remove this folder to go on from the "
                "checkpoint before it"
            ) from error
        self.goes_on = True

    @property
    def examples_seen(self) -> int:
        """Of the whole run."""
        return self.examples + self.data.examples_seen

    def mean_loss(self, number: int) -> float:
        """Of the steps since the last evaluation, NaN where there is none; OstracaError where it diverged."""
        if not self.losses:
            return math.nan
        loss = float(torch.stack(self.losses).mean())
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at step {number}")
        return loss

    def _diverged(self, what: str) -> OstracaError:
        last = self.checkpoints.last_name()
        return OstracaError(
            f"{what}: training diverged; lower train.learning_rate or train.grad_clip, or raise "
            "train.warmup_steps" + (f" (the last good checkpoint is {self.folder}/{last})" if last else "")
        )

    def save(self, step: Step) -> None:
        """Begin to write a checkpoint of this step."""
        self.mean_loss(step.number)
        model, config = self.measure.model.to_save()
        weights = weights_of(model)
        if not all(weight.isfinite().all() for weight in weights.values()):
            raise self._diverged(f"weights are not finite after step {step.number}")
        self.checkpoints.save(
            Checkpoint(
                step=step.number,
                weights=weights,
                config=config,
                training={
                    "optimizer": to_cpu(self.optimizer.state_dict()),
                    "random": torch.get_rng_state(),
                    "losses": [loss.cpu() for loss in self.losses],
                },
                state={
                    "tokens": step.tokens,
                    "seconds": step.seconds,
                    "examples": self.examples_seen,
                    "evaluations": self.measure.done,
                    "loader": self.data.state_dict(),
                },
            )
        )


def _run(going: _Going, table: MetricsCsv, tracker: Wandb) -> None:
    """Train; measure and write down at step 0, every so many steps (eval.every_steps) and at the end.

    A signal to stop waits for the end of a step, and for a checkpoint of it.
    """
    settings, measure = going.settings, going.measure
    progress = Progress(settings.max_steps, sys.stderr)

    def evaluate(number: int, tokens: int, seconds: float) -> None:
        loss = going.mean_loss(number)
        going.losses.clear()
        shared = {
            "step": number,
            "examples_seen": going.examples_seen,
            "train_loss": "" if math.isnan(loss) else f"{loss:.6f}",
            "learning_rate": f"{learning_rate(number, settings) if number else 0.0:.3e}",
            "tokens_seen": tokens,
            "train_seconds": f"{seconds:.2f}",
        }
        scores = measure()
        for hop, (score, chance) in scores.items():
            row = {"hop": hop, "accuracy": f"{score.accuracy:.6f}", "answers": score.answers}
            error = "" if math.isnan(score.standard_error) else f"{score.standard_error:.6f}"
            table.write({**shared, **row, "standard_error": error, "chance": f"{chance:.6f}"})
        values = {f"accuracy/hop_{hop}": score.accuracy for hop, (score, _) in scores.items()}
        sent = {**values, "examples_seen": float(going.examples_seen), "tokens_seen": float(tokens)}
        tracker.log(sent | ({} if math.isnan(loss) else {"train_loss": loss}), number)
        progress.clear()
        hops = "  ".join(f"{hop}-hop {score.accuracy:6.1%}" for hop, (score, _) in scores.items())
        print(f"step {number:>6,}  loss {'  -  ' if math.isnan(loss) else f'{loss:.3f}'}  {hops}", flush=True)

    if going.goes_on:
        what = "is finished at" if going.done.steps >= settings.max_steps else "goes on after"
        print(f"the run in {going.folder.parent} {what} step {going.done.steps:,}", flush=True)
    else:
        evaluate(0, 0, 0.0)
    steps = train(
        measure.model, going.data, settings, measure.device, optimizer=going.optimizer, done=going.done
    )
    try:
        with held_back() as held:
            for step in steps:
                going.losses.append(step.loss)
                progress.show(step)
                last = step.number == settings.max_steps
                if step.number % measure.evaluation.every_steps == 0 or last:
                    evaluate(step.number, step.tokens, step.seconds)
                if step.number % settings.checkpoint_every == 0 or last or held.number is not None:
                    going.save(step)
                if held.number is not None:
                    progress.clear()
                    going.checkpoints.wait()
                    held.let_go()
    finally:
        going.checkpoints.wait()


class Progress:
    """A line that is written over: step, loss, tokens a second, time left. Nothing where it is a pipe."""

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps, self._stream, self._shown, self._next = steps, stream, False, 0.0
        self._live = stream.isatty()

    def show(self, step: Step) -> None:
        """Show `step`, at most four times a second (reading the loss waits for the GPU)."""
        if not self._live or time.perf_counter() < self._next:
            return
        self._next = time.perf_counter() + 0.25
        left = step.seconds / step.number * (self._steps - step.number)
        rate = step.tokens / max(step.seconds, 1e-9)
        self._stream.write(
            f"\r\033[Kstep {step.number:,} of {self._steps:,}  loss {float(step.loss):.3f}  "
            f"{rate / 1000:,.0f}k tokens/s  {left:,.0f} s left"
        )
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Remove the line, so that a lasting one can be printed."""
        if self._shown:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._shown = False
