"""Capo's facts in words: the pools of names and values, and the sentence templates.

Read from text files (one entry a line, after the comments at the top), or given in a config as lists of the
same entries; checked entry by entry, with the place of the first that will not do.

A template has the slot {value}, and {Subject} where the sentence opens with its subject, else {subject}. A
slot stands behind a space (or at the line's beginning) and before a space, `.`, `,`, `;`, `:` or the end:
so every text can be cut before its spaces into pieces that hold one value each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core.paths import local_path
from ..errors import ConfigError, nearest, shown

DATA = Path(__file__).resolve().parent / "data"
NAMES = ("first_names", "middle_names", "last_names")
POOLS = (*NAMES, "cities", "universities", "majors", "employers")
SENTENCES = ("birth_date", "birth_city", "university", "major", "work_city", "employer")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DAYS = tuple(map(str, range(1, 29)))
YEARS = tuple(map(str, range(1900, 2100)))
PRONOUNS = ("he", "she")

Lists = Mapping[str, Sequence[str]]
# (name, entries) of every list: lists as a value that can be hashed.
Content = tuple[tuple[str, tuple[str, ...]], ...]
_SLOT = re.compile(r"\{[^{}]*\}|[{}]")
_BEHIND_SLOT = (" ", ".", ",", ";", ":")
_GENDERED = re.compile(r"\b(he|she|him|her|his|hers|himself|herself)\b", re.IGNORECASE)
_MAX_ENTRY = 1000  # characters


@dataclass(frozen=True, kw_only=True)
class Pools:
    """What a person is drawn from."""

    first_names: tuple[str, ...]
    middle_names: tuple[str, ...]
    last_names: tuple[str, ...]
    cities: tuple[str, ...]
    universities: tuple[str, ...]
    majors: tuple[str, ...]
    employers: tuple[str, ...]
    work_cities: tuple[str, ...]  # of each employer


@dataclass(frozen=True, kw_only=True)
class Template:
    """A sentence: before, the first slot, its glue, between, the second slot, its glue, after.

    A glue is what follows a slot up to the next space, mostly nothing or a mark. A slot that does not open
    the sentence has a space before it; `between` and `after` begin with one where they are not empty.
    """

    before: str
    value_first: bool  # the first slot is the value's, the second the subject's
    first_glue: str
    between: str
    second_glue: str
    after: str


# ---- reading


def read_lists(folder: str, names: Sequence[str], what: str) -> dict[str, list[str]]:
    """The entries of folder/<name>.txt for each of `names`; ConfigError with file and line.

    what: the config's key.
    """
    root = local_path(folder)
    if not root.is_dir():
        raise ConfigError(
            f"capo: {what}={shown(folder)} is not a folder; it must hold "
            + ", ".join(f"{name}.txt" for name in names)
        )
    return {name: [entry for _, entry in _lines(root / f"{name}.txt", what)] for name in names}


def _lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """(line number, entry) of a file, checked."""
    where = " ".join(str(path).split())  # on one line, whatever it is called
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise ConfigError(f"capo: {where} is missing: {what} needs it, one entry a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"capo: {where} cannot be read as UTF-8 text ({shown(error)})") from None
    if lines[-1] == "":
        lines.pop()
    entries = list(enumerate(lines, start=1))
    while entries and entries[0][1].startswith("#"):
        entries.pop(0)
    _check_entries(path.stem, ((f"{where}:{line}", entry) for line, entry in entries), where)
    return iter(entries)


def check_lists(given: Any, names: Sequence[str], what: str) -> dict[str, list[str]]:
    """The lists that stand in a config under the key `what`, checked entry by entry."""
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"capo: {what}={shown(given)} must map each of {', '.join(names)} to a list of texts"
        )
    for name in given:
        if name not in names:
            raise ConfigError(
                f"capo: {what} has the unknown list {shown(name)}{nearest(name, names)}; "
                f"known: {', '.join(names)}"
            )
    for name in names:
        if name not in given:
            raise ConfigError(f"capo: {what} lacks the list {name}; it needs {', '.join(names)}")
        entries = given[name]
        if not isinstance(entries, Sequence) or isinstance(entries, str | bytes):
            raise ConfigError(f"capo: {what}.{name}={shown(entries)} must be a list of texts")
        for place, entry in enumerate(entries):
            if type(entry) is not str:
                raise ConfigError(f"capo: {what}.{name}[{place}]={shown(entry)} must be a string")
    content = content_of(given, names)
    _check_content(content, what)
    return {name: list(entries) for name, entries in content}


def content_of(lists: Lists, names: Sequence[str]) -> Content:
    """The lists as one value that can be hashed and compared."""
    return tuple((name, tuple(lists[name])) for name in names)


@lru_cache(maxsize=16)
def _check_content(content: Content, what: str) -> None:
    """Every entry of lists from a config: once for each content, however often the config is checked."""
    for name, entries in content:
        placed = ((f"{what}.{name}[{place}]", entry) for place, entry in enumerate(entries))
        _check_entries(name, placed, f"{what}.{name}")


def _check_entries(name: str, placed: Iterator[tuple[str, str]], where: str) -> None:
    """Every (place, entry) of the list or file called `name`; ConfigError at the first that will not do."""
    seen: dict[str, str] = {}
    for place, entry in placed:
        parts = entry.split("\t") if name == "employers" else [entry]
        if name == "employers" and len(parts) != 2:
            raise ConfigError(
                f"capo: {place}: the employer {shown(entry)} must be a name, a tab and its city, "
                "e.g. 'Some Bank<TAB>Some Town, CA'"
            )
        for part in parts:
            wrong = _wrong_text(part) or (_wrong_name(part) if name in NAMES else "")
            if wrong:
                raise ConfigError(f"capo: {place}: {shown(entry)} {wrong}")
        if parts[0] in seen:
            raise ConfigError(
                f"capo: {place}: {shown(parts[0])} is there already ({seen[parts[0]]}); keep one"
            )
        seen[parts[0]] = place
        if name in SENTENCES:
            parse_template(entry, place)
    if not seen:
        raise ConfigError(f"capo: {where} is empty; it needs at least one entry")


def _wrong_text(text: str) -> str:
    """Why a text cannot be a value or a template ('' where it can)."""
    if not text:
        return "is empty"
    if not text.isprintable():
        return "has a tab, a line break or another character that cannot be printed; take it out"
    if text != text.strip(" ") or "  " in text:
        return "has a space at an end or two in a row; take it out"
    if len(text) > _MAX_ENTRY:
        return f"is longer than {_MAX_ENTRY} characters; shorten it"
    return ""


def _wrong_name(text: str) -> str:
    # So that no two people have one full name: (Mary Ann) Lee Smith and Mary (Ann Lee) Smith.
    return "has a space, but a name is one word; join it with a hyphen" if " " in text else ""


# ---- templates


@lru_cache(maxsize=4096)
def parse_template(text: str, place: str = "a template") -> Template:
    """The parts of a template; ConfigError, with its place, where its slots will not do."""
    slots = list(_SLOT.finditer(text))
    names = sorted(slot.group() for slot in slots)
    if names not in (["{Subject}", "{value}"], ["{subject}", "{value}"]):
        raise ConfigError(
            f"capo: {place}: the template {shown(text)} must have the slot {{value}} once and one of "
            f"{{Subject}}, {{subject}} once, but it has {', '.join(names) or 'none'}"
        )
    subject = next(slot for slot in slots if slot.group() != "{value}")
    if (subject.start() == 0) != (subject.group() == "{Subject}"):
        raise ConfigError(
            f"capo: {place}: the template {shown(text)} must have {{Subject}} where the sentence opens with "
            "it, and {subject} anywhere else"
        )
    for slot in slots:
        if text[: slot.start()][-1:] not in ("", " ") or text[slot.end() :][:1] not in ("", *_BEHIND_SLOT):
            raise ConfigError(
                f"capo: {place}: in the template {shown(text)} the slot {slot.group()} must stand behind a "
                "space (or at the beginning) and before a space, '.', ',', ';', ':' or the end"
            )
    gendered = _GENDERED.search(_SLOT.sub("", text))
    if gendered:
        raise ConfigError(
            f"capo: {place}: the template {shown(text)} says {gendered.group()!r}, but it must fit "
            "everyone; only {subject} tells a pronoun"
        )
    first, second = slots
    first_glue, between = _glue(text[first.end() : second.start()])
    second_glue, after = _glue(text[second.end() :])
    return Template(
        before=text[: first.start()].removesuffix(" "),
        value_first=first.group() == "{value}",
        first_glue=first_glue,
        between=between.removesuffix(" "),
        second_glue=second_glue,
        after=after,
    )


def _glue(text: str) -> tuple[str, str]:
    """What follows a slot, cut before its first space."""
    cut = text.find(" ")
    return (text, "") if cut < 0 else (text[:cut], text[cut:])


# ---- the defaults, and a config's


@lru_cache(maxsize=1)
def default_fields() -> Content:
    """The pools that come with the task."""
    return content_of(read_lists(str(DATA / "fields"), POOLS, "fields_dir"), POOLS)


@lru_cache(maxsize=1)
def default_templates() -> Content:
    """The templates that come with the task."""
    return content_of(read_lists(str(DATA / "templates"), SENTENCES, "templates_dir"), SENTENCES)


@lru_cache(maxsize=16)
def pools_of(fields: Content | None) -> Pools:
    """The pools of checked `fields` (None: the default ones)."""
    lists = dict(fields or default_fields())
    employers = [entry.split("\t") for entry in lists.pop("employers")]
    return Pools(
        **lists,
        employers=tuple(name for name, _ in employers),
        work_cities=tuple(city for _, city in employers),
    )


@lru_cache(maxsize=16)
def templates_of(templates: Content | None) -> tuple[tuple[Template, ...], ...]:
    """The templates of every sentence, in the order of SENTENCES."""
    lists = dict(templates or default_templates())
    return tuple(tuple(map(parse_template, lists[name])) for name in SENTENCES)
