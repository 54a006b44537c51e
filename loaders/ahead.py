"""Work done ahead by threads: jobs in the order in which they are needed, and a bounded queue of results."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """Something to be done once, by whoever comes first: a worker, or who needs it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it, unless somebody does or did."""
        with self._lock:
            work, self._work = self._work, None
        if work is None:
            return
        try:
            self._value = work()
        except BaseException as error:  # told to whoever needs it
            self._error = error
        self._done.set()

    def result(self) -> T:
        """What came of it; raises what it raised."""
        self.run()
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class Workers:
    """Some threads that do jobs in the order in which they are given; none where `count` is 0."""

    def __init__(self, count: int) -> None:
        self._waiting: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._count = count
        for number in range(count):
            name = f"ostraca-read-{number}"
            threading.Thread(target=_work, args=(self._waiting,), daemon=True, name=name).start()

    def give(self, job: Job[Any]) -> None:
        """Have a job done."""
        if self._count:
            self._waiting.put(job)

    def stop(self) -> None:
        """No job is begun any more; those that are under way end by themselves."""
        try:
            while True:
                self._waiting.get_nowait()
        except queue.Empty:
            pass
        for _ in range(self._count):
            self._waiting.put(None)


def _work(waiting: queue.SimpleQueue[Job[Any] | None]) -> None:
    while (job := waiting.get()) is not None:
        job.run()
        del job  # holds what it gave as long as somebody needs it


def ready_ahead(items: Generator[T], count: int) -> Generator[T]:
    """The same items, up to `count` of them made ahead by a thread; 0: as they come.

    The thread ends with this iterator, whoever drops it.
    """
    if not count:
        yield from items
        return
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(count)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_make_ready, args=(items, ready, stopped), daemon=True, name="ostraca-batches"
    )
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if more:
                yield item
                del item
            elif item is not None:
                raise item
            else:
                return
    finally:
        stopped.set()


_POLL = 0.2  # seconds until a thread sees that nobody wants its items any more


def _make_ready(
    items: Generator[Any], ready: queue.Queue[tuple[bool, Any]], stopped: threading.Event
) -> None:
    def put(more: bool, item: Any) -> None:
        while not stopped.is_set():
            try:
                ready.put((more, item), timeout=_POLL)
                return
            except queue.Full:
                pass

    try:
        for item in items:
            put(True, item)
            if stopped.is_set():
                break
        put(False, None)
    except BaseException as error:
        put(False, error)
    finally:
        items.close()
