"""A run between two steps: what a checkpoint keeps, and how it goes on from one."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..tasks.errors import OstracaError
from .checkpoints import Checkpoint, Checkpoints
from .loop.data import StreamDataset
from .loop.losses import DivergedError, Losses
from .loop.parallel import Spread
from .loop.train import Done, Step, make_optimizer
from .whole import load_optimizer, load_weights, optimizer_state, weights_of


@dataclass(kw_only=True)
class Going:
    """A run, at its beginning or at a checkpoint."""

    data: StreamDataset
    spread: Spread
    optimizer: torch.optim.Optimizer
    checkpoints: Checkpoints
    where: str  # the checkpoints' folder
    goes_on: bool = False
    done: Done = field(default_factory=Done)
    examples: int = 0  # of this rank, before this process
    evaluations: int = 0
    since_row: Losses
    since_evaluation: Losses

    @staticmethod
    def at_last(data: StreamDataset, spread: Spread, checkpoints: Checkpoints, where: str) -> Going:
        """The run as its last checkpoint has it, or its beginning."""
        ranks = spread.ranks
        going = Going(
            data=data,
            spread=spread,
            optimizer=make_optimizer(spread.model, spread.settings),
            checkpoints=checkpoints,
            where=where,
            since_row=Losses(ranks),
            since_evaluation=Losses(ranks),
        )
        step = ranks.told(checkpoints.last_step() if ranks.main else None)
        if step is not None:
            going._go_on(checkpoints.read(step), f"{where}/step-{step:08}")
        return going

    def _go_on(self, last: Checkpoint, where: str) -> None:
        state, model, ranks = last.state, self.spread.model.to_save()[0], self.spread.ranks
        load_weights(model, last.weights, where)
        try:
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
        self.since_row.add(step.summed, step.labels)
        self.since_evaluation.add(step.summed, step.labels)

    def diverged(self, error: DivergedError, number: int) -> OstracaError:
        """One line on a run that has no loss any more."""
        last = self.checkpoints.last_name() if self.spread.ranks.main else None
        good = f" (the last good checkpoint is {self.where}/{last})" if last else ""
        return OstracaError(
            f"{error} at step {number}: training diverged; lower train.learning_rate or train.grad_clip, or "
            f"raise train.warmup_steps{good}"
        )

    def save(self, step: Step) -> None:
        """Begin to write a checkpoint of this step; DivergedError where it would hold no numbers."""
        since_row, since_evaluation = self.since_row.settle(), self.since_evaluation.settle()
        model, config = self.spread.model.to_save()
        weights = weights_of(model)
        if not all(weight.isfinite().all() for weight in weights.values()):
            raise DivergedError("a weight is not finite")
        optimizer, examples = optimizer_state(self.optimizer, model), self.examples_seen()
        if not self.spread.ranks.main:
            return
        self.checkpoints.save(
            Checkpoint(
                step=step.number,
                weights=weights,
                config=config,
                training={"optimizer": optimizer},
                state={
                    "tokens": step.tokens,
                    "seconds": step.seconds,
                    "waited": step.waited,
                    "examples": examples,
                    "evaluations": self.evaluations,
                    "losses_since_row": since_row,
                    "losses_since_evaluation": since_evaluation,
                    "loader": self.data.state_dict(),
                },
            )
        )
