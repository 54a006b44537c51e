"""The train, eval and logging sections of a config, checked once at the door."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..tasks.errors import ConfigError, nearest


def _key(low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    return field(metadata={"low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """conf/train: what each key means stands there."""

    max_steps: int = _key(low=0)
    batch_size: int = _key(low=1)
    context_length: int | None = _key(low=2)
    learning_rate: float = _key(low=0)
    min_learning_rate_ratio: float = _key(low=0, high=1)
    warmup_steps: int = _key(low=0)
    weight_decay: float = _key(low=0)
    betas: tuple[float, float] = _key(low=0, high=math.nextafter(1, 0))
    eps: float = _key(low=0)
    grad_clip: float | None = _key(low=0)
    precision: str = _key(choices=("auto", "float32", "bfloat16"))
    device: str = _key()
    threads: int | None = _key(low=1)
    document_mask: bool = _key()


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """conf/eval: what each key means stands there."""

    hops: tuple[int, ...] | None = _key()
    num_examples_per_hop: int = _key(low=1)
    every_steps: int = _key(low=1)
    batch_size: int = _key(low=1)
    qa: bool = _key()
    resample_each_eval: bool = _key()
    seed_offset: int = _key(low=0)


@dataclass(frozen=True, kw_only=True)
class WandbSettings:
    """conf/logging, below `wandb`: what each key means stands there."""

    enabled: bool = _key()
    project: str = _key()
    name: str | None = _key()
    mode: str = _key(choices=("online", "offline", "disabled"))


Settings = TypeVar("Settings", TrainSettings, EvalSettings, WandbSettings)


def read_settings(kind: type[Settings], section: str, values: Mapping[str, Any]) -> Settings:
    """Make `kind` of a plain mapping; ConfigError on the first key that is unknown, missing or wrong."""
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"{section}: unknown key {name!r}{nearest(name, fields)}; known: {', '.join(fields)}"
            )
    if missing := [name for name in fields if name not in values]:
        raise ConfigError(f"{section}: the key {missing[0]!r} is missing")
    hints = typing.get_type_hints(kind)
    made = {
        name: _value(f"{section}.{name}", values[name], hints[name], each.metadata)
        for name, each in fields.items()
    }
    return kind(**made)


def _value(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        element, length = typing.get_args(hint)
        if not isinstance(value, list | tuple) or (length is not Ellipsis and len(value) != 2):
            what = "a list, e.g. [1,2]" if length is Ellipsis else "a list of two numbers"
            raise ConfigError(f"{name}={value!r} must be {what}")
        return tuple(_value(name, each, element, limits) for each in value)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        words = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
        raise ConfigError(f"{name}={value!r} must be {words[hint]}")
    low, high, choices = limits["low"], limits["high"], limits["choices"]
    if choices and value not in choices:
        raise ConfigError(f"{name}={value!r}{nearest(value, choices)} must be one of {', '.join(choices)}")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        upper = "" if high is None else f" and {high:g} or less" if high >= 1 else " and less than 1"
        allowed = f"{low} or more{upper}"
        raise ConfigError(f"{name}={value!r} must be {allowed}")
    return hint(value)
