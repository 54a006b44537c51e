"""Capo's attribute columns say what the text says, and change nothing else: no token, no digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import capo as oracle

from ostraca import cli
from ostraca.loaders import CorpusSource
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.tasks.capo import TASK, check
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import complete_config, generate_batches

FIELDS = {
    "first_names": ["Ann", "Élodie", "Bo"],
    "middle_names": ["Lee", "J"],
    "last_names": ["Stone", "O'Hara", "Li"],
    "cities": ["Rome, Italy", "Bonn", "Ulm"],
    "universities": ["MIT", "Łódź"],
    "majors": ["Law", "Art"],
    "employers": ["Acme\tOslo", "日本\tTokyo", "Bank of Ulm\tOslo"],  # a city twice
}
CONFIGS: dict[str, dict[str, Any]] = {
    "tokens": {"num_people": 500, "exposures": 2},
    "text": {"num_people": 500, "exposures": 2, "bio": "text", "reverse_md": True},
    "lists of one's own": {"num_people": 18, "exposures": 9, "bio": "text", "fields": FIELDS},
}


def made(config: dict[str, Any], **more: Any) -> tuple[dict[str, Any], pa.RecordBatch]:
    full = complete_config(TASK, {**config, **more}, 3)
    return full, pa.concat_batches(list(generate_batches(TASK, full, 3, "train", 0, 150)))


@pytest.mark.parametrize("name", CONFIGS)
def test_columns_are_the_persons_and_the_texts(name: str) -> None:
    """By plain Python that knows the population, and by the characters at each value's place."""
    full, batch = made(CONFIGS[name], attributes=True)
    texts = batch
    if name == "tokens":  # the same biographies as texts: their places are counted in characters
        texts = made(CONFIGS[name], bio="text")[1]
    for row, written in zip(rows_of(batch), rows_of(texts), strict=True):
        said = {attribute: row[attribute] for attribute in oracle.SPANS}
        assert said == oracle.person(full, row["person"])
        places = zip(oracle.SPANS, written["value_starts"], written["value_ends"], strict=True)
        for attribute, start, end in places:
            assert written["text"][start:end].lower() == said[attribute].lower()
    assert TASK.validate(batch, full).all_valid


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_else_changes(name: str) -> None:
    with_them, plain = made(CONFIGS[name], attributes=True)[1], made(CONFIGS[name])[1]
    assert with_them.drop_columns(oracle.SPANS).equals(plain)
    assert "attributes" not in check(CONFIGS[name])
    assert check({**CONFIGS[name], "attributes": False}) == check(CONFIGS[name])


@pytest.mark.parametrize("attribute", oracle.SPANS)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_column_that_says_another_thing_is_invalid(name: str, attribute: str) -> None:
    """Another person's value too, which is as good a text."""
    full, batch = made(CONFIGS[name], attributes=True)
    place = batch.schema.get_field_index(attribute)
    values = batch.column(place).to_pylist()
    shifted = values[1:] + values[:1]
    changed = pa.array(shifted, pa.string())
    verdicts = TASK.validate(batch.set_column(place, batch.schema.field(place), changed), full)
    wrong = [one != other for one, other in zip(values, shifted, strict=True)]
    assert (verdicts.codes != 0).tolist() == wrong
    assert any(wrong)
    row = int(np.flatnonzero(verdicts.codes)[0])
    assert "attributes says what the text does not" in verdicts[row].reason


def corpus(attributes: bool, form: str, **more: Any) -> dict[str, Any]:
    config = {"num_people": 20, "exposures": 5, **({"attributes": True} if attributes else {})}
    people = {"task": "capo", "config": config, "splits": {"train": {}, "test": {"form": "test"}}}
    return {"format": form, "datasets": {"people": people}, **more}


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_corpus_has_them_beside_the_same_content(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = build(corpus(False, form), tmp_path / "plain", engine="local", report=True)
    root = tmp_path / "with"
    told = build(corpus(True, form), root, engine="local", report=True)
    assert told["content_digest"] == plain["content_digest"]
    assert told["spec_digest"] != plain["spec_digest"]
    assert verify(root, content=True) == []
    assert reproduce(root) == (2, [])
    assert CorpusSource(root).rows == 100
    assert cli.main(["inspect", f"path={root}", "show=2"]) == 0
    assert "\nvalid\n" in capsys.readouterr().out
    assert "| `birth_city` | string | where |" in (root / "README.md").read_text()
    if form == "parquet":
        (path,) = (root / "people").glob("train-*.parquet")
        (other,) = (tmp_path / "plain" / "people").glob("train-*.parquet")
        table = pq.read_table(path)
        assert table.drop_columns(oracle.SPANS).equals(pq.read_table(other))
        assert len(set(table["name"].to_pylist())) == 20


def test_packed_rows_have_none_and_say_so() -> None:
    with pytest.raises(ConfigError, match="a packed row is of several people") as caught:
        check_spec(corpus(True, "parquet", pack={"length": 512, "mode": "concat"}))
    assert "\n" not in str(caught.value)


def test_specs_of_before_are_what_they_were() -> None:
    """A key that nobody set is in no digest: this one was taken before there was the key."""
    assert spec_digest(check_spec(corpus(False, "parquet", dedup={"mode": "off"}))) == (
        "01b0285a75224cc6876030ea3a5703dbdc7de9b00d5399904c5ba9a9642a7815"
    )
