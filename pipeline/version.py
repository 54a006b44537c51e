"""Versions of tasks: another version is another corpus."""

from __future__ import annotations

from tasks.base import Task
from tasks.errors import OstracaError


def check_version(task: Task, version: int, dataset: str) -> None:
    """OstracaError where the installed task is not the version that a spec was made for."""
    if version != task.version:
        raise OstracaError(
            f"{dataset}: it needs version {version} of task {task.name}, but version {task.version} is "
            "installed; install the ostraca release that has it (on every node)"
        )
