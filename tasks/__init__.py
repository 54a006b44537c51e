"""The synthetic tasks. A new task is a file and a line in `TASKS`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task

# Task name -> the module that holds its record `TASK`; imported at first use.
TASKS = {
    "depo": "ostraca.tasks.depo",
    "brevo": "ostraca.tasks.brevo",
    "mano": "ostraca.tasks.mano",
    "lano": "ostraca.tasks.lano",
    "capo": "ostraca.tasks.capo",
}


def get_task(name: str) -> Task:
    """The record of the task called `name`; ConfigError names the known ones."""
    from .errors import ConfigError, nearest, shown

    if not isinstance(name, str) or name not in TASKS:
        raise ConfigError(f"unknown task {shown(name)}{nearest(name, TASKS)}; known: {', '.join(TASKS)}")
    task: Task = importlib.import_module(TASKS[name]).TASK
    return task


def __getattr__(name: str) -> Any:
    if name in TASKS:
        return importlib.import_module(TASKS[name])
    raise AttributeError(f"module 'ostraca.tasks' has no attribute {name!r}")
