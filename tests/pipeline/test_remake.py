"""What a manifest alone makes is what its shards hold: columns, types and values of every row group."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from corpora import FORMATS, PACKS, crowded
from dedup_cases import TINY_DEPO
from pinned.corpora import CORPORA, HERE
from small_shards import CONFIGS

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.manifest import read_manifest, spec_in
from ostraca.pipeline.corpus.manifest_checks import require_records
from ostraca.pipeline.corpus.numbers import decode_numbers, encode_numbers
from ostraca.pipeline.corpus.reader import SplitReader, split_reader
from ostraca.pipeline.corpus.remake import SplitMaker, split_maker
from ostraca.pipeline.corpus.split import splits_of
from ostraca.pipeline.spec.check import spec_digest
from ostraca.tasks.capo.train_tokenizer import train_tokenizer
from ostraca.tasks.errors import OstracaError, OtherVersionWarning

FIVE = {name: CONFIGS[name] for name in ("depo", "brevo", "mano", "lano", "capo")}
SPLITS = {"train": {"examples": 150}, "test": {"examples": 40}}
# Of Mano's there are so few that most row groups lose all.
REPEATED = {
    "mano": crowded(
        {"m": ("mano", {"L": 1, "value_mod": 2, "knowledge_augment": False})}, SPLITS, row_group_tokens=30
    ),
    "depo": crowded({"d": ("depo", TINY_DEPO)}, SPLITS, shard_tokens=2_000, row_group_tokens=300),
}
Both = tuple[SplitReader, SplitMaker]


def both(corpus: Path, alone: Path) -> Iterator[Both]:
    """Of each split, what reads it in `corpus`, and what makes it of a manifest that stands alone."""
    alone.mkdir()
    for path in [corpus / "manifest.json", *corpus.glob("manifest/*")]:
        (alone / path.relative_to(corpus)).parent.mkdir(exist_ok=True)
        shutil.copy(path, alone / path.relative_to(corpus))
    manifest = read_manifest(alone, parts=True)
    require_records(alone, manifest)
    for split in splits_of(spec_in(alone, manifest)):
        if any(
            r["dataset"] == split.dataset for r in manifest["splits"].get(split.name, {}).get("shards", ())
        ):
            yield split_reader(corpus, manifest, split), split_maker(str(alone), manifest, split)


def same(made: pa.RecordBatch, read: pa.RecordBatch) -> None:
    made.validate(full=True)
    assert made.schema.equals(read.schema, check_metadata=True)
    assert made.equals(read)


def compare(corpus: Path, alone: Path) -> list[int]:
    """All row groups made and read, in whole and in part; the rows of each."""
    rows = []
    for reader, maker in both(corpus, alone):
        assert maker.rows == reader.rows
        assert [own.tolist() for own in maker.group_rows] == [own.tolist() for own in reader.group_rows]
        names = reader.split.schema.names
        for shard, groups in enumerate(reader.group_rows):
            for group in range(len(groups)):
                read = reader.read(shard, group)
                same(maker.read(shard, group), read)
                for some in (names[:2], names[::-1], names[-1:], []):
                    same(maker.read(shard, group, some), reader.read(shard, group, some))
                rows.append(read.num_rows)
    return rows


@pytest.mark.parametrize("name", CORPORA)
def test_the_pinned_corpora(name: str, tmp_path: Path) -> None:
    assert sum(compare(HERE / name, tmp_path / "alone"))


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
@pytest.mark.parametrize("pack", [None, *PACKS])
def test_all_tasks(pack: str | None, vocabulary: str, tmp_path: Path) -> None:
    spec = crowded(FIVE, SPLITS, vocabulary=vocabulary)
    if pack is not None:
        spec["pack"] = {"length": 512, "mode": pack}
    build(spec, tmp_path / "c", engine="local")
    assert sum(compare(tmp_path / "c", tmp_path / "alone"))


@pytest.mark.parametrize(("form", "compression"), FORMATS)
def test_texts_in_all_formats(form: str, compression: str, tmp_path: Path) -> None:
    told = {**CONFIGS["capo"][1], "attributes": True}
    datasets = {"text": CONFIGS["capo-text"], "told": ("capo", told), "mano": CONFIGS["mano"]}
    build(
        crowded(datasets, SPLITS, format=form, compression=compression),
        tmp_path / "c",
        engine="local",
    )
    assert sum(compare(tmp_path / "c", tmp_path / "alone"))


@pytest.mark.parametrize("pack", [None, *PACKS])
@pytest.mark.parametrize("mode", ["drop", "redraw", "disjoint"])
@pytest.mark.parametrize("name", ["mano", "depo"])
def test_what_deduplication_changed(name: str, mode: str, pack: str | None, tmp_path: Path) -> None:
    spec = {**copy.deepcopy(REPEATED[name]), "dedup": {"mode": mode}}
    if pack is not None:
        spec["pack"] = {"length": 64, "mode": pack}
    manifest = build(spec, tmp_path / "c", engine="local")
    assert any(record.get("changes") for part in manifest["splits"].values() for record in part["shards"])
    rows = compare(tmp_path / "c", tmp_path / "alone")
    if (name, mode) == ("mano", "drop"):
        assert 0 in rows, "no row group has lost all its examples: the test is too weak"


def test_threads_share_a_maker(tmp_path: Path) -> None:
    """Each row group by several at once, in any order."""
    spec = crowded(FIVE, SPLITS, vocabulary="shared", pack={"length": 512, "mode": "best_fit"})
    build(spec, tmp_path / "c", engine="local")
    for reader, maker in both(tmp_path / "c", tmp_path / "alone"):
        places = [(s, g) for s, groups in enumerate(reader.group_rows) for g in range(len(groups))] * 4
        fresh = SplitMaker("here", maker.split, maker.records)
        with ThreadPoolExecutor(4) as pool:
            made_by_threads = pool.map(fresh.read, *zip(*places, strict=True))
            for place, made in zip(places, made_by_threads, strict=True):
                same(made, reader.read(*place))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed corpus. Tests must not change it."""
    root = tmp_path_factory.mktemp("packed") / "c"
    build(crowded({"m": CONFIGS["mano"]}, SPLITS, pack={"length": 64, "mode": "whole"}), root, engine="local")
    return root


def test_another_version_is_refused(packed: Path) -> None:
    manifest = read_manifest(packed)
    split = next(splits_of(manifest["spec"]))
    manifest["spec"]["datasets"]["m"]["version"] = 7
    other = next(splits_of(manifest["spec"]))
    split_maker("here", manifest, split)
    with pytest.raises(OstracaError, match=r"^m: it needs version 7 of task mano, but version 1 is"):
        split_maker("here", manifest, other)


def test_rows_that_do_not_come_out_are_an_error(packed: Path) -> None:
    manifest = read_manifest(packed)
    split = list(splits_of(manifest["spec"]))[-1]
    record = dict(split_maker("here", manifest, split).records[0])
    rows = decode_numbers(record["group_rows"], 1_000)
    rows[:2] += [1, -1]
    maker = SplitMaker("here", split, [{**record, "group_rows": encode_numbers(rows)}])
    line = (
        rf"^here: row group 0 of {record['path']} cannot be made again \(it has {rows[0] - 1} rows, the "
        rf"manifest says {rows[0]}\); run `ostraca reproduce path=here`$"
    )
    with pytest.raises(OstracaError, match=line):
        maker.read(0, 0)
    lost = SplitMaker("here", split, [{**record, "group_rows": ""}])
    with pytest.raises(OstracaError, match="group_rows are not those of"):
        lost.read(0, 0)
    with pytest.raises(OstracaError, match="do not add up"):
        SplitMaker("here", split, [{**record, "rows": record["rows"] + 1}]).read(0, 0)


def test_examples_that_do_not_come_out_are_an_error(packed: Path) -> None:
    """As of a task of one's own that gives others than it is asked for."""
    manifest = read_manifest(packed)
    split = next(splits_of(manifest["spec"]))
    maker = split_maker("here", manifest, split)
    generate = split.task.generate

    class Wrong(SplitMaker):
        def _draw(self, attempt: int, indices: Any) -> pa.RecordBatch:
            return generate(self.split.config, self.split.key(attempt), indices + 1)

    with pytest.raises(OstracaError, match="its examples are not those that the manifest says"):
        Wrong("here", split, maker.records).read(0, 0)


def test_more_row_groups_than_memory_has_room_for(packed: Path) -> None:
    manifest = read_manifest(packed)
    split = next(splits_of(manifest["spec"]))
    record = {**split_maker("here", manifest, split).records[0], "count": 10**15}
    with pytest.raises(OstracaError, match=r"^here: m/test has [0-9,]+ row groups, the most"):
        _ = SplitMaker("here", split, [record]).group_rows


def test_a_tokenizer_of_ones_own_must_lie_beside_the_manifest(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(tmp_path / "tok", vocab_size=400, num_people=30)
    config = {"num_people": 10, "exposures": 2, "tokenizer_name_or_path": str(tokenizer)}
    build(crowded({"people": ("capo", config)}, {"train": {}}), tmp_path / "c", engine="local")
    with pytest.raises(OstracaError) as error:
        list(both(tmp_path / "c", tmp_path / "alone"))
    assert str(error.value) == (
        f"{tmp_path / 'alone'}: tokenizers/people/tokenizer.json is missing; no other tokenizer may stand in "
        "for it: copy the file there from the corpus, or build the corpus again"
    )
    shutil.rmtree(tmp_path / "alone")
    (tmp_path / "beside").mkdir()
    shutil.copytree(tmp_path / "c" / "tokenizers", tmp_path / "beside" / "tokenizers")
    shutil.copy(tmp_path / "c" / "manifest.json", tmp_path / "beside")
    manifest = read_manifest(tmp_path / "beside")
    for split in splits_of(spec_in(tmp_path / "beside", manifest)):
        maker = split_maker("here", manifest, split)
        same(maker.read(0, 0), split_reader(tmp_path / "c", manifest, split).read(0, 0))


def test_a_manifest_of_another_version_is_read_and_made_of_nothing(packed: Path, tmp_path: Path) -> None:
    manifest = json.loads((packed / "manifest.json").read_text())
    manifest["spec"]["datasets"]["m"]["version"] = manifest["tasks"]["mano"] = 7
    manifest["spec_digest"] = spec_digest(manifest["spec"])
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(OtherVersionWarning, match="version 7 of task mano"):
        read = read_manifest(tmp_path)
    with pytest.raises(OstracaError, match="it needs version 7"):
        split_maker("here", read, next(splits_of(read["spec"])))
