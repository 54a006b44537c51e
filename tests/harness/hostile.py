"""What readers and commands make of a corpus that was damaged, or made to harm: tried, and counted.

A `Case` damages a copy of a corpus; every `Reader` then reads it. What comes of it is one of

    told       an OstracaError of one line, or a command's status other than 0 with lines for people
    unharmed   what the whole corpus gives: the damage is in nothing that this reader reads
    wrong      another value, or the whole corpus's where this reader has to tell (`Case.told_by`)
    traceback  any other exception, or a message of several lines
    hang       nothing after `seconds`

and the last three must never be. What only ends a process of its own (a reader that blocks in the system, a
crash) is tried with `command`.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostraca.tasks.errors import OstracaError

BAD = ("wrong", "traceback", "hang")
_OSTRACA = Path(__file__).resolve().parents[2] / "ostraca"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way to damage a corpus; `damage` changes the folder that it is given.

    told_by: the names of readers that must tell.
    """

    name: str
    damage: Callable[[Path], object]
    told_by: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Reader:
    """`read(corpus, scratch)` gives what is compared with `==`; `scratch` is a folder that is not there."""

    name: str
    read: Callable[[Path, Path], Any]


class ToldError(Exception):
    """A command has said what is wrong: `said` are its lines for people."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(kw_only=True)
class Tally:
    """What came of all trials."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (reader, outcome)
    bad: list[str] = field(default_factory=list)  # a line each

    def check(self) -> None:
        """Print the counts; AssertionError with the first bad ones where there are any."""
        print(f"\n{self}")
        assert not self.bad, "\n".join([f"{len(self.bad)} bad:", *self.bad[:40]])

    def __str__(self) -> str:
        readers = dict.fromkeys(reader for reader, _ in self.counts)
        outcomes = ("told", "unharmed", *BAD)
        lines = ["".join(f"{each:>12}" for each in ("", "tried", *outcomes))]
        for reader in readers:
            own = [self.counts[reader, outcome] for outcome in outcomes]
            lines.append(f"{reader:>12}" + "".join(f"{each:>12,}" for each in (sum(own), *own)))
        return "\n".join(lines)


def try_all(
    corpus: Path, cases: Iterable[Case], readers: Sequence[Reader], scratch: Path, seconds: float = 20.0
) -> Tally:
    """Every reader on every damaged copy of `corpus`, in the folder `scratch`."""
    tally = Tally()
    truth = {each.name: each.read(corpus, scratch / "truth" / each.name) for each in readers}
    for number, case in enumerate(cases):
        root = scratch / f"corpus-{number}"  # each of its own: nothing that a reader keeps helps it
        shutil.copytree(corpus, root, symlinks=True)
        case.damage(root)
        for each in readers:
            out = scratch / "out"
            shutil.rmtree(out, ignore_errors=True)
            outcome, said = _try(each, root, out, truth[each.name], each.name in case.told_by, seconds)
            tally.counts[each.name, outcome] += 1
            if outcome in BAD:
                tally.bad.append(f"{case.name}: {each.name}: {outcome}: {said}")
        shutil.rmtree(root)
    return tally


def _try(
    reader: Reader, root: Path, out: Path, truth: Any, must_tell: bool, seconds: float
) -> tuple[str, str]:
    """The outcome of a trial, and what is to be said of it."""
    try:
        with time_limit(seconds):
            found = reader.read(root, out)
    except (OstracaError, ToldError) as error:
        said = str(error)
        bad = "Traceback" in said or not said.strip() or (isinstance(error, OstracaError) and "\n" in said)
        return ("traceback" if bad else "told"), said
    except (TimedOutError, subprocess.TimeoutExpired):
        return "hang", f"nothing after {seconds} s"
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    if found != truth:
        return "wrong", f"{str(found)[:200]} instead of {str(truth)[:200]}"
    return ("wrong", "nothing was told") if must_tell else ("unharmed", "")


class TimedOutError(BaseException):
    """No reader may catch it by mistake."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimedOutError in the main thread after so long; pytest's own limit goes on."""

    def stop(*_: object) -> None:
        raise TimedOutError

    begun = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - begun)), interval)


def main(*words: str) -> Reader:
    """A command in this process; {path} and {out} in its words are the corpus and the scratch folder."""

    def read(path: Path, out: Path) -> str:
        from ostraca import cli

        said, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            status = cli.main([word.format(path=path, out=out) for word in words])
        return _answer(status, said.getvalue(), told.getvalue(), path, out)

    return Reader(name=words[0], read=read)


def command(*words: str, seconds: float = 60.0) -> Reader:
    """A command in a process of its own, which is killed where it hangs."""

    def read(path: Path, out: Path) -> str:
        done = subprocess.run(
            [sys.executable, str(_OSTRACA), *(word.format(path=path, out=out) for word in words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return _answer(done.returncode, done.stdout, done.stderr, path, out)

    return Reader(name=f"$ {words[0]}", read=read)


def _answer(status: int, out: str, err: str, *folders: Path) -> str:
    """What a command printed, wherever the corpus stands; ToldError where its status is not 0."""
    if status == 0:
        said = "".join(out.split())  # of whatever length the folders' names are, which moves line breaks
        for name, folder in zip(("CORPUS", "OUT"), folders, strict=True):
            said = said.replace(str(folder), name)
        return said
    said = err or out
    if status < 0 or "Traceback" in out + err or err.count("\n") > 1:
        said = f"Traceback, or several lines: status {status}: {said}"
    raise ToldError(said)
