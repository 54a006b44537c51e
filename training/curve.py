"""`ostraca curve`: `ostraca train`, measured hop by hop, with a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from ..loaders import CorpusSource, TaskSource
from ..tasks import TASKS, get_task
from ..tasks.base import Hops
from ..tasks.errors import ConfigError
from ..tasks.vocabulary import Renaming
from .evaluate.hops import HopScore, HopSet, choose_hops, hop_dataset, score_hop
from .loop.ranks import Ranks
from .models.base import LanguageModel
from .plots import METRICS, draw_curves, draw_runs, read_curve
from .record import COLUMNS, MetricsCsv
from .run import Measured, training
from .seeds import for_seeds
from .settings import EvalSettings, TrainSettings, read_settings
from .source import Data, Seeds

PICTURE = "depo_hop_curves.png"


def run(config: Mapping[str, Any]) -> None:
    """Train and measure as conf/curve.yaml says: `METRICS`, `PICTURE` and what `ostraca train` writes.

    Of several seeds each has its own folder, and one picture shows their mean and how far they lie apart.
    """
    folders = for_seeds("curve", config, lambda one: training(one, HopEvaluation))
    if len(folders) > 1:
        out = folders[0].parent
        draw_curves([read_curve(out, seeds=folders)], out / PICTURE)
        print(f"wrote {out / PICTURE}")


@final
class HopEvaluation:
    """Accuracy on fixed sets of one hop each, on the task with hops (Depo) that a run trains on."""

    def __init__(self, config: Mapping[str, Any], data: Data, seeds: Seeds) -> None:
        """ConfigError where there is no such task, or a hop cannot be measured."""
        self._evaluation = read_settings(EvalSettings, "eval", config["eval"])
        self._precision = read_settings(TrainSettings, "train", config["train"]).precision
        self._task, self._config, self._renaming, self._hops = _task_with_hops(data)
        chosen = choose_hops(self._evaluation.hops, self._hops.key, int(self._config[self._hops.key]))
        self._sets = {hop: self._hops.config(self._config, hop, self._evaluation.qa) for hop in chosen}
        self._seed = seeds.data + self._evaluation.seed_offset
        self._table: MetricsCsv | None = None
        self.every_steps = self._evaluation.every_steps
        task = get_task(self._task)
        self.longest = max(int(task.max_tokens(one)) for one in self._sets.values())

    @contextmanager
    def opened(self, out: Path, up_to: int | None) -> Iterator[None]:
        """See `run.Evaluation`."""
        with MetricsCsv(out / METRICS, COLUMNS, up_to) as self._table:
            yield

    def __call__(self, model: LanguageModel, number: int, at: Mapping[str, Any], ranks: Ranks) -> Measured:
        """See `run.Evaluation`."""
        scores = {hop: self._score(model, hop, number, ranks) for hop in self._sets}
        with ranks.on_main():
            self._write(scores, at)
        return Measured(
            values={f"accuracy/hop_{hop}": score.accuracy for hop, score in scores.items()},
            line="  ".join(f"{hop}-hop {score.accuracy:6.1%}" for hop, score in scores.items()),
        )

    def _write(self, scores: Mapping[int, HopScore], at: Mapping[str, Any]) -> None:
        """Rows, on the main rank."""
        if self._table is not None:
            for hop, score in scores.items():
                error = "" if math.isnan(score.standard_error) else f"{score.standard_error:.6f}"
                found = {"hop": hop, "accuracy": f"{score.accuracy:.6f}", "answers": score.answers}
                chance = f"{self._hops.chance(self._sets[hop]):.6f}"
                self._table.write({**at, **found, "standard_error": error, "chance": chance})

    def _score(self, model: LanguageModel, hop: int, number: int, ranks: Ranks) -> HopScore:
        config, count = self._sets[hop], self._evaluation.num_examples_per_hop
        start = number * count if self._evaluation.resample_each_eval else 0
        hop_set = HopSet(task=self._task, config=config, seed=self._seed, renaming=self._renaming)
        sets = hop_dataset(hop_set, range(start, start + count), self._evaluation.batch_size, ranks)
        answer = self._hops.answer(config)
        if self._renaming is not None:
            answer = int(self._renaming.ids(np.array([answer], dtype=np.int32))[0])
        return score_hop(model, sets, answer, device=ranks.device, precision=self._precision, ranks=ranks)

    def end(self, out: Path) -> str:
        """See `run.Evaluation`."""
        draw_runs([out], out / PICTURE)
        return f", {out / METRICS} and {out / PICTURE}"


def _task_with_hops(data: Data) -> tuple[str, Mapping[str, Any], Renaming | None, Hops]:
    """The one among the data: its name, its config, the model's ids for it, and its hops."""
    found: list[tuple[str, Mapping[str, Any], Renaming | None]] = []
    for source in data.sources:
        if isinstance(source, TaskSource):
            found.append((source.task, source.config, None))
        elif isinstance(source, CorpusSource):
            found += [
                (source.task_of(name), source.config_of(name), source.renaming(name))
                for name in source.datasets
            ]
    with_hops = [(*one, hops) for one in found if (hops := get_task(one[0]).hops) is not None]
    if len(with_hops) != 1:
        held = ", ".join(task for task, _, _ in found)
        wanted = " or ".join(name for name in TASKS if get_task(name).hops is not None)
        raise ConfigError(
            f"{data.name} holds {held}; curves by hop need one dataset of {wanted} among the data: say which "
            "with dataset= or corpus_dataset=, or take `ostraca train`"
        )
    return with_hops[0]
