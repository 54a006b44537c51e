"""Work done ahead by threads: jobs in the order in which they are needed, and a bounded queue of results."""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_PATIENCE = 5.0  # seconds that the end of a stream, or of the process, waits for what is under way
_POLL = 0.2  # seconds until a thread sees that nobody wants its items any more

# Python ends a thread that is inside of native code together with the process; so all end before that.
_running: weakref.WeakSet[Workers | _Ahead] = weakref.WeakSet()
os.register_at_fork(after_in_child=_running.clear)  # threads are not there in a forked process


@atexit.register
def _end_all() -> None:
    for each in list(_running):
        each.stop()
        _join(each.threads)  # also where it was stopped by a thread of its own, or ran out of patience


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        if thread is not threading.current_thread():  # which may be the last to hold what it works for
            thread.join(_PATIENCE)


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

    def result(self, workers: Workers | None = None) -> T:
        """What came of it; raises what it raised. Who has to wait helps the workers meanwhile."""
        self.run()
        while workers is not None and not self._done.is_set() and workers.help():
            pass
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def default_threads() -> int:
    """One beside the thread that lays batches, two where there are cores for them."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min(2, cores - 1))


class Workers:
    """Some threads that do jobs in the order in which they are given; none where `count` is 0."""

    def __init__(self, count: int) -> None:
        self._waiting: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self.threads = [
            threading.Thread(target=_work, args=(self._waiting,), daemon=True, name=f"ostraca-read-{number}")
            for number in range(count)
        ]
        self._over = False
        _running.add(self)
        for thread in self.threads:
            thread.start()

    def give(self, job: Job[Any]) -> None:
        """Have a job done."""
        if self.threads:
            self._waiting.put(job)

    def help(self) -> bool:
        """Do a job that none has begun; False where there is none."""
        try:
            job = self._waiting.get_nowait()
        except queue.Empty:
            return False
        if job is None:  # meant for a worker
            self._waiting.put(None)
            return False
        job.run()
        return True

    def stop(self) -> None:
        """No job is begun any more; those that are under way are waited for."""
        if self._over:  # what Python takes away at its end is not needed again
            return
        self._over = True
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self.threads:
            self._waiting.put(None)
        _join(self.threads)


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
    ahead = _Ahead(items, count)
    try:
        while True:
            more, item = ahead.ready.get()
            if more:
                yield item
                del item
            elif item is not None:
                raise item
            else:
                return
    finally:
        ahead.stop()


class _Ahead:
    """A thread that makes items until nobody wants them any more."""

    def __init__(self, items: Generator[Any], count: int) -> None:
        self.ready: queue.Queue[tuple[bool, Any]] = queue.Queue(count)
        self._items = items
        self._stopped = threading.Event()
        self.threads = [threading.Thread(target=self._make, daemon=True, name="ostraca-batches")]
        _running.add(self)
        self.threads[0].start()

    def stop(self) -> None:
        """No item is begun any more; the one that is under way is waited for."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        with suppress(queue.Empty):
            self.ready.get_nowait()  # one who waits to put something there goes on
        _join(self.threads)

    def _make(self) -> None:
        try:
            for item in self._items:
                self._put(True, item)
                if self._stopped.is_set():
                    break
                del item
            self._put(False, None)
        except BaseException as error:
            self._put(False, error)
        finally:
            self._items.close()

    def _put(self, more: bool, item: Any) -> None:
        while not self._stopped.is_set():
            try:
                self.ready.put((more, item), timeout=_POLL)
                return
            except queue.Full:
                pass
