"""On a terminal of any width, and in a pipe: every name and every figure is there."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console
from rich.table import Table

from ostraca.pipeline.commands import progress
from ostraca.pipeline.commands.progress import ShardProgress
from ostraca.pipeline.commands.tables import print_table


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_table(console, table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def table() -> Table:
    found = Table(box=None)
    found.add_column("")
    for heading in ("examples", "tokens", "bytes/token"):
        found.add_column(heading, justify="right", no_wrap=True)
    found.add_row("a-dataset-with-a-long-name/train", "1,234,567", "98,765,432", "1.05")
    found.add_row("b/test", "1", "", "0.90")
    return found


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    text = shown(table(), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for cell in (
        "a-dataset-with-a-long-name/train",
        "1,234,567",
        "98,765,432",
        "bytes/token",
        "0.90",
        "b/test",
    ):
        assert cell in re.sub(r"\n", "", text) or cell in " ".join(text.split())


def test_in_a_pipe_a_line_every_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert progress.EVERY_SECONDS == 30
    monkeypatch.setenv("OSTRACA_PROGRESS_SECONDS", "0.05")
    with ShardProgress("build x", 8, 80) as bar:
        bar.advance(10, 0)  # was there already
        bar.advance(10, 1_000_000)
        bar.step("hash ranges", 1, 4)
        time.sleep(0.3)
        bar.advance(10, 1_000_000)
        assert bar._line().startswith("build x: 3 of 8 shards"), "the step is over"
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert 2 <= len(lines) <= 7
    for line in lines:
        assert re.fullmatch(
            r"hash ranges \(1/4\): 2 of 8 shards, 0 s, [\d.]+ Mtok/s, about \d+ s left", line
        ), line
    time.sleep(0.1)
    assert capsys.readouterr().err == "", "silent when it is over"


def test_a_short_command_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with ShardProgress("verify", 8, 80) as bar:
        bar.advance(10)
    assert capsys.readouterr().err == ""
