"""Capo's config: its keys, the check at the door, and what its parts stand for.

An example is a function of its config alone, so folders of lists are read once and stand in the complete
config entry by entry, and a tokenizer other than Capo's own is held to its digest. The lists that come with
the task stay null: they are part of its version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base import Key, check_keys
from ..core.paths import local_or_name
from ..core.tokenizer import Loaded
from ..errors import ConfigError, shown
from .encode import Encoder, encoder
from .people import count_names
from .text import (
    POOLS,
    SENTENCES,
    Content,
    check_lists,
    content_of,
    default_fields,
    default_templates,
    pools_of,
    read_lists,
)
from .tokenizer import load_tokenizer

KEYS = {
    "num_people": Key(default=50_000, low=1, help="people in the corpus, out of the population"),
    "exposures": Key(default=100, low=1, help="biographies per person"),
    "order": Key(default=True, kind=bool, help="sentences in a new random order at each exposure"),
    "reverse_md": Key(default=False, kind=bool, help="dates as 18 of March, 1940, not March 18, 1940"),
    "bio": Key(default="tokens", kind=str, choices=("tokens", "text"), help="tokens, or plain text"),
    "tokenizer_name_or_path": Key(
        default=None, kind=str, optional=True, help="a folder with a tokenizer.json (null: Capo's own)"
    ),
    "tokenizer_sha256": Key(
        default=None, kind=str, optional=True, help="its digest (filled in; any other tokenizer is refused)"
    ),
    "eos": Key(default=True, kind=bool, help="end each paragraph with the end-of-text token"),
    "population_seed": Key(
        default=None, high=2**63 - 1, optional=True, help="who the people are (null: the corpus's seed)"
    ),
    "fields_dir": Key(
        default=None, kind=Path, optional=True, help="a folder with names and values of your own"
    ),
    "templates_dir": Key(default=None, kind=Path, optional=True, help="a folder with sentences of your own"),
    "fields": Key(default=None, kind=object, optional=True, help="the names and values (from fields_dir)"),
    "templates": Key(default=None, kind=object, optional=True, help="the sentences (from templates_dir)"),
    "attributes": Key(default=False, kind=bool, help="also the person's values as columns of strings"),
}
# These choose the form of an example, not what it says: the same text whatever the tokenizer.
_FORM = ("bio", "tokenizer_name_or_path", "tokenizer_sha256", "eos", "attributes")


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("capo: ", config, KEYS)
    _take_in(full, "fields", POOLS)
    _take_in(full, "templates", SENTENCES)
    names = count_names(pools_of(fields_of(full)))
    if full["num_people"] > names:
        raise ConfigError(
            f"capo: num_people={full['num_people']} need as many different names, but the lists of first, "
            f"middle and last names give {names:,}; lower num_people or lengthen the lists"
        )
    _check_tokenizer(full)
    if not full["attributes"]:  # left out: specs and corpora of before the key was there are as they were
        del full["attributes"]
    return full


def _take_in(full: dict[str, Any], key: str, names: Sequence[str]) -> None:
    """Read the lists of a folder into the config; the default ones are null."""
    folder, given = full[f"{key}_dir"], full[key]
    if folder is not None and given is not None:
        raise ConfigError(
            f"capo: {key}_dir={shown(folder)} and {key} are both given, and {key} is what a folder is read "
            "into; leave one out"
        )
    if folder is not None:
        given = read_lists(folder, names, f"{key}_dir")
    elif given is not None:
        given = check_lists(given, names, key)
    default = default_fields if key == "fields" else default_templates
    if given is not None and content_of(given, names) == default():
        given = None
    full[key], full[f"{key}_dir"] = given, None


def _check_tokenizer(full: dict[str, Any]) -> None:
    name, digest = full["tokenizer_name_or_path"], full["tokenizer_sha256"]
    if full["bio"] == "text":
        if name is not None or digest is not None:
            key = "tokenizer_name_or_path" if name is not None else "tokenizer_sha256"
            raise ConfigError(
                f"capo: {key}={shown(full[key])} with bio=text: a text has no tokens; leave it out, or set "
                "bio=tokens"
            )
        return
    if name is None and digest is None:
        return
    loaded = load_tokenizer(name)
    if digest is not None and digest != loaded.sha256:
        raise ConfigError(
            f"capo: tokenizer_sha256={shown(digest)} is not the digest of the {loaded.name} "
            f"({loaded.sha256}); pass the tokenizer it was taken from, or leave tokenizer_sha256 null"
        )
    if full["eos"] and loaded.end is None:
        raise ConfigError(
            f"capo: eos=true, but the {loaded.name} has no end-of-text token; name it as eos_token in a "
            "tokenizer_config.json beside it, or set eos=false"
        )
    encoder_of(full)  # that it can be used at all
    # Capo's own is part of its version.
    full["tokenizer_sha256"] = None if name is None else loaded.sha256
    full["tokenizer_name_or_path"] = None if name is None else local_or_name(name)


def seeded(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The config with the people that a corpus of this seed has, where it names none."""
    given = config["population_seed"]
    return {**config, "population_seed": seed if given is None else given}


def address(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a complete config that decides what the examples say."""
    return {key: value for key, value in config.items() if key not in _FORM}


def count(config: Mapping[str, Any]) -> tuple[int, str]:
    """How many examples there are, and of which keys."""
    return config["num_people"] * config["exposures"], "num_people x exposures"


def fields_of(config: Mapping[str, Any]) -> Content | None:
    """The pools of a complete config (None: the default ones)."""
    return None if config["fields"] is None else content_of(config["fields"], POOLS)


def templates_of(config: Mapping[str, Any]) -> Content | None:
    """The templates of a complete config (None: the default ones)."""
    return None if config["templates"] is None else content_of(config["templates"], SENTENCES)


def tokenizer_of(config: Mapping[str, Any]) -> Loaded:
    """The tokenizer of a complete config with bio=tokens; ConfigError where it is another by now."""
    loaded = load_tokenizer(config["tokenizer_name_or_path"])
    if config["tokenizer_sha256"] not in (None, loaded.sha256):
        raise ConfigError(
            f"capo: the {loaded.name} is not the one the config was made with (sha256 {loaded.sha256}, "
            f"not {config['tokenizer_sha256']}); restore the file"
        )
    return loaded


def encoder_of(config: Mapping[str, Any]) -> Encoder:
    """How a complete config with bio=tokens makes its tokens."""
    return encoder(fields_of(config), templates_of(config), config["reverse_md"], tokenizer_of(config))
