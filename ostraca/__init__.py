"""Corpora of synthetic pretraining tasks, the same bytes on any machine: the public names, all in one place.

    from ostraca import build, verify, open_stream

Each is imported at its first use, so that `import ostraca` is light. The rooms are `ostraca.tasks` (a module
a task, with its one-example API), `ostraca.pipeline`, `ostraca.loaders`, `ostraca.training`, `ostraca.conf`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loaders import (
        Blocks,
        CorpusSource,
        Mixture,
        ParquetSource,
        Rows,
        Source,
        TaskSource,
        TokenStream,
        open_stream,
    )
    from .pipeline.build.jobs.watch import Watch
    from .pipeline.build.merge import merge
    from .pipeline.check.compare import compare
    from .pipeline.check.reproduce import reproduce
    from .pipeline.check.verify import verify
    from .pipeline.export.export import export
    from .pipeline.forecast.room import build_where_room_is as build
    from .tasks import TASKS, get_task, register_modules
    from .tasks.errors import ConfigError, OstracaError

# Public name -> the module that has it, and its name there where that is another.
_HOMES = {
    "build": "pipeline.forecast.room:build_where_room_is",
    "compare": "pipeline.check.compare",
    "export": "pipeline.export.export",
    "merge": "pipeline.build.merge",
    "reproduce": "pipeline.check.reproduce",
    "verify": "pipeline.check.verify",
    "Watch": "pipeline.build.jobs.watch",
    "Blocks": "loaders",
    "CorpusSource": "loaders",
    "Mixture": "loaders",
    "ParquetSource": "loaders",
    "Rows": "loaders",
    "Source": "loaders",
    "TaskSource": "loaders",
    "TokenStream": "loaders",
    "open_stream": "loaders",
    "resume_stream": "loaders",
    "TASKS": "tasks",
    "get_task": "tasks",
    "register_modules": "tasks",
    "ConfigError": "tasks.errors",
    "OstracaError": "tasks.errors",
}

__all__ = [
    "TASKS",
    "Blocks",
    "ConfigError",
    "CorpusSource",
    "Mixture",
    "OstracaError",
    "ParquetSource",
    "Rows",
    "Source",
    "TaskSource",
    "TokenStream",
    "Watch",
    "__version__",
    "build",
    "compare",
    "export",
    "get_task",
    "merge",
    "open_stream",
    "register_modules",
    "reproduce",
    "resume_stream",
    "verify",
]


def version() -> str:
    """The installed version, or where an ostraca runs from that is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed
    from pathlib import Path

    try:
        return installed("ostraca")
    except PackageNotFoundError:
        return f"of unknown version: not installed, run from {Path(__file__).resolve().parent.parent}"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version()
    if name not in _HOMES:
        raise AttributeError(f"module 'ostraca' has no attribute {name!r}")
    module, _, own_name = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(f".{module}", __name__), own_name or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
