"""What `ostraca <command> --help` prints: the keys of a config with their comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .conf import CONF


def groups_of(command: str) -> list[str]:
    """The config groups that a command has."""
    body = (CONF / f"{command}.yaml").read_text().partition("defaults:\n")[2]
    return re.findall(r"^  - (\w+):", body, flags=re.MULTILINE)


def help_of(command: str, line: str, config: dict[str, Any]) -> str:
    """The command's keys with the values they have now and their comments, then its config groups."""
    notes = (CONF / f"{command}.yaml").read_text().partition("defaults:\n")[0]
    groups = groups_of(command)
    own = {key: value for key, value in config.items() if key not in groups}
    text = [f"ostraca {command} key=value ...   {line}", ""]
    text += [f"  {note}" for note in notes.splitlines() if note.startswith("#")]
    text += ["", *_commented(own, [CONF / f"{command}.yaml"])]
    for group in groups:
        files = sorted((CONF / group).glob("*.yaml"), key=lambda path: (path.stem != "default", path))
        text += ["", f"{group}=   {', '.join(sorted(path.stem for path in files))}"]
        if config.get(group) is not None:
            text += _commented({group: config[group]}, files)
    return "\n".join(text)


def _commented(config: dict[str, Any], files: list[Path]) -> list[str]:
    """The config as YAML lines, each with its key's comment in the first of `files` that has one.

    Of keys of one name the comment counts that stands below the same key, if one does. Below the name of a
    dataset come its own file's comments: a key may mean another thing in each task.
    """
    from omegaconf import OmegaConf

    comments = _comments(reversed(files))
    own: dict[tuple[str, str], str] = {}
    lines = []
    for line, parent, key in _keys(OmegaConf.to_yaml(OmegaConf.create(config))):
        line = re.sub(r"^(\s*)'(\w+)':", r"\1\2:", line)  # YAML 1.1 takes N for no, and quotes it
        if key == "name":
            file = f"{line.partition(': ')[2]}.yaml"
            places = (CONF / "dataset" / file, CONF / "dataset/small" / file)
            own = next((_comments([place]) for place in places if place.is_file()), own)
        helps = (known.get(place) for place in ((parent, key), ("*", key)) for known in (own, comments))
        comment = next((text for text in helps if text), "")
        goes_on = line.count("'") % 2 == 1  # a text of several lines
        lines.append(f"  {line}  # {comment}" if comment and not goes_on else f"  {line}")
    return lines


def _comments(files: Iterable[Path]) -> dict[tuple[str, str], str]:
    """(the key above or "", key) -> its comment in the last of `files` that has one; ("*", key): anywhere."""
    helps: dict[tuple[str, str], str] = {}
    for path in files:
        first: dict[tuple[str, str], str] = {}
        for line, parent, key in _keys(path.read_text()):
            comment = line.partition("  # ")[2]
            if key and comment:
                first.setdefault((parent, key), comment)
                first.setdefault(("*", key), comment)
        helps |= first
    return helps


def _keys(text: str) -> Iterator[tuple[str, str, str]]:
    """Each line of some YAML, the key above its key ("" at the top) and its key ("" where it has none)."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"(\s*)'?(\w+)'?:", line)
        if match is None:
            yield line, "", ""
            continue
        above = [outer for outer in above if outer[0] < len(match[1])]
        yield line, above[-1][1] if above else "", match[2]
        above.append((len(match[1]), match[2]))
