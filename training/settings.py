"""The train, eval and logging sections of a config, checked once at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..tasks.errors import ConfigError
from ..tasks.keys import REQUIRED, Key, check_keys


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """conf/train: what each key means stands there."""

    max_steps: int
    batch_size: int
    context_length: int | None
    packing: str | None
    learning_rate: float
    min_learning_rate_ratio: float
    warmup_steps: int
    schedule: str
    decay_steps: int | None
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    grad_clip: float | None
    z_loss: float
    parts: int | None
    precision: str
    device: str
    threads: int | None
    document_mask: bool
    parallel: str
    compile: str
    activation_checkpointing: bool
    checkpoint_every: int
    keep_checkpoints: int
    checkpoint_folder: str | None

    def parts_a_rank(self, world_size: int) -> int:
        """How many parts each rank works on; ConfigError where the ranks cannot share them."""
        parts = world_size if self.parts is None else self.parts
        if parts % world_size:
            raise ConfigError(
                f"train.parts={parts} cannot be shared by {world_size} processes; take a multiple of "
                f"{world_size}, or null"
            )
        return parts // world_size


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """conf/eval: what each key means stands there."""

    hops: tuple[int, ...] | None
    num_examples_per_hop: int
    every_steps: int
    batch_size: int
    qa: bool
    resample_each_eval: bool
    seed_offset: int


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """conf/logging but `wandb`: what each key means stands there."""

    every_steps: int
    peak_tflops: float | None
    tensorboard: bool


@dataclass(frozen=True, kw_only=True)
class WandbSettings:
    """conf/logging, below `wandb`: what each key means stands there."""

    enabled: bool
    project: str
    entity: str | None
    name: str | None
    mode: str


Settings = TypeVar("Settings", TrainSettings, EvalSettings, LoggingSettings, WandbSettings)


def _key(kind: type = int, low: float = 0, high: float | None = None, **more: Any) -> Key:
    most = math.inf if kind is float else 2**63 - 1
    why = "conf has a file of this section in which every key stands"
    return Key(default=REQUIRED, help=why, kind=kind, low=low, high=most if high is None else high, **more)


_PRECISIONS = ("auto", "float32", "bfloat16")
_SCHEDULES = ("cosine", "linear", "wsd", "constant")  # see `schedule.py`
_PACKINGS = ("left_aligned", "concat", "padded", "packed")  # see `loaders.TokenStream`
_PARALLEL = ("auto", "sum", "ddp", "fsdp")  # see `parallel.py`
_COMPILE = ("auto", "always", "never")
_MODES = ("online", "offline", "disabled")
_KEYS: dict[type, dict[str, Key]] = {
    TrainSettings: {
        "max_steps": _key(),
        "batch_size": _key(low=1),
        "context_length": _key(low=2, optional=True),
        "packing": _key(str, choices=_PACKINGS, optional=True),
        "learning_rate": _key(float),
        "min_learning_rate_ratio": _key(float, high=1),
        "warmup_steps": _key(),
        "schedule": _key(str, choices=_SCHEDULES),
        "decay_steps": _key(optional=True),
        "weight_decay": _key(float),
        "betas": _key(float, high=math.nextafter(1, 0), length=2),
        "eps": _key(float),
        "grad_clip": _key(float, optional=True),
        "z_loss": _key(float),
        "parts": _key(low=1, optional=True),
        "precision": _key(str, choices=_PRECISIONS),
        "device": _key(str),
        "threads": _key(low=1, optional=True),
        "document_mask": _key(bool),
        "parallel": _key(str, choices=_PARALLEL),
        "compile": _key(str, choices=_COMPILE),
        "activation_checkpointing": _key(bool),
        "checkpoint_every": _key(low=1),
        "keep_checkpoints": _key(low=1),
        "checkpoint_folder": _key(str, optional=True),
    },
    EvalSettings: {
        "hops": _key(low=1, optional=True, length=0),
        "num_examples_per_hop": _key(low=1),
        "every_steps": _key(low=1),
        "batch_size": _key(low=1),
        "qa": _key(bool),
        "resample_each_eval": _key(bool),
        "seed_offset": _key(),
    },
    LoggingSettings: {
        "every_steps": _key(low=1),
        "peak_tflops": _key(float, low=math.ulp(0.0), optional=True),
        "tensorboard": _key(bool),
    },
    WandbSettings: {
        "enabled": _key(bool),
        "project": _key(str),
        "entity": _key(str, optional=True),
        "name": _key(str, optional=True),
        "mode": _key(str, choices=_MODES),
    },
}


def read_settings(kind: type[Settings], section: str, values: Mapping[str, Any]) -> Settings:
    """Make `kind` of a plain mapping; ConfigError on the first key that is unknown, missing or wrong."""
    made = kind(**check_keys(f"{section}.", values, _KEYS[kind]))
    if isinstance(made, TrainSettings) and made.parts is not None and made.batch_size % made.parts:
        raise ConfigError(
            f"{section}.parts={made.parts} does not divide {section}.batch_size={made.batch_size}; "
            "change one of them"
        )
    return made
