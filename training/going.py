"""A run between two steps: what a checkpoint keeps, and how it goes on from one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..tasks.errors import OstracaError
from .checkpoints import Checkpoint, Checkpoints
from .loop.clock import Clock
from .loop.data import StreamDataset
from .loop.losses import DivergedError, Losses
from .loop.parallel import Spread
from .loop.train import Done, Step, make_optimizer
from .run_folder import require_same
from .whole import load_optimizer, load_weights, optimizer_state, weights_of


@dataclass(kw_only=True)
class Going:
    """A run, at its beginning or at a checkpoint."""

    data: StreamDataset
    spread: Spread
    optimizer: torch.optim.Optimizer
    checkpoints: Checkpoints
    run: Mapping[str, Any]  # what decides it
    measured: bool  # whether there are evaluations
    clock: Clock
    since_row: Losses
    since_evaluation: Losses
    goes_on: bool = False
    done: Done = field(default_factory=Done)
    examples: int = 0  # of all ranks, before this process
    evaluations: int = 0

    @staticmethod
    def at_last(
        data: StreamDataset, spread: Spread, checkpoints: Checkpoints, run: Mapping[str, Any], measured: bool
    ) -> Going:
        """As the last checkpoint has it, or at its beginning; ConfigError where that is another run's."""
        ranks = spread.ranks
        going = Going(
            data=data,
            spread=spread,
            optimizer=make_optimizer(spread.model, spread.settings),
            checkpoints=checkpoints,
            run=run,
            measured=measured,
            clock=Clock(ranks.device),
            since_row=Losses(ranks),
            since_evaluation=Losses(ranks),
        )
        step = ranks.told(checkpoints.last_step() if ranks.main else None)
        if step is not None:
            going._go_on(checkpoints.read(step), checkpoints.where(step))
        return going

    def _go_on(self, last: Checkpoint, where: str) -> None:
        state, model, ranks = last.state, self.spread.model.to_save()[0], self.spread.ranks
        try:
            require_same(where, self.run, state["run"])
            load_weights(model, last.weights, where)
            load_optimizer(self.optimizer, model, last.training["optimizer"])
            self.since_row = Losses(ranks, state["losses_since_row"])
            self.since_evaluation = Losses(ranks, state["losses_since_evaluation"])
            self.data.load_state_dict(state["loader"])
            self.evaluations = state["evaluations"]
            self.done = Done(
                steps=last.step, tokens=state["tokens"], seconds=state["seconds"], waited=state["waited"]
            )
            self.examples = state["examples"]
        except (KeyError, TypeError, ValueError) as error:
            raise OstracaError(
                f"{where}: is not as ostraca writes it ({error!r}); remove this folder to go on from the "
                "checkpoint before it"
            ) from error
        self.goes_on = True

    def examples_seen(self) -> int:
        """Of the whole run and all ranks, which must all ask."""
        here = torch.tensor([self.data.examples_seen], dtype=torch.int64)
        return self.examples + int(self.spread.ranks.total(here))

    def add(self, step: Step) -> None:
        """A step was made."""
        self.since_row.add(step)
        if self.measured:
            self.since_evaluation.add(step)

    def diverged(self, error: DivergedError) -> OstracaError:
        """One line on a run that has no loss any more."""
        last = self.checkpoints.last_step() if self.spread.ranks.main else None
        good = "" if last is None else f" (the last good checkpoint is {self.checkpoints.where(last)})"
        return OstracaError(
            f"{error}: training diverged; lower train.learning_rate or train.grad_clip, or raise "
            f"train.warmup_steps{good}"
        )

    def save(self, step: Step) -> None:
        """Begin to write a checkpoint of this step; DivergedError where it would hold no numbers."""
        since_row, since_evaluation = self.since_row.settle(), self.since_evaluation.settle()
        with self.clock.aside():
            self._save(step, since_row, since_evaluation)

    def _save(self, step: Step, since_row: list[float], since_evaluation: list[float]) -> None:
        ranks, (model, config) = self.spread.ranks, self.spread.model.to_save()
        finite = all(bool(weight.isfinite().all()) for weight in model.parameters())
        if int(ranks.total(torch.tensor([not finite], dtype=torch.int64))):
            raise DivergedError(f"a weight is not finite after step {step.number}")
        weights = weights_of(model, ranks.main)
        optimizer, examples = optimizer_state(self.optimizer, model, ranks.main), self.examples_seen()
        with ranks.on_main() as mine:
            if mine:
                self.checkpoints.save(
                    Checkpoint(
                        step=step.number,
                        weights=weights,
                        config=config,
                        training={"optimizer": optimizer},
                        state={
                            "run": self.run,
                            "tokens": step.tokens,
                            "seconds": self.clock.seconds(),
                            "waited": step.waited,
                            "examples": examples,
                            "evaluations": self.evaluations,
                            "losses_since_row": since_row,
                            "losses_since_evaluation": since_evaluation,
                            "loader": self.data.state_dict(),
                        },
                    )
                )
