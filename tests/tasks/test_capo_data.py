"""Capo's plain-text data: the lists of names and values, and the sentence templates."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "tasks" / "capo" / "data"
FIELDS = {
    "first_names": 400,
    "middle_names": 400,
    "last_names": 1000,
    "cities": 200,
    "universities": 300,
    "majors": 100,
    "employers": 263,
}
NAMES = ["first_names", "middle_names", "last_names"]
TEMPLATES = ["birth_date", "birth_city", "university", "major", "work_city", "employer"]
PER_TEMPLATE_FILE = 50
SLOT = re.compile(r"\{[^{}]*\}")
NAME = re.compile(r"[A-Z][a-z]+")
VALUE = re.compile(r"[A-Za-z]+(?:(?: & |' |[ '&-])[A-Za-z]+)*")
CITY = re.compile(r"[A-Za-z]+(?:[ '-][A-Za-z]+)*, [A-Z]{2}")
GENDERED = re.compile(
    r"\b(?:he|she|him|his|hers?|(?:him|her|them)sel(?:f|ves)|they|them|theirs?|m[ae]n|wom[ae]n|boy|girl|son"
    r"|daughter|brother|sister|husband|wife|gentleman|lady|mr|mrs|ms)\b",
    re.IGNORECASE,
)
DATES = ["March 18, 1940", "18 of March, 1940"]
FULL_NAME = "Anya Briar Forger"


def lines_of(path: Path) -> list[str]:
    """The entries of a data file: its lines after the comments at its top."""
    lines = path.read_bytes().decode("ascii").split("\n")
    return list(itertools.dropwhile(lambda line: line.startswith("#"), lines))[:-1]


def field(name: str) -> list[str]:
    return lines_of(DATA / "fields" / f"{name}.txt")


def templates(name: str) -> list[str]:
    return lines_of(DATA / "templates" / f"{name}.txt")


def values(name: str) -> list[str]:
    """The values that a template file's `{value}` may take (dates: one of each form)."""
    employers = [line.split("\t") for line in field("employers")]
    return {
        "birth_date": DATES,
        "birth_city": field("cities"),
        "university": field("universities"),
        "major": field("majors"),
        "work_city": sorted({city for _, city in employers}),
        "employer": [employer for employer, _ in employers],
    }[name]


def render(template: str, subject: str, value: str) -> str:
    """A sentence; a pronoun, given in lower case, is capitalised where it opens the sentence."""
    opening = subject[0].upper() + subject[1:]
    return template.replace("{Subject}", opening).replace("{subject}", subject).replace("{value}", value)


ALL_TEMPLATES = [(name, template) for name in TEMPLATES for template in templates(name)]
ALL_FILES = [f"fields/{name}.txt" for name in FIELDS] + [f"templates/{name}.txt" for name in TEMPLATES]


def test_the_folder_holds_these_files_only() -> None:
    assert sorted(path.relative_to(DATA).as_posix() for path in DATA.rglob("*.txt")) == sorted(ALL_FILES)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_file_is_plain(name: str) -> None:
    """ASCII, LF, one comment at the top, then one entry a line: not blank, not padded, not repeated."""
    text = (DATA / name).read_bytes().decode("ascii")
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert "\r" not in text
    entries = lines_of(DATA / name)
    assert len(text.split("\n")) - 1 - len(entries) in (1, 2)
    assert all(entry and entry == entry.strip() for entry in entries)
    assert not any(entry.startswith("#") or "  " in entry for entry in entries)
    assert "\t" not in text or name == "fields/employers.txt"
    assert len(set(entries)) == len(entries)
    assert len({entry.casefold() for entry in entries}) == len(entries)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_has_its_count(name: str) -> None:
    assert len(field(name)) == FIELDS[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_capitalised_word(name: str) -> None:
    assert [entry for entry in field(name) if not NAME.fullmatch(entry)] == []


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_the_lists_of_names_are_disjoint(one: str, other: str) -> None:
    assert set(field(one)) & set(field(other)) == set()


def test_cities_have_a_state() -> None:
    assert [city for city in field("cities") if not CITY.fullmatch(city)] == []


@pytest.mark.parametrize("name", ["universities", "majors"])
def test_values_are_words(name: str) -> None:
    """Letters, spaces, hyphens, ampersands and apostrophes; a letter at either end."""
    assert [entry for entry in field(name) if not VALUE.fullmatch(entry)] == []
    assert all(entry[0].isupper() for entry in field(name))


def test_employers_have_a_name_and_a_city() -> None:
    pairs = [line.split("\t") for line in field("employers")]
    assert all(len(pair) == 2 for pair in pairs)
    assert [name for name, _ in pairs if not VALUE.fullmatch(name) or not name[0].isupper()] == []
    assert [city for _, city in pairs if not CITY.fullmatch(city)] == []
    assert len({name.casefold() for name, _ in pairs}) == FIELDS["employers"]


def test_no_value_stands_for_two_attributes() -> None:
    """Nor is one a name as well."""
    pools = [values(name) for name in ("birth_date", "birth_city", "university", "major", "employer")]
    pools += [field(name) for name in NAMES]
    assert sum(map(len, pools)) == len(set().union(*pools))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_file_has_its_count_and_both_kinds_of_subject(name: str) -> None:
    """About two thirds of a file's sentences open with their subject."""
    assert len(templates(name)) == PER_TEMPLATE_FILE
    opening = sum(template.startswith("{Subject}") for template in templates(name))
    assert 31 <= opening <= 35


def test_templates_have_their_slots() -> None:
    for _, template in ALL_TEMPLATES:
        slots = sorted(SLOT.findall(template))
        assert slots in (["{Subject}", "{value}"], ["{subject}", "{value}"]), template
        assert not set("{}") & set(SLOT.sub("", template)), template
        assert ("{Subject}" in template) == template.startswith("{Subject}"), template


def test_nothing_is_glued_to_a_slot() -> None:
    """Before a slot a space or the line's beginning; after it a space or one of four marks; words between."""
    for _, template in ALL_TEMPLATES:
        for match in SLOT.finditer(template):
            assert template[: match.start()][-1:] in ("", " "), template
            assert template[match.end() :][:1] in (" ", ".", ",", ";", ":"), template
        assert re.search(r"[a-z,;:]", SLOT.split(template)[1]), template


def test_templates_are_sentences() -> None:
    """One full stop, at the end; a capital at the beginning and nowhere else; no digits."""
    for _, template in ALL_TEMPLATES:
        fixed = SLOT.sub("", template)
        assert template.endswith(".")
        assert template.count(".") == 1, template
        assert re.fullmatch(r"[A-Za-z ,;:.-]*", fixed), template
        assert not re.search(r"\s[,;:.]|[,;:](?! )", template), template
        assert not re.search(r"[A-Z]", fixed[1:]), template
        assert template[0].isupper() or template.startswith(("{Subject}", "{value}")), template


def test_templates_have_no_pronoun_or_gender_of_their_own() -> None:
    for _, template in ALL_TEMPLATES:
        assert not GENDERED.search(SLOT.sub("", template)), template


def test_sentences_have_a_natural_length() -> None:
    for name, template in ALL_TEMPLATES:
        lengths = [len(render(template, "she", value).split()) for value in values(name)]
        assert min(lengths) >= 6, template
        assert max(lengths) <= 20, template


def test_templates_differ_without_their_slots() -> None:
    fixed = [" ".join(SLOT.sub(" ", template).split()) for _, template in ALL_TEMPLATES]
    assert len(set(fixed)) == len(fixed) == len(TEMPLATES) * PER_TEMPLATE_FILE


def test_two_templates_never_give_the_same_sentence() -> None:
    """Whatever fills the slots: the words in lower case that no value and no subject has are a key."""
    pools = itertools.chain.from_iterable(values(name) for name in TEMPLATES)
    fillers = {word for value in pools for word in value.split() if word[0].islower()} | {"he", "she"}
    keys: dict[tuple[str, ...], str] = {}
    for _, template in ALL_TEMPLATES:
        words = re.findall(r"(?<!\S)[a-z][a-z-]*", SLOT.sub("", template))
        key = tuple(word for word in words if word not in fillers)
        assert key not in keys, (template, keys[key])
        keys[key] = template


def test_a_sentence_fits_its_own_template_only() -> None:
    """Read back with the loosest patterns: a value is any run that begins with a capital or a digit."""
    name = r"(?:[A-Z][a-z]+ [A-Z][a-z]+ [A-Z][a-z]+)"
    slots = {
        r"\{value\}": r"(?P<value>[A-Z0-9][A-Za-z0-9 ,&'-]*)",
        r"\{Subject\}": rf"(?P<subject>He|She|{name})",
        r"\{subject\}": rf"(?P<subject>he|she|{name})",
    }
    patterns = []
    for _, template in ALL_TEMPLATES:
        pattern = re.escape(template)
        for slot, loose in slots.items():
            pattern = pattern.replace(slot, loose)
        patterns.append(re.compile(pattern))
    for number, (attribute, template) in enumerate(ALL_TEMPLATES):
        pool = values(attribute)
        for value in {pool[0], pool[-1], max(pool, key=len)}:
            for subject in ("he", "she", FULL_NAME):
                sentence = render(template, subject, value)
                found = [(k, match) for k, p in enumerate(patterns) if (match := p.fullmatch(sentence))]
                assert [k for k, _ in found] == [number], sentence
                match = found[0][1]
                assert match["value"] == value
                assert match["subject"].casefold() == subject.casefold()
