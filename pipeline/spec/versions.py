"""Versions of tasks: another version is another corpus, which is read as it is but cannot be regenerated."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ...tasks import TASKS, get_task
from ...tasks.base import Task
from ...tasks.errors import OstracaError, OtherVersionWarning


def check_version(task: Task, version: int, dataset: str) -> None:
    """OstracaError where the installed task is not the version that a spec was made for."""
    if version != task.version:
        raise OstracaError(
            f"{dataset}: it needs version {version} of task {task.name}, but version {task.version} is "
            "installed; install the ostraca release that has it (on every node)"
        )


def require_versions(where: str, spec: Mapping[str, Any]) -> None:
    """OstracaError where a spec was made for other versions than those installed."""
    for name, entry in spec["datasets"].items():
        check_version(get_task(entry["task"]), entry["version"], name)


def tell_versions(where: str, spec: Mapping[str, Any]) -> None:
    """One OtherVersionWarning where a spec was made for other versions than those installed."""
    made_with = sorted({(entry["task"], entry["version"]) for entry in spec["datasets"].values()})
    others = [
        f"version {version} of task {name} (version {get_task(name).version} is installed)"
        for name, version in made_with
        if name in TASKS and version != get_task(name).version
    ]
    if others:
        warnings.warn(
            f"{where}: was made by {', '.join(others)}; it is read as it is, but cannot be regenerated here",
            OtherVersionWarning,
            stacklevel=3,
        )


def take_versions(where: str, spec: Mapping[str, Any]) -> None:
    """Any version will do, and nothing is said."""


def versions_in(spec: Mapping[str, Any]) -> dict[str, int]:
    """Task -> the version of it that a complete spec is of."""
    return {entry["task"]: entry["version"] for entry in spec["datasets"].values()}
