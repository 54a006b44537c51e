"""What the tests that all tasks pass must know of each task: a module a task, and what it holds, `Facts`.

A task of the house without a module here fails when these tests are collected.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ostraca.tasks import TASKS

from .kinds import Facts

FACTS: dict[str, Facts] = {name: importlib.import_module(f"facts.{name}").FACTS for name in TASKS}


def each(field: str, **leave_out: set[str]) -> list[Any]:
    """Parameters (task, entry) for every entry of a field, in the order of TASKS."""
    return [
        pytest.param(task, entry, id=f"{task}-{str(entry)[:40]}")
        for task, facts in FACTS.items()
        for entry in getattr(facts, field)
        if str(entry) not in leave_out.get(task, ())
    ]
