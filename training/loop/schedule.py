"""The learning rate of each step."""

from __future__ import annotations

import math

from ..settings import TrainSettings


def learning_rate(number: int, settings: TrainSettings) -> float:
    """Rate of step `number` (from 1): a line up to warmup_steps, then as train.schedule says.

    cosine: half a cosine down to min_learning_rate_ratio at the last step. linear: a line down to it. wsd
    (warm-up, stable, decay): constant, then a line down to it over the last decay_steps. constant: no fall.
    """
    if number <= settings.warmup_steps:
        return settings.learning_rate * number / settings.warmup_steps
    return settings.learning_rate * (1 - (1 - settings.min_learning_rate_ratio) * _fallen(number, settings))


def _fallen(number: int, settings: TrainSettings) -> float:
    """How much of the way down is done: 0 to 1."""
    rest = max(1, settings.max_steps - settings.warmup_steps)
    done = (number - settings.warmup_steps) / rest
    if settings.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * done))
    if settings.schedule == "linear":
        return done
    if settings.schedule == "constant":
        return 0.0
    decay = min(rest, max(1, rest // 10) if settings.decay_steps is None else settings.decay_steps)
    return max(0.0, (number - (settings.max_steps - decay)) / max(1, decay))
