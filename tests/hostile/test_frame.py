"""The frame of the trials sees each outcome for what it is."""

from __future__ import annotations

import time
from pathlib import Path

from harness import hostile
from harness.hostile import Case, Reader, try_all

from ostraca.tasks.errors import OstracaError


def _told(root: Path, out: Path) -> str:
    if (root / "damaged").exists():
        raise OstracaError("damaged; build it again")
    return "whole"


class _TwoLinesError(OstracaError):
    """No message of ours can be one."""

    def __str__(self) -> str:
        return "damaged;\nbuild it again"


def _tells_in_two_lines(root: Path, out: Path) -> str:
    if (root / "damaged").exists():
        raise _TwoLinesError
    return "whole"


def _raises(root: Path, out: Path) -> str:
    return "whole" if not (root / "damaged").exists() else {}["whole"]


def _hangs(root: Path, out: Path) -> str:
    if (root / "damaged").exists():
        time.sleep(30)
    return "whole"


def _other(root: Path, out: Path) -> str:
    return "other" if (root / "damaged").exists() else "whole"


READERS = {
    "told": _told,
    "two lines": _tells_in_two_lines,
    "raises": _raises,
    "hangs": _hangs,
    "other": _other,
    "blind": lambda root, out: "whole",
    "silent": lambda root, out: "whole",
}


def test_each_outcome_is_counted_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    case = Case(name="a", damage=lambda root: (root / "damaged").touch(), told_by=frozenset({"silent"}))
    readers = [Reader(name=name, read=read) for name, read in READERS.items()]
    tally = try_all(tmp_path / "c", [case], readers, tmp_path / "scratch", seconds=0.2)
    assert dict(tally.counts) == {
        ("told", "told"): 1,
        ("two lines", "traceback"): 1,
        ("raises", "traceback"): 1,
        ("hangs", "hang"): 1,
        ("other", "wrong"): 1,
        ("blind", "unharmed"): 1,
        ("silent", "wrong"): 1,
    }
    assert len(tally.bad) == 5


def test_commands_are_tried_in_this_process_and_in_their_own(tmp_path: Path, corpus: Path) -> None:
    words = ("verify", "path={path}")
    readers = [hostile.main(*words), hostile.command(*words)]
    shards = sorted(path.relative_to(corpus) for path in corpus.rglob("*.parquet"))
    cases = [
        Case(name="gone", damage=lambda root: (root / shards[0]).unlink(), told_by=frozenset({"verify"})),
        Case(name="untouched", damage=lambda root: None),
    ]
    tally = try_all(corpus, cases, readers, tmp_path / "scratch")
    tally.check()
    assert sorted(tally.counts) == [
        ("$ verify", "told"),
        ("$ verify", "unharmed"),
        ("verify", "told"),
        ("verify", "unharmed"),
    ]
