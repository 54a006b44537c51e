"""Conditions on columns: the rows that they are true of, once each, and plain words for the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from streams import resume_after_every_step

from ostraca.loaders import CorpusSource, Mixture, TokenStream, open_stream
from ostraca.pipeline.build.build import build
from ostraca.tasks.errors import ConfigError

CONDITIONS = {
    "n <= 9": lambda row: row["n"] <= 9,
    "max(query_hops) <= 3": lambda row: max(row["query_hops"]) <= 3,
    "min(query_hops) == 1 and n % 2 == 0": lambda row: min(row["query_hops"]) == 1 and row["n"] % 2 == 0,
    "n in (5, 7) or 15 < n <= 18": lambda row: row["n"] in (5, 7) or 15 < row["n"] <= 18,
    "not (n > 4 and n not in [6, 8])": lambda row: not (row["n"] > 4 and row["n"] not in (6, 8)),
    "index < 40": lambda row: row["index"] < 40,
    "sum(query_hops) > 2 * len(query_hops)": lambda r: sum(r["query_hops"]) > 2 * len(r["query_hops"]),
    "-n + 20 // 3 > 0": lambda row: -row["n"] + 20 // 3 > 0,
}


def stored(corpus: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(corpus.rglob("train-*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_rows_that_are_meant_come_once_an_epoch(corpus: Path, condition: str) -> None:
    meant = [row for row in stored(corpus) if CONDITIONS[condition](row)]
    assert 0 < len(meant) < len(stored(corpus))
    assert CorpusSource(corpus, where=condition).rows == len(meant)
    stream = open_stream(
        corpus, where=condition, batch_size=2, length=200, mode="padded", epochs=1, remainder="pad"
    )
    found = Counter(
        tuple(ids[mask.astype(bool)].tolist())
        for batch in stream
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        if mask.any()
    )
    assert found == Counter(tuple(row["input_ids"]) for row in meant)


def test_a_curriculum(corpus: Path) -> None:
    """Short hops first, then all: one state, resumed after every step."""

    def stream(**rank: Any) -> TokenStream:
        easy, every = CorpusSource(corpus, where="max(query_hops) <= 2"), CorpusSource(corpus)
        mixture = Mixture({"easy": (easy, [(0, 1), (9, 0)]), "all": (every, [(0, 0), (9, 1)])})
        return TokenStream(mixture, batch_size=12, length=96, **rank)

    resume_after_every_step(stream)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("hop <= 4", r"no column 'hop'.*; it has index, n, query_hops"),
        ("m == 1", r"no column 'm'"),
        ("input_ids == 1", "no column 'input_ids'"),
        ("query_hops <= 4", r"query_hops holds a list a row; say max\(query_hops\)"),
        ("max(n) <= 4", r"max\(\) is not for this"),
        ("n <=", "cannot be read"),
        ("", "must be a condition"),
        (5, "must be a condition"),
        ("1 < 2", "names no column"),
        ("n", "is a value, not a condition"),
        ("n == 'five'", "compares things of different kinds|is true of no row"),
        ("n and n", "compares things of different kinds"),
        ("n % 0 == 1", "divides by 0"),
        ("__import__('os').system('x') == n", "attribute is not allowed"),
        ("open(n) == 1", r"open\(\) is not for this"),
        ("n if n else n", "ifexp is not allowed"),
        ("(lambda: n)() == 1", "lambda is not allowed"),
        ("n ** n > 3", "pow is not allowed"),
        ("n in 5", "compares things of different kinds"),
        ("n > 10000", "is true of no row"),
        ("n == " + "(" * 300 + "1" + ")" * 300, "cannot be read"),
    ],
)
def test_bad_conditions(corpus: Path, condition: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        CorpusSource(corpus, where=condition)
    assert "\n" not in str(caught.value)


def test_packed_rows_have_no_columns(tmp_path: Path) -> None:
    spec = {
        "pack": {"length": 64},
        "datasets": {"m": {"task": "mano", "config": {"L": 3}, "splits": {"train": {"examples": 50}}}},
    }
    build(spec, tmp_path / "c", engine="local")
    with pytest.raises(ConfigError, match="packed rows have no columns"):
        CorpusSource(tmp_path / "c", where="length == 2")
