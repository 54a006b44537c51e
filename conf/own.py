"""Config files of the user's own: a file in place of a name, a folder of them, a mixture of datasets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..tasks.errors import ConfigError, nearest
from . import CONF

_MIXTURE_TOKENS = 10_000_000  # of train of each dataset, where the call says no more
_MOST_BYTES = 1 << 20
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MADE = "own-"  # begins the names of files that are made here


@dataclass(frozen=True, kw_only=True)
class Own:
    """The words of a call that Hydra understands, and the folders it must look into beside conf."""

    words: list[str]
    folders: list[Path]

    def choices(self, group: str) -> list[str]:
        """The names of a group's files, but those that were made of the call's own words."""
        return [name for name in _names(group, self.folders) if not name.startswith(_MADE)]

    def has(self, group: str, name: str) -> bool:
        """Whether there is such a file of a group."""
        return name in _names(group, self.folders)


def _names(group: str, folders: Sequence[Path]) -> list[str]:
    return sorted({path.stem for folder in (CONF, *folders) for path in (folder / group).glob("*.yaml")})


@contextmanager
def own_files(words: Sequence[str], groups: Sequence[str]) -> Iterator[Own]:
    """What is the user's own in the words of a call, put where Hydra finds it.

    corpus=FILE.yaml (any of the command's groups), model=MODULE:NAME, datasets=[NAME,...] and config_dir=DIR.
    ConfigError names the word that cannot be used.
    """
    given = [(word, *word.partition("=")[::2]) for word in words]
    folders = [_folder(word, value) for word, key, value in given if key == "config_dir"]
    rest: list[str] = []
    made: list[tuple[str, str, str]] = []  # group, name and text of files that are to be written
    for word, key, value in given:
        if key == "config_dir":
            continue
        if key == "datasets" and "corpus" in groups:
            group, text = "corpus", _mixture(word, value, _names("dataset", folders))
        elif key == "model" and key in groups and _CALLABLE.fullmatch(value):
            group, text = key, f"name: {value.partition(':')[2]}\nkind: own\ntarget: {value}\noptions: null\n"
        elif key in groups and value.endswith((".yaml", ".yml")):
            group, text = key, _text(word, value)
        else:
            rest.append(word)
            continue
        name = f"{_MADE}{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        made.append((group, name, text))
        rest.append(f"{group}={name}")
    if not made:
        yield Own(words=rest, folders=folders)
        return
    with TemporaryDirectory(prefix="ostraca-conf-") as root:
        for group, name, text in made:
            (Path(root) / group).mkdir(exist_ok=True)
            (Path(root) / group / f"{name}.yaml").write_text(text)
        yield Own(words=rest, folders=[*folders, Path(root)])


def _folder(word: str, value: str) -> Path:
    folder = Path(os.path.expanduser(value)).absolute()
    if not folder.is_dir():
        raise ConfigError(f"{word}: no such folder; it must hold folders like conf's: corpus, dataset, ...")
    return folder


def _text(word: str, value: str) -> str:
    path = Path(os.path.expanduser(value))
    if not path.is_file():
        raise ConfigError(f"{word}: no such file; name one of conf's, or the path of a .yaml file")
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError(f"{word}: has over {_MOST_BYTES >> 20} MiB; it is not a config")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text in UTF-8"
        raise ConfigError(f"{word}: cannot be read ({reason})") from error


def _mixture(word: str, value: str, known: Sequence[str]) -> str:
    """A corpus of these datasets, one vocabulary for all, as many tokens of each."""
    if not re.fullmatch(r"\[ *[\w.-]+( *, *[\w.-]+)* *\]", value):
        raise ConfigError(f"{word}: must be a list of datasets, e.g. 'datasets=[depo1,mano-13]'")
    names = re.findall(r"[\w.-]+", value)
    for number, name in enumerate(names):
        if name not in known:
            raise ConfigError(f"{word}: no such dataset{nearest(name, known)}; known: {', '.join(known)}")
        if name in names[:number]:
            raise ConfigError(f"{word}: {name} is listed twice")
    joined = "_".join(names)
    lines = [f"name: {joined if len(joined) <= 64 else 'mixture'}", "vocabulary: shared", "defaults:"]
    lines += [f"  - /dataset@datasets.{name}: {name}" for name in names]
    lines += ["  - _self_", "datasets:"]
    for name in names:
        splits = f"{{train: {{tokens: {_MIXTURE_TOKENS}}}, test: {{form: test}}}}"
        lines.append(f"  {name}: {{splits: {splits}}}")
    return "\n".join(lines) + "\n"
