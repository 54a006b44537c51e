"""What a task's validator must refuse: a module a task, and what it holds, `MUTANTS`."""

from __future__ import annotations

import importlib

from ostraca.tasks import TASKS

from .kinds import Mutants

MUTANTS: dict[str, Mutants] = {name: importlib.import_module(f"mutants.{name}").MUTANTS for name in TASKS}
