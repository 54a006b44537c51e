"""The front door: `ostraca <command> key=value ...`."""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import version
from .conf import CONF
from .conf.own import Own, own_files
from .help import groups_of, help_of
from .pipeline.build.jobs.address_space import out_of_memory, require_address_space
from .pipeline.build.jobs.stopping import Stopped, stoppable
from .pipeline.commands.output import lost_output, output_failed, steady_streams, to_nowhere
from .pipeline.spec.words import key_of, quoted
from .tasks import register_modules
from .tasks.core.counts import whole
from .tasks.errors import ConfigError, OstracaError, OtherVersionWarning, first_line, nearest, shown

# Command -> the module that runs it, imported at first use, and its line in the list.
COMMANDS = {
    "build": ("pipeline.commands.build", "make a corpus of checked, hashed shards and its manifest"),
    "plan": ("pipeline.commands.plan", "what a build would take and what bounds it; builds nothing"),
    "verify": ("pipeline.commands.verify", "check every byte of a corpus against its manifest"),
    "reproduce": ("pipeline.commands.reproduce", "make shards again from the manifest alone and compare"),
    "merge": ("pipeline.commands.merge", "join the parts of a corpus that were built apart"),
    "export": ("pipeline.commands.export", "write a corpus in the format of another training stack"),
    "diff": ("pipeline.commands.diff", "where two corpora differ, and the first example that does"),
    "audit": ("pipeline.commands.audit", "test examples against their exact laws, look for shortcuts"),
    "inspect": ("pipeline.commands.inspect_examples", "show examples token by token, with their verdict"),
    "train-tokenizer": ("pipeline.commands.train_tokenizer", "make a small tokenizer of Capo's text"),
    "random-grammar": ("pipeline.commands.random_grammar", "draw a grammar for Lano and write it to a file"),
    "train": ("training.run", "train a model on a task, a corpus or a mixture"),
    "curve": ("training.curve", "train a model and draw its accuracy hop by hop"),
    "train-minimal": ("training.minimal", "train a tiny GPT-2 for a few steps: the smallest check"),
    "plot": ("training.plots", "draw the hop curves of several runs in one picture"),
}
# Counts whose default is none.
_COUNTS = (
    *("examples", "tokens", "shard_tokens", "row_group_tokens", "shard_examples", "row_group_examples"),
    *("workers", "shards", "in_flight", "num_cpus", "length", "nodes", "cores"),
)
_SPECIAL_COUNT = re.compile(r"='?[0-9][0-9_.]*(?:[kKMGBTeE^]|\*\*)")
_SEARCH = "hydra.searchpath"
# What a command that was stopped has left.
_GOES_ON = {
    "build": "; the same call goes on, finished shards are kept",
    "train": "; the same call goes on after the last checkpoint",
    "curve": "; the same call goes on after the last checkpoint",
}
# What a command's extra is for, where a library is missing.
_EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "matplotlib": "train",
    "safetensors": "train",
    "datasets": "hf",
    "wandb": "wandb",
    "webdataset": "webdataset",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors are one line, with `--debug` a traceback too.

    0: whole, equal, done; 1: damaged, different, or failed on the way; 2: a wrong call; 130, 143, 129:
    stopped by Ctrl-C, SIGTERM, SIGHUP; 141: nobody reads what it prints.
    """
    with stoppable():
        return _guarded(arguments)


def _guarded(arguments: list[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    steady_streams(stops_with_reader=words[:1] == ["inspect"])
    debug = "--debug" in words
    try:
        with _warnings_as_lines():
            status = _main([word for word in words if word != "--debug"])
        lost = lost_output()
        sys.stdout.flush()
        return status if lost is None else _say(lost, status)
    except OstracaError as error:
        if debug:
            raise
        return _say(str(error), 2 if isinstance(error, ConfigError) else 1)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if debug or extra is None:
            raise
        return _say(f"{words[0]} needs {error.name}: pip install 'ostraca[{extra}]'", 1)
    except Stopped as stop:
        return _say(f"stopped by {stop.name}{_GOES_ON.get(words[0], '')}", stop.status)
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except (BrokenPipeError, SystemExit):  # rich makes the second of the first
        to_nowhere()  # the reader of our output has gone
        return 141
    except MemoryError:
        if debug:
            raise
        return _say(out_of_memory(), 1)
    except OSError as error:
        if debug:
            raise
        where = error.filename or ("standard output" if output_failed() else "the system says")
        to_nowhere()
        return _say(f"{where}: {error.strerror or error}", 1)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """What a corpus is said to be is one line for people, however often it is opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", OtherVersionWarning)
        others, said = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, OtherVersionWarning):
                others(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                print(f"ostraca: {message}", file=sys.stderr)

        warnings.showwarning = show
        yield


def _say(line: str, status: int) -> int:
    # Of several processes that torchrun started all find the same fault in a call, and all are stopped.
    if status in (0, 1) or os.environ.get("RANK", "0") == "0":
        print(f"ostraca: {line}", file=sys.stderr)
    return status


def _main(words: list[str]) -> int:
    wants_help = any(word in ("-h", "--help") for word in words)
    words = [word for word in words if word not in ("-h", "--help")]
    if not words:
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"ostraca {version()}")
        return 0
    return _run(words[0], words[1:], wants_help)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = ["ostraca: corpora of synthetic pretraining tasks, the same bytes on any machine", ""]
    lines.append("usage: ostraca <command> key=value ...      (<command> --help: its keys and defaults)")
    lines += ["", *(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())]
    return "\n".join(lines)


def _run(command: str, overrides: list[str], wants_help: bool) -> int:
    if command not in COMMANDS:
        raise ConfigError(
            f"unknown command {command!r}{nearest(command, COMMANDS)}; known: {', '.join(COMMANDS)}"
        )
    if command == "audit":
        overrides = ["json=true" if word == "--json" else word for word in overrides]
    for word in overrides:
        if word.startswith("-") or "=" not in word:
            raise ConfigError(
                f"{word!r} is not key=value; see `ostraca {command} --help` for the keys of {command}"
            )
        # Keys can be added below a corpus or its splits, which are checked as a whole, and nowhere else.
        if word.startswith(("+", "~", "hydra.", "=")) and not word.startswith(("+corpus.", "+splits.")):
            raise ConfigError(
                f"{word!r}: only keys that {command} has can be set (as key=value); "
                f"see `ostraca {command} --help`"
            )
    target, line = COMMANDS[command]
    if wants_help:
        print(help_of(command, line, compose(command, overrides, resolve=False)))
        return 0
    require_address_space()
    config = compose(command, overrides)
    register_modules(_modules(config.pop("task_modules", None)))
    # `overrides`: what the user set, for commands that must tell it from a default.
    config["overrides"] = [word for word in overrides if key_of(word) != "task_modules"]
    status = importlib.import_module(f".{target}", __package__).run(config)
    return int(status or 0)


def _modules(given: Any) -> list[str]:
    """The modules that task_modules=[a,b] names, or task_modules=a."""
    modules = [given] if isinstance(given, str) else given or []
    if not isinstance(modules, list):
        raise ConfigError(f"task_modules={shown(given)} must be a list of modules, e.g. [parity]")
    return modules


def compose(command: str, overrides: list[str], resolve: bool = True) -> dict[str, Any]:
    """The config of a command with Hydra overrides applied, as plain values."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    GlobalHydra.instance().clear()
    words = [_plain_word(command, word) for word in overrides]
    _refuse_twice(words)
    groups = groups_of(command)
    with own_files(words, groups) as own, initialize_config_dir(str(CONF), version_base="1.3"):
        for word in own.words:
            _check_choice(command, word, groups, own)
        search = [quoted(f"file://{folder}") for folder in own.folders]
        words = [f"{_SEARCH}=[{','.join(search)}]", *own.words] if search else own.words
        try:
            config = hydra_compose(command, words)
            plain = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
            base = None  # what the counts are without the call, where it writes one that is none to Hydra
            if any(_SPECIAL_COUNT.search(word) for word in own.words):
                base = OmegaConf.to_container(hydra_compose(command, _choices(words, groups)), resolve=False)
            plain = _whole_counts(plain, base)
        except (HydraException, OmegaConfBaseException, ValueError, YAMLError) as error:
            raise ConfigError(f"{command}: {_explain(command, words, groups, error)}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _choices(words: list[str], groups: list[str]) -> list[str]:
    """The words that choose files, and where to look for them."""
    return [word for word in words if key_of(word) in (*groups, _SEARCH)]


def _refuse_twice(words: list[str]) -> None:
    """ConfigError where a call says two things of one key."""
    seen: dict[str, str] = {}
    for word in words:
        key = key_of(word)
        if key in seen:
            raise ConfigError(f"{key} is given twice ({seen[key]} and {word}); leave one out")
        seen[key] = word


def _whole_counts(value: Any, base: Any, name: str = "") -> Any:
    """A config in which every count is an integer, however it was written."""
    if isinstance(value, dict):
        below = base if isinstance(base, dict) else {}
        return {key: _whole_counts(inner, below.get(key), str(key)) for key, inner in value.items()}
    is_count = name in _COUNTS or (isinstance(base, int) and not isinstance(base, bool))
    return whole(value) if is_count else value


def _plain_word(command: str, word: str) -> str:
    """`dataset.K=16` means `dataset.config.K=16`, and `~/` is the home folder.

    `dataset=NAME` means `name=NAME` where it is no choice of a file but one of a corpus's datasets: Hydra has
    no other meaning for the name of a config group.
    """
    key, _, value = word.partition("=")
    if key == "dataset" and command == "export":
        key = "name"
    if key == "vocabulary.offset":  # Hydra knows nothing below a value, as of vocabulary=shared
        key = "vocabulary_offset"
    parts = key.split(".")
    if parts[0] == "dataset" and len(parts) == 2 and parts[1] not in ("name", "task", "config"):
        key = f"dataset.config.{parts[1]}"
    if value.startswith("~/"):
        value = os.path.expanduser(value)
    if re.fullmatch(r"[0-9]+(\^|\*\*)[0-9]+", value):  # Hydra cannot read a power
        value = f"'{value}'"
    return f"{key}={value}"


def _check_choice(command: str, word: str, groups: list[str], own: Own) -> None:
    """ConfigError where a command has no such config group, or the group no such file."""
    key, _, value = word.partition("=")
    first = key_of(word).partition(".")[0]
    if (CONF / first).is_dir() and first not in groups and f"{first}:" not in _own_keys(command):
        takes = ", ".join(f"{group}=" for group in groups)
        takes = f"; of conf's files it takes {takes}" if takes else ""
        raise ConfigError(f"{word}: {command} takes no {first}={takes} (see `ostraca {command} --help`)")
    if key in groups and value != "null" and not own.has(key, value):
        known = own.choices(key)
        raise ConfigError(
            f"{key}={value}: no such {key}{nearest(value, known)}; known: {', '.join(known)}, or a path.yaml"
        )


def _own_keys(command: str) -> set[str]:
    """The keys at the top of a command's file, each with its colon."""
    return set(re.findall(r"^\w+:", (CONF / f"{command}.yaml").read_text(), flags=re.MULTILINE))


def _explain(command: str, overrides: list[str], groups: list[str], error: Exception) -> str:
    """One line on why a config could not be composed."""
    from hydra import compose as hydra_compose
    from hydra.errors import OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; put the value in quotes, e.g. 'out=\"a=b\"'"
    if isinstance(error, MissingMandatoryValue):
        key = getattr(error, "full_key", None) or str(error).rpartition(" ")[2]
        return f"{key}=... is missing; see `ostraca {command} --help`"
    chosen = _choices(overrides, groups)
    for word in chosen:
        if word.endswith("=null"):
            return f"{word}: {command} needs one; see `ostraca {command} --help`"
    try:
        base = OmegaConf.to_container(hydra_compose(command, chosen), resolve=False)
    except Exception:  # of a file that the user wrote: any of three libraries' own
        return first_line(error)
    known = sorted(_flat_keys(base))
    for word in overrides:
        key = key_of(word)
        if key not in (*groups, _SEARCH, *known):
            return f"unknown key {key!r}{nearest(key, known)}; see `ostraca {command} --help` for all keys"
    return first_line(error)


def _flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat_keys(value, f"{prefix}{key}.")
