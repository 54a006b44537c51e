"""Which tasks there are: ostraca's own, those of installed packages, and modules named by hand.

A package offers a task by an entry point of the group `ostraca.tasks`, whose name is the task's:

    [project.entry-points."ostraca.tasks"]
    parity = "parity"            # the module that holds the record TASK, or "module:NAME"

A module that no package offers is named by hand: `register_modules(["parity"])`, task_modules=[parity] on
the command line, or OSTRACA_TASK_MODULES=parity in the environment. Nothing is looked for until somebody asks
for a task that is not one of ostraca's own, and then once. A manifest never names a module: what is imported
is decided by whoever runs ostraca, never by a corpus.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, OstracaError, kind_and_text, nearest, shown

if TYPE_CHECKING:
    from .base import Task

GROUP = "ostraca.tasks"
VARIABLE = "OSTRACA_TASK_MODULES"
# Task name -> the module that holds its record `TASK`; imported at first use.
HOUSE = {
    "depo": "ostraca.tasks.depo",
    "brevo": "ostraca.tasks.brevo",
    "mano": "ostraca.tasks.mano",
    "lano": "ostraca.tasks.lano",
    "capo": "ostraca.tasks.capo",
}
_HOW = (
    "a task of your own needs its module (task_modules=[MODULE]) or an installed package with an entry point "
    f"in {GROUP}"
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Where a task's record is, and who says so, for messages."""

    module: str
    record: str
    by: str

    def __str__(self) -> str:
        return self.module if self.record == "TASK" else f"{self.module}:{self.record}"


@dataclass(frozen=True, kw_only=True)
class HandedOn:
    """Modules named by hand, and the folder in which they may be."""

    folder: str
    modules: tuple[str, ...]


class Registry(Mapping[str, str]):
    """Task name -> "module" or "module:NAME" of its record: ostraca's own in their order, then by name."""

    def __init__(self) -> None:
        self._found: dict[str, list[Offer]] | None = None  # of others; not looked for yet
        self._records: dict[str, Task] = {}  # of others
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> str:
        return HOUSE[name] if name in HOUSE else str(self._others()[name][0])

    def __contains__(self, name: object) -> bool:
        return name in HOUSE or name in self._others()

    def __iter__(self) -> Iterator[str]:
        return iter((*HOUSE, *sorted(self._others())))

    def __len__(self) -> int:
        return len(HOUSE) + len(self._others())

    def task(self, name: str) -> Task:
        """See `get_task`."""
        if not isinstance(name, str) or name not in self:
            known = ", ".join(self)
            raise ConfigError(f"unknown task {shown(name)}{nearest(name, self)}; known: {known}; {_HOW}")
        if name in HOUSE:
            task: Task = importlib.import_module(HOUSE[name]).TASK
            return task
        if name not in self._records:
            self._records[name] = self._load(name)
        return self._records[name]

    def _load(self, name: str) -> Task:
        offer, *more = self._others()[name]
        if more:
            raise OstracaError(
                f"task {name} is offered by {offer.by} and by {more[0].by}; remove one of them"
            )
        task = record_of(offer)
        if task.name != name:
            raise OstracaError(
                f"{offer.by} offers {offer} as the task {name}, but it calls itself {task.name}; give both "
                "the same name"
            )
        return task

    def register(self, module: str, by: str) -> str:
        """Take in the task of a module; its name. Nothing happens where it is there already."""
        with self._lock:
            return _taken_in(self._others(), module, by)

    def _others(self) -> dict[str, list[Offer]]:
        """What is not ostraca's own, looked for at the first call."""
        with self._lock:
            if self._found is None:
                offers = installed()
                for module in named():
                    _taken_in(offers, module, VARIABLE)
                self._found = offers
            return self._found


def _taken_in(offers: dict[str, list[Offer]], module: str, by: str) -> str:
    """Add the task of a module to what was found; its name."""
    path, _, record = module.partition(":") if isinstance(module, str) else ("", "", "")
    if not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError(f"{by}: {shown(module)} is not the name of a module, such as parity or my.tasks")
    offer = Offer(module=path, record=record or "TASK", by=by)
    name = record_of(offer).name
    if name in HOUSE:
        raise ConfigError(
            f"{by}: {offer} calls its task {name}, the name of one of ostraca's own; give it another name"
        )
    for other in offers.get(name, ()):
        if str(other) != str(offer):
            raise ConfigError(
                f"{by}: {offer} calls its task {name}, but so does {other} ({other.by}); leave one out, or "
                "give it another name"
            )
    offers.setdefault(name, [offer])
    return name


def installed() -> dict[str, list[Offer]]:
    """The tasks of installed packages; OstracaError where one takes the name of ostraca's own."""
    from importlib.metadata import entry_points

    offers: dict[str, list[Offer]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        package = "a package" if point.dist is None else f"package {point.dist.name}"
        offer = Offer(module=point.module, record=point.attr or "TASK", by=package)
        if point.name in HOUSE:
            raise OstracaError(
                f"{package} offers a task {point.name} ({offer}), the name of one of ostraca's own; "
                "remove the package, or give its task another name"
            )
        offers.setdefault(point.name, []).append(offer)
    return offers


def named() -> list[str]:
    """The modules that are named in the environment."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def record_of(offer: Offer) -> Task:
    """Import a task's record; ConfigError says in one line why that cannot be done."""
    from .base import Task

    module = _imported(offer)
    record: Any = module
    for part in offer.record.split("."):
        record = getattr(record, part, None)
    if isinstance(record, Task):
        return record
    where = getattr(module, "__file__", None) or "a folder without __init__.py"
    what = "it has none" if record is None else f"that is of type {type(record).__name__}"
    raise ConfigError(
        f"{offer.by}: {offer.module} ({where}) must hold an ostraca.tasks.base.Task called {offer.record}, "
        f"but {what}"
    )


def import_own(module: str, by: str) -> ModuleType:
    """A module of the user's, looked for as tasks are; ConfigError, beginning with `by`, where it fails."""
    return _imported(Offer(module=module, record="", by=by))


def _imported(offer: Offer) -> ModuleType:
    """The module. The current folder is looked into last, so that nothing in it hides a library."""
    with contextlib.suppress(FileNotFoundError):  # the current folder is gone
        _make_importable(os.getcwd())
    try:
        return importlib.import_module(offer.module)
    except Exception as error:  # whatever a module raises that is not ours
        if isinstance(error, ModuleNotFoundError) and offer.module.startswith(error.name or "?"):
            why = "there is none on Python's path or in the current folder"
        else:
            why = kind_and_text(error)
        raise ConfigError(f"{offer.by}: cannot import {offer.module}: {why}") from error


def _make_importable(folder: str) -> None:
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def in_order(names: Iterable[str]) -> list[str]:
    """Tasks in an order that does not depend on what else is installed: ostraca's own first, then by name."""
    places = {name: place for place, name in enumerate(HOUSE)}
    return sorted(set(names), key=lambda name: (places.get(name, len(places)), name))


TASKS = Registry()


def get_task(name: str) -> Task:
    """The record of the task called `name`.

    ConfigError names the known ones where there is no such task; OstracaError where two packages offer it, or
    where its module cannot be imported or holds no Task.
    """
    return TASKS.task(name)


def register_modules(modules: Iterable[str], by: str = "task_modules") -> tuple[str, ...]:
    """Make the tasks of modules known, in this process and in those that it starts; gives their names.

    modules: "parity" or "my.tasks:PARITY" each: a module that can be imported (from the current folder too)
    and its record, `TASK` where none is named. Processes started from now on find them by the environment
    variable OSTRACA_TASK_MODULES; workers of Ray are told. To register one again does nothing. by: what
    messages begin with. ConfigError in one line where a module cannot be imported or has no Task, or where
    the task's name is one of ostraca's own or another module's.
    """
    names = []
    for module in modules:
        names.append(TASKS.register(module, by))
        if module not in named():
            os.environ[VARIABLE] = ",".join([*named(), module])
    return tuple(names)


def handed_on() -> HandedOn:
    """What a worker, maybe on another machine, needs for `take_over`."""
    modules = named()
    return HandedOn(folder=os.getcwd() if modules else "", modules=tuple(modules))


def take_over(handed: HandedOn) -> None:
    """Make known in a worker the modules that the process knows that started it."""
    if handed.modules:
        _make_importable(handed.folder)
        register_modules(handed.modules)
