"""Deduplication where little or nothing is left, with renamed ids, of biographies; and `diff` of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import FORMATS, crowded, decoded, files_below
from dedup_cases import CASES, QUIET, check_is, first_draws, stays_in
from oracles.dedup import settle

from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.dedup import counts
from ostraca.pipeline.check.compare import compare
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import records_of
from ostraca.pipeline.export.export import export
from ostraca.pipeline.spec.formats import suffix_of
from ostraca.tasks.errors import ConfigError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces of unknown size are given up early, as the oracle is told too."""
    monkeypatch.setattr(counts, "QUIET", QUIET[0])
    monkeypatch.setattr(counts, "LEAST_QUIET", QUIET[1])


@pytest.mark.parametrize(
    ("form", "compression", "pack"),
    [
        *((*form, pack) for form in FORMATS for pack in (None, "whole")),
        *(("parquet", "zstd", pack) for pack in ("left_aligned", "best_fit", "concat")),
    ],
)
def test_row_groups_and_shards_may_be_empty(
    tmp_path: Path, form: str, compression: str, pack: str | None
) -> None:
    """75 problems over some 20 shards: in most row groups, and in whole shards, nothing is left."""
    spec = {
        **CASES["mano 1"],
        "shard_tokens": 300,
        "row_group_tokens": 30,
        "format": form,
        "compression": compression,
        "pack": None if pack is None else {"length": 16, "mode": pack},
        "dedup": {"mode": "drop", "key": "content"},
    }
    made = build(spec, tmp_path / "c", engine="local")
    rows = [record["rows"] for _, record in records_of(made)]
    assert 0 in rows
    assert sum(rows) > 0
    root = tmp_path / "c"
    assert verify(root, content=True) == []
    assert reproduce(root)[1] == []
    for split in ("test", "train"):
        source = CorpusSource(root, split=split)
        mode = "padded" if pack is None else "packed"
        stream = TokenStream(source, batch_size=1, length=16, mode=mode, epochs=1, window_blocks=3)
        lines = sum(len(batch["input_ids"]) for batch in stream)
        assert lines == source.rows == made["splits"][split]["rows"]
    export(root, "jsonl", tmp_path / "lines")
    assert sum(each["rows"] for each in made["splits"].values()) == made["totals"]["rows"]
    victims = sorted(root.rglob(f"*.{suffix_of(form, compression)}"))[::3]
    before = files_below(root)
    for path in victims:
        path.unlink()
    build(spec, root, engine="local")
    assert files_below(root) == before


def test_the_shared_vocabulary_changes_nothing_of_who_stays(tmp_path: Path) -> None:
    """Examples are compared with the ids as published: tasks that share ids afterwards share no examples."""
    spec = {**CASES["manos"], "dedup": {"mode": "redraw", "key": "tokens"}}
    spec["datasets"] = {
        **{name: spec["datasets"][name] for name in ("a", "b")},
        "l": CASES["lano"]["datasets"]["l"],
    }
    published = build(spec, tmp_path / "published", engine="local")
    shared = build({**spec, "vocabulary": "shared"}, tmp_path / "shared", engine="local")
    assert shared["dedup"] == published["dedup"]
    assert stays_in(tmp_path / "shared") == stays_in(tmp_path / "published")
    assert verify(tmp_path / "shared", content=True) == []


@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize("sizes", [(4_000, 1_000), (900, 300), (10**6, 10**6)])
def test_diff_shows_the_first_example_that_deduplication_changed(
    tmp_path: Path, mode: str, sizes: tuple[int, int]
) -> None:
    spec = CASES["mano 2"]
    plain = build({**spec, "row_group_tokens": 700}, tmp_path / "off", engine="local")
    smaller = dict(zip(("shard_tokens", "row_group_tokens"), sizes, strict=True))
    made = build({**spec, **smaller, "dedup": {"mode": mode}}, tmp_path / "on", engine="local")
    found = compare(tmp_path / "off", tmp_path / "on")
    assert not found.same
    assert "dedup" in {each.what for each in found.differences}
    rows = {"off": decoded(tmp_path / "off", plain["spec"]), "on": decoded(tmp_path / "on", made["spec"])}
    split = next(
        name
        for name in plain["splits"]
        if plain["splits"][name]["content_digest"] != made["splits"][name]["content_digest"]
    )
    one, other = rows["off"]["m", split], rows["on"]["m", split]
    index = next(each for each in one if one[each] != other.get(each))
    assert found.example is not None
    assert (found.example.split, found.example.index) == (split, index)
    assert (found.example.path, found.example.other) == (one[index], other.get(index, {}))


CAPO = {"num_people": 6, "exposures": 200}


@pytest.mark.parametrize("bio", ["tokens", "text"])
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_biographies_are_dropped_but_never_redrawn(tmp_path: Path, bio: str, key: str) -> None:
    templates = {"order": False, "exposures": 400}
    spec = crowded(
        {"c": ("capo", {**CAPO, **templates, "bio": bio})},
        {"train": {"examples": 300}, "test": {"examples": 20}},
        shard_tokens=4_000 if bio == "tokens" else 20_000,
    )
    with pytest.raises(ConfigError, match=r"redraw: the examples of c are counted .* set dedup\.mode=drop"):
        build({**spec, "dedup": {"mode": "redraw", "key": key}}, tmp_path / "no", engine="local")
    assert not (tmp_path / "no").exists()
    made = build({**spec, "dedup": {"mode": "drop", "key": key}}, tmp_path / "c", engine="local")
    wanted = settle(made["spec"], first_draws(spec), quiet=QUIET)
    check_is(tmp_path / "c", made, wanted)
    assert verify(tmp_path / "c", content=True) == []
