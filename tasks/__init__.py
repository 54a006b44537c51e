"""The synthetic tasks: the five of ostraca, and those that `tasks.registry` finds elsewhere."""

from __future__ import annotations

import importlib
from typing import Any

from .registry import HOUSE, TASKS, get_task, register_modules

__all__ = ["TASKS", "get_task", "register_modules"]


def __getattr__(name: str) -> Any:
    if name in HOUSE:
        return importlib.import_module(HOUSE[name])
    raise AttributeError(f"module 'ostraca.tasks' has no attribute {name!r}")
