"""Published settings by name, and a name for what is none of them: a name is a citation, and must be true."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...conf import CONF
from ...tasks import get_task
from ...tasks.core.rng import canonical_json
from ...tasks.errors import ConfigError
from ...tasks.examples import complete_config
from ...tasks.registry import HOUSE

_FILES = CONF / "dataset"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A file of conf/dataset: its task and complete config."""

    name: str
    task: str
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The preset that a config is, or is nearest to, and where it differs: key -> its value."""

    preset: str
    differences: Mapping[str, Any]


@lru_cache(maxsize=1)
def _files() -> dict[str, Any]:
    """What stands in each file of conf/dataset, by its name."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where yaml was built with it
    return {path.stem: yaml.load(path.read_text(), loader) for path in sorted(_FILES.glob("*.yaml"))}


def aliases() -> dict[str, str]:
    """Short names of presets -> what they mean: depo1 and depo -> depo1-225."""
    said = {name: file["defaults"][0] for name, file in _files().items() if "task" not in file}
    return {name: said.get(target, target) for name, target in said.items()}


@lru_cache
def _preset(name: str, seed: int) -> Preset | None:
    file = _files().get(name, {})
    if "task" not in file:
        return None
    return Preset(name=name, task=file["task"], config=_complete(file["task"], file["config"], seed))


def cited(name: str, seed: int = 0) -> Preset | None:
    """The preset that a name is taken for; None for one that promises nothing, a task's own among them.

    seed: of the corpus, which Capo's population follows.
    """
    return None if name in HOUSE else _preset(aliases().get(name, name), seed)


def likeness(task: str, config: Mapping[str, Any], seed: int = 0) -> Likeness | None:
    """The preset nearest to a config of a task: that with the fewest keys of other values.

    None where the task has no preset.
    """
    own = _complete(task, config, seed)
    first = set(aliases().values())
    candidates = [
        Likeness(
            preset=preset.name,
            differences={key: own[key] for key in own if own[key] != preset.config.get(key)},
        )
        for preset in (_preset(name, seed) for name, file in _files().items() if file.get("task") == task)
        if preset is not None
    ]
    return min(
        candidates,
        key=lambda candidate: (len(candidate.differences), candidate.preset not in first),
        default=None,
    )


def true_name(name: str, task: str, config: Mapping[str, Any], *, given: bool) -> str:
    """The name of a dataset of this config: `name`, but where that is another preset's, one of its own.

    given: the user chose this name. ConfigError where it is a preset's that has another task or config.
    """
    preset = cited(name)
    if preset is None:
        return name
    own = _complete(task, config, 0)
    if (task, own) == (preset.task, preset.config):
        return name
    near = likeness(task, config)
    other = f"{preset.name}-{mark_of([task, own])}" if near is None or near.differences else near.preset
    if given:
        raise ConfigError(
            f"{name} is the name of a published preset, but this has another config; call it something else, "
            f"e.g. {other}, or take the preset's config"
        )
    return other


def mark_of(value: Any) -> str:
    """What tells one value from others in a name: x3f9c1a."""
    return f"x{hashlib.sha256(canonical_json(value).encode()).hexdigest()[:6]}"


def _complete(task: str, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A complete config by which two can be compared: without where a tokenizer came from."""
    complete = complete_config(get_task(task), config, seed)
    if complete.get("tokenizer_sha256") is not None:
        complete.pop("tokenizer_name_or_path", None)
    return complete
