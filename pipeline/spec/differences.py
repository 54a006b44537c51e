"""Where two specs differ, one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...tasks.errors import shown

NONE = "-"  # what a corpus does not have


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two corpora differ."""

    what: str  # spec, version, vocabulary, format, split, examples, shard size, content, files, made with
    where: str  # a key, dataset/split or file; empty where it is the whole corpus
    path: str  # what the one corpus has there
    other: str  # and the other


def in_spec(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    """What two complete specs have in another way; splits that one lacks and sizes are told elsewhere."""
    for key in ("name", "seed"):
        yield from _value("spec", key, left.get(key), right.get(key))
    for key in ("vocabulary", "vocabulary_offset", "format", "compression", "pack"):
        yield from _value(key, "", left.get(key), right.get(key))
    for key in ("mode", "key", "against"):
        sides = [_other_corpora(side["dedup"][key]) for side in (left, right)]
        yield from _value("dedup", key, *sides)
    for name in (name for name in left["datasets"] if name in right["datasets"]):
        a, b = left["datasets"][name], right["datasets"][name]
        yield from _value("spec", f"{name} task", a["task"], b["task"])
        yield from _value("version", f"{name} ({a['task']})", a.get("version"), b.get("version"))
        for split in (name for name in a["splits"] if name in b["splits"]):
            yield from _in_config(
                f"{name}/{split}", a["splits"][split]["config"], b["splits"][split]["config"]
            )


def _other_corpora(value: Any) -> Any:
    """A value of `dedup`; other corpora by what they hold, wherever they lay."""
    return value if isinstance(value, str) else [record["content_digest"] for record in value]


def _in_config(where: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    for key in (*left, *(key for key in right if key not in left)):
        if key == "tokenizer_name_or_path":  # it says where a tokenizer came from; its digest says which
            hashes = [side.get("tokenizer_sha256") for side in (left, right)]
            if hashes[0] == hashes[1] is not None:
                continue
        yield from _value("spec", f"{where} {key}", left.get(key, NONE), right.get(key, NONE))


def _value(what: str, where: str, left: Any, right: Any) -> Iterator[Difference]:
    if left != right or type(left) is not type(right):
        sides = [
            value if isinstance(value, str) and len(value) <= 40 else shown(value) for value in (left, right)
        ]
        yield Difference(what=what, where=where, path=sides[0], other=sides[1])


def in_sizes(where: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    """What two entries of a split, `where`, have in other sizes."""
    for what, key in (
        ("examples", "examples"),
        ("shard size", "shard_examples"),
        ("row groups", "row_group_examples"),
    ):
        a, b = left[key], right[key]
        if a != b:
            yield Difference(what=what, where=where, path=f"{a:,}", other=f"{b:,}")


def first_difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> Difference | None:
    """The first thing in which two complete specs differ; None where they are the same."""
    return next(_all(left, right), None)


def _all(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    yield from in_spec(left, right)
    sides = [
        {
            (name, split): split_entry
            for name, e in spec["datasets"].items()
            for split, split_entry in e["splits"].items()
        }
        for spec in (left, right)
    ]
    for name, split in {**sides[0], **sides[1]}:
        where = f"{name}/{split}"
        a, b = (side.get((name, split)) for side in sides)
        if a is None or b is None:
            yield Difference(
                what="split",
                where=where,
                path=NONE if a is None else "there",
                other=NONE if b is None else "there",
            )
        else:
            yield from in_sizes(where, a, b)
