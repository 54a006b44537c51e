"""Builds in processes forked from one that has everything imported and compiled, so a SIGKILL costs 0.1 s.

`Forks` starts this file as a program: the server. It forks a process for every build; that one writes a
line for each point that it passes (a file about to be synced, named, removed), and is killed by SIGKILL at
one of these points or at any moment.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent


class Forks:
    """A server of builds; as a context manager it ends with all that it started."""

    def __init__(self, specs: Sequence[dict[str, Any]], **environment: str) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), json.dumps(specs)]
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{_TESTS.parent}:{_TESTS}", **environment},
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(30)

    def build(self, root: Path, spec: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Build `spec` in `root` in a process of its own; see `_serve` for options and answer."""
        return self.all_of([{"root": str(root), "spec": spec, **options}])[0]

    def hold(self, root: Path | str, spec: dict[str, Any], *, number: int, after: bool) -> bool:
        """Begin a build that stops (SIGSTOP) where it looks for the `number`-th time whether it may write.

        after: when it has looked. Whether it stopped; else it has ended. `go_on` ends it.
        """
        order = {"root": str(root), "spec": spec, "hold": [number, after]}
        return bool(self._ask(order))

    def go_on(self) -> dict[str, Any]:
        """Let the build that was stopped go on to its end; its stages: how often it looked."""
        answer: dict[str, Any] = self._ask("go on")
        return answer

    def all_of(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Several builds at the same time."""
        answers: list[dict[str, Any]] = self._ask(orders)
        return answers

    def _ask(self, message: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(message) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def _begin(order: dict[str, Any]) -> tuple[int, Any]:
    """A process that builds, and what it tells."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _drive(order, write)
    os.close(write)
    return child, os.fdopen(read)


def _end(child: int, lines: Any, passed: list[str], status: int | None = None) -> dict[str, Any]:
    """The answer of a build, at its end; `status`: how it ended, where that is known."""
    passed += lines  # the pipe ends with the process
    lines.close()
    if status is None:
        _, status = os.waitpid(child, 0)
    words = [each.strip() for each in passed if each.strip()]
    errors = [each.removeprefix("error: ") for each in words if each.startswith("error: ")]
    killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    stages = [each for each in words if not each.startswith("error: ")]
    return {"killed": killed, "error": errors[0] if errors else None, "stages": stages}


def _serve(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run builds at the same time.

    An order: root, spec; engine, workers, ray, report; small: patch the sizes from which work is shared out
    (of the local engine); at: [stage, n]: die at the n-th point of a stage; after: seconds from
    the first point to SIGKILL. The answer: killed, error (its line, where it ended with one), stages: of all
    points that it passed.
    """
    begun = []
    for order in orders:
        begun.append((order, *_begin(order)))
    answers = []
    for order, child, lines in begun:
        passed = [lines.readline()]
        if order.get("after") is not None:
            time.sleep(order["after"])
            os.kill(child, signal.SIGKILL)
        answers.append(_end(child, lines, passed))
    return answers


def _drive(order: dict[str, Any], pipe: int) -> None:
    """The process of one build: never returns."""
    try:
        _build(order, pipe)
    except BaseException as error:
        os.write(pipe, f"error: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(0)


def _build(order: dict[str, Any], pipe: int) -> None:
    from ostraca.pipeline.build.build import build
    from ostraca.pipeline.build.dedup import search
    from ostraca.pipeline.build.jobs.watch import Watch
    from ostraca.pipeline.corpus import manifest

    if order.get("small"):
        search._PARALLEL, search.TAIL_EXAMPLES = 1, 8
    manifest._INLINE_BYTES, manifest._PART_BYTES = 1500, 600
    root, (last, number), passed = Path(order["root"]).resolve(), order.get("at", (None, 0)), 0

    def at_point(stage: str) -> None:
        nonlocal passed
        os.write(pipe, f"{stage}\n".encode())
        passed += stage == last
        if stage == last and passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            at_point(_stage(root, name, arguments[-1] if name in ("link", "replace") else arguments[0]))
            return real(*arguments, **options)

        return call

    if "hold" in order:
        build(order["spec"], _held(order, pipe), engine="local")
        return
    for name in ("fsync", "link", "replace", "unlink", "rmdir"):
        setattr(os, name, wrapped(name, getattr(os, name)))
    options = {key: order[key] for key in ("workers", "ray", "report") if key in order}
    engine = order.get("engine", "local")
    if engine == "ray":  # the files are made by other processes
        options["watch"] = Watch(
            on_shard=lambda record, kept: at_point("a shard is made"),
            on_step=lambda what, done, of: at_point("a step is done"),
        )
    build(order["spec"], order["root"], engine=engine, **{"workers": 2, **options})


def _held(order: dict[str, Any], pipe: int) -> Any:
    """The folder of an order to hold: of a store with short leases, or of the disk."""
    from ostraca.pipeline.store.lease import Term
    from ostraca.pipeline.store.local import LocalFolder
    from ostraca.pipeline.store.remote import RemoteFolder

    (number, after), looks = order["hold"], itertools.count(1)  # its next() is one step for all threads

    def wrapped(real: Callable[..., None]) -> Callable[..., None]:
        def look(self: Any, **how: bool) -> None:
            if self._fence is None:  # the lease's own renewals: as many as there is time for
                return real(self, **how)
            stops = next(looks) == number
            os.write(pipe, b"look\n")
            if stops and not after:
                signal.raise_signal(signal.SIGSTOP)  # this thread, here
            real(self, **how)
            if stops and after:
                signal.raise_signal(signal.SIGSTOP)  # this thread, here
            return None

        return look

    for kind in (LocalFolder, RemoteFolder):
        kind._allowed = wrapped(kind._allowed)  # type: ignore[attr-defined, method-assign]
    where = order["root"]
    return RemoteFolder(where, term=Term(expires=1.0, settle=0.01)) if "://" in where else where


def _stage(root: Path, name: str, where: Any) -> str:
    """The stage of a build in which a file, given by its path or open, is made or removed."""
    if name in ("unlink", "rmdir"):  # below a folder that is being removed its names are short
        return "clearing away"
    path = Path(os.readlink(f"/proc/self/fd/{where}")) if isinstance(where, int) else Path(where)
    if not path.resolve().is_relative_to(root):
        return "elsewhere"  # Ray's own files
    inside = path.resolve().relative_to(root).as_posix()
    own = next((stage for prefix, stage in _STAGES.items() if inside.startswith(prefix)), None)
    if own is not None:
        return own
    again = (root / ".ostraca-build/dedup/outcome.json").exists()
    return "shards again" if again else "shards"


_STAGES = {
    ".ostraca-build/dedup/prints/0000": "fingerprints",
    ".ostraca-build/dedup/prints": "drawing again",
    ".ostraca-build/dedup/lost": "hash ranges",
    ".ostraca-build/dedup/table": "tables",
    ".ostraca-build/dedup/eval": "fingerprints of eval splits",
    ".ostraca-build/aside": "shards put aside",
    ".ostraca-build/dedup": "outcome",  # and the tail
    ".ostraca-build/shards": "records",
    ".ostraca-build": "spec",
    ".tokenizer": "tokenizers",
    "tokenizer": "tokenizers",
    ".manifest.json": "manifest",
    "manifest.json": "manifest",
    "manifest": "records of the manifest",
    "report": "report",
    "README": "report",
    "croissant": "report",
    ".README": "report",
    ".croissant": "report",
    ".report": "report",
    ".": "folder",
}


def main() -> None:
    """Serve orders from standard input until it ends."""
    with suppress(ImportError):
        import ray  # noqa: F401 (forked processes have it)

    import ostraca.pipeline.build.build  # noqa: F401
    from ostraca.pipeline.build.shards.warm import warm_kernels
    from ostraca.pipeline.spec.check import check_spec

    for spec in json.loads(sys.argv[1]):
        warm_kernels(check_spec(spec))
    held, status = None, None
    for line in sys.stdin:
        message = json.loads(line)
        if isinstance(message, dict):
            held = _begin(message)
            _, status = os.waitpid(held[0], os.WUNTRACED)
            answer: Any = os.WIFSTOPPED(status)
        elif message == "go on":
            assert held is not None
            if os.WIFSTOPPED(status):
                os.kill(held[0], signal.SIGCONT)
                status = None
            answer = _end(*held, [], status)
        else:
            answer = _serve(message)
        print(json.dumps(answer), flush=True)
    if held is not None:
        with suppress(ProcessLookupError):
            os.kill(held[0], signal.SIGKILL)


if __name__ == "__main__":
    main()
