"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import ostraca
from ostraca import cli
from ostraca.pipeline.build.build import build

README = (Path(ostraca.__file__).resolve().parent.parent / "README.md").read_text()
COMMANDS = [
    line.partition("  #")[0].removeprefix("$ ").strip()
    for line in README.splitlines()
    if re.match(r"(\$ )?ostraca [a-z-]+ ", line)
]


TRAINING = [
    line.partition("  #")[0].strip().removesuffix("...").strip()
    for line in (Path(ostraca.__file__).resolve().parent.parent / "training/README.md")
    .read_text()
    .splitlines()
    if line.strip().startswith("ostraca ")
]


@pytest.mark.parametrize("command", [*COMMANDS, *TRAINING])
def test_every_command_has_the_keys_it_is_called_with(command: str) -> None:
    _, name, *overrides = shlex.split(command)
    cli.compose(name, overrides)


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 12
    assert len(TRAINING) > 5
    assert {command.split()[1] for command in COMMANDS} == set(cli.COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if " inspect dataset=" in command])
def test_shown_examples_are_what_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(shlex.split(command)[1:]) == 0
    printed = capsys.readouterr().out.strip()
    if f"$ {command}\n" in README:
        assert f"$ {command}\n{printed}\n" in README
    assert printed.endswith("\nvalid")


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small corpus, and the first batches of the endless stream."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    splits = {"train": {"tokens": 60_000}}
    datasets = {task: {"task": task, "splits": splits} for task in ("brevo", "mano")}
    build({"vocabulary": "shared", "datasets": datasets}, tmp_path / "corpora/five", engine="local")
    monkeypatch.chdir(tmp_path)
    assert "    state = stream.state_dict()" in code
    exec(code + "    break\n", {})
