"""Exports: read back by readers written from the formats' definitions, they are the rows of the corpus."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.words import over
from oracles.exports import MASKED, READERS, read_datatrove

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.export import FORMATS, datatrove, litdata, mds
from ostraca.pipeline.export import base as export_base
from ostraca.pipeline.export.export import NAME, export
from ostraca.tasks.errors import ConfigError, OstracaError

DEPO = {"N": 20, "K": 4, "M": 5}
TOKEN_FORMATS = [name for name in FORMATS if name != "jsonl"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with a shared vocabulary; Depo has shards of several row groups."""
    root = tmp_path_factory.mktemp("mixed") / "corpus"
    splits = {"train": {"examples": 600}, "test": {"examples": 70}}
    datasets = {
        "depo": {"task": "depo", "config": DEPO, "splits": splits},
        "mano": {"task": "mano", "config": {"L": 5}, "splits": {"train": {"examples": 500}}},
    }
    sizes = {"shard_tokens": 20_000, "row_group_tokens": 5_000}
    build({"name": "mixed", "vocabulary": "shared", **sizes, "datasets": datasets}, root, engine="local")
    return root


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published ids that need more than 16 bits."""
    root = tmp_path_factory.mktemp("large") / "corpus"
    config = {**DEPO, "bos_token_id": 65_536}
    splits = {"train": {"examples": 50}}
    build(
        {"name": "large", "datasets": {"d": {"task": "depo", "config": config, "splits": splits}}},
        root,
        engine="local",
    )
    return root


@pytest.fixture(scope="module")
def biographies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Capo as tokens and as texts."""
    root = tmp_path_factory.mktemp("capo") / "corpus"
    people = {"num_people": 20, "exposures": 3}
    splits = {"train": {"examples": 60}}
    datasets = {
        "texts": {"task": "capo", "config": {**people, "bio": "text"}, "splits": splits},
        "tokens": {
            "task": "capo",
            "config": {**people, "exposures": 2},
            "splits": {"train": {"examples": 40}},
        },
    }
    build({"name": "capo", "datasets": datasets}, root, engine="local")
    return root


def rows_of(root: Path, dataset: str, split: str) -> dict[str, list[Any]]:
    """Every column of a split, straight from its Parquet files."""
    tables = [pq.read_table(path) for path in sorted((root / dataset).glob(f"{split}-*.parquet"))]
    columns: dict[str, list[Any]] = pa.concat_tables(tables).to_pydict()
    if "loss_mask" in columns:
        columns["loss_mask"] = list(map(list, columns["loss_mask"]))  # in Parquet it is bytes
    assert columns["index"] == list(range(len(columns["index"])))
    return columns


def read_lines(folder: Path, split: str) -> list[dict[str, Any]]:
    zstandard = pytest.importorskip("zstandard")
    with open(folder / f"{split}.jsonl.zst", "rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8", newline="\n")
        return [json.loads(line) for line in text]


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("to", READERS)
def test_documents_masks_and_order(to: str, mixed: Path, tmp_path: Path) -> None:
    export(mixed, to, tmp_path / "out")
    for dataset, split in (("depo", "train"), ("depo", "test"), ("mano", "train")):
        read = READERS[to](tmp_path / "out" / dataset, split)
        rows = rows_of(mixed, dataset, split)
        assert read.documents == rows["input_ids"]
        assert read.dtype == ("int32" if to == "mds" else "uint16")
        assert read.masks == (rows["loss_mask"] if to in MASKED else None)
        assert read.starts is None
        assert read.indices in (None, list(range(len(rows["input_ids"]) + 1)))


def test_nanogpt(mixed: Path, tmp_path: Path) -> None:
    """The ids run together; the test split is val.bin; meta.pkl names every id that comes up."""
    export(mixed, "nanogpt", tmp_path / "out")
    for dataset, split, name in (
        ("depo", "train", "train"),
        ("depo", "test", "val"),
        ("mano", "train", "train"),
    ):
        found = np.fromfile(tmp_path / "out" / dataset / f"{name}.bin", dtype="<u2").tolist()
        assert found == list(chain(*rows_of(mixed, dataset, split)["input_ids"]))
        meta = pickle.loads((tmp_path / "out" / dataset / "meta.pkl").read_bytes())
        assert meta["vocab_size"] > max(found)
        assert set(found) <= set(meta["itos"])
        assert all(meta["stoi"][text] == token for token, text in meta["itos"].items())
        names = json.loads((mixed / "tokenizer.json").read_text())["model"]["vocab"]
        assert all(names[text] == token for text, token in meta["stoi"].items())
    assert sorted(path.name for path in (tmp_path / "out/mano").iterdir()) == ["meta.pkl", "train.bin"]


def test_jsonl_holds_all_columns(mixed: Path, biographies: Path, tmp_path: Path) -> None:
    export(mixed, "jsonl", tmp_path / "mixed")
    export(biographies, "jsonl", tmp_path / "capo")
    cases = [
        (mixed, "mixed", "depo", "train"),
        (mixed, "mixed", "depo", "test"),
        (mixed, "mixed", "mano", "train"),
    ]
    cases += [(biographies, "capo", "texts", "train"), (biographies, "capo", "tokens", "train")]
    for root, folder, dataset, split in cases:
        columns = rows_of(root, dataset, split)
        lines = read_lines(tmp_path / folder / dataset, split)
        assert lines == [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        assert list(lines[0]) == list(columns)
    made = json.loads((tmp_path / "capo" / NAME).read_text())
    assert made["datasets"]["texts"]["splits"]["train"]["text_bytes"] > 0
    assert made["datasets"]["texts"]["dtype"] is None


def test_jsonl_zst_is_another_name_of_jsonl(mixed: Path, tmp_path: Path) -> None:
    """Lines are compressed under either name."""
    assert export(mixed, "jsonl.zst", tmp_path / "a") == export(mixed, "jsonl", tmp_path / "b")
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert sorted(everything(tmp_path / "a")) == [
        "depo/test.jsonl.zst",
        "depo/train.jsonl.zst",
        NAME,
        "mano/train.jsonl.zst",
    ]


def test_datasets_reads_jsonl(mixed: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export(mixed, "jsonl", tmp_path / "out", dataset="depo")
    files = {split: str(tmp_path / f"out/depo/{split}.jsonl.zst") for split in ("train", "test")}
    found = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    for split in files:
        assert found[split].to_dict() == rows_of(mixed, "depo", split)


def test_jsonl_escapes_any_value() -> None:
    from ostraca.pipeline.export.jsonl import _lines

    texts = ['a "quoted" back\\slash', "line\nbreak\ttab", "é 漢 \x01", ""]
    lists = [[], [1], [-2, 3], [2**31 - 1]]
    batch = pa.record_batch(
        {"text": texts, "ids": pa.array(lists, pa.list_(pa.int32())), "on": [True, False] * 2}
    )
    lines = bytes(_lines(batch.slice(1))).decode().splitlines()
    found = [json.loads(line) for line in bytes(_lines(batch.slice(1))).decode().split("\n")[:-1]]
    assert found == batch.slice(1).to_pylist()
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("to", "dtype"),
    [
        ("megatron", "int32"),
        ("olmo", "uint32"),
        ("datatrove", "uint32"),
        ("mds", "int32"),
        ("litdata", "uint32"),
        ("litgpt", "int32"),
    ],
)
def test_large_ids_get_more_bytes(to: str, dtype: str, large: Path, tmp_path: Path) -> None:
    made = export(large, to, tmp_path / "out")
    read = READERS[to](tmp_path / "out/d", "train")
    assert read.documents == rows_of(large, "d", "train")["input_ids"]
    assert made["datasets"]["d"]["dtype"] == read.dtype == dtype
    assert max(map(max, read.documents)) == 65_536


def test_ids_that_do_not_fit_are_refused(large: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ids up to 65,536.* over 65,535; .*vocabulary=shared.*megatron"):
        export(large, "nanogpt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_65535_is_the_last_id_of_16_bits(tmp_path: Path) -> None:
    splits = {"train": {"examples": 20}}
    for last, dtype in ((65_535, "uint16"), (65_536, "uint32")):
        config = {**DEPO, "bos_token_id": last}
        spec = {"name": "edge", "datasets": {"d": {"task": "depo", "config": config, "splits": splits}}}
        build(spec, tmp_path / str(last), engine="local")
        export(tmp_path / str(last), "datatrove", tmp_path / f"out{last}")
        read = read_datatrove(tmp_path / f"out{last}" / "d", "train")
        assert read.dtype == dtype
        assert read.documents == rows_of(tmp_path / str(last), "d", "train")["input_ids"]


@pytest.mark.parametrize("to", FORMATS)
def test_export_json_says_what_and_from_where(to: str, mixed: Path, tmp_path: Path) -> None:
    """It lists every file with its sha256; the same corpus gives the same bytes, export.json too."""
    made = export(mixed, to, tmp_path / "out")
    assert json.loads((tmp_path / "out" / NAME).read_text()) == made
    manifest = json.loads((mixed / "manifest.json").read_text())
    assert [made["spec_digest"], made["content_digest"]] == [
        manifest["spec_digest"],
        manifest["content_digest"],
    ]
    assert made["documents"] == manifest["totals"]["rows"]
    assert made["tokens"] == manifest["totals"]["tokens"]
    assert made["datasets"]["depo"]["splits"]["test"]["documents"] == 70
    files = everything(tmp_path / "out")
    del files[NAME]
    said = {file["path"]: (file["bytes"], file["sha256"]) for file in made["files"]}
    assert said == {path: (len(c), hashlib.sha256(c).hexdigest()) for path, c in files.items()}
    export(mixed, to, tmp_path / "again")
    assert everything(tmp_path / "again") == everything(tmp_path / "out")


def test_one_dataset_one_split(mixed: Path, tmp_path: Path) -> None:
    """Files have the same names and bytes, whatever else is exported."""
    export(mixed, "megatron", tmp_path / "all")
    made = export(mixed, "megatron", tmp_path / "out", dataset="depo", split="test")
    assert sorted(everything(tmp_path / "out")) == ["depo/test.bin", "depo/test.idx", NAME]
    for file in made["files"]:
        assert (tmp_path / "out" / file["path"]).read_bytes() == (
            tmp_path / "all" / file["path"]
        ).read_bytes()
    export(mixed, "megatron", tmp_path / "tests", split="test")  # mano has none
    assert sorted(everything(tmp_path / "tests")) == ["depo/test.bin", "depo/test.idx", NAME]


def test_spool_in_blocks(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megatron's index is written in blocks of documents; their size does not show."""
    export(mixed, "megatron", tmp_path / "out")
    monkeypatch.setattr(export_base, "_SPOOL_ITEMS", 7)
    export(mixed, "megatron", tmp_path / "small")
    assert everything(tmp_path / "small") == everything(tmp_path / "out")


@pytest.mark.parametrize("to", ["mds", "litdata", "litgpt"])
def test_chunks_of_any_size_hold_the_same(
    to: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to a document a chunk; chunks go over the row groups and shards of the corpus."""
    counts = []
    for limit in (1 << 26, 9_000, 1):
        monkeypatch.setattr(mds, "_SHARD_BYTES", limit)
        monkeypatch.setattr(litdata, "_CHUNK_BYTES", limit)
        export(mixed, to, tmp_path / str(limit))
        read = READERS[to](tmp_path / str(limit) / "depo", "train")
        rows = rows_of(mixed, "depo", "train")
        assert read.documents == rows["input_ids"]
        assert read.masks == (rows["loss_mask"] if to in MASKED else None)
        chunks = [path for path in (tmp_path / str(limit) / "depo/train").iterdir() if path.suffix != ".json"]
        counts.append(len(chunks))
        assert limit < 9_000 or max(path.stat().st_size for path in chunks) < 1.2 * limit
    assert counts[0] == 1
    assert counts[1] > 3
    assert counts[2] == 600


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (7, "7.00 T"),
        (999, "999 T"),
        (5_496, "5.50 kT"),
        (91_000, "91.0 kT"),
        (999_999, "1.00 MT"),
        (1_234_567, "1.23 MT"),
    ],
)
def test_datatroves_number_for_people(tokens: int, said: str) -> None:
    assert datatrove._for_people(tokens) == said


@pytest.mark.parametrize("to", TOKEN_FORMATS)
def test_texts_go_to_jsonl_only(to: str, biographies: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"texts/train holds texts.*to=jsonl.*bio=tokens"):
        export(biographies, to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    export(biographies, to, tmp_path / "out", dataset="tokens")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["to=megatorn"], ["to='megatorn'", "did you mean 'megatron'", "olmo"]),
        (["to=null"], ["to=None", "megatron"]),
        (["to=[olmo]"], ["to=['olmo']"]),
        (["to=olmo", "name=dep"], ["dataset='dep'", "did you mean 'depo'"]),
        (["to=olmo", "dataset=dep"], ["dataset='dep'", "did you mean 'depo'", "depo, mano"]),
        (["to=olmo", "dataset=[depo]"], ["dataset=['depo']", "depo, mano"]),
        (["to=olmo", "split=tests"], ["split=tests", "did you mean 'test'", "test, train"]),
        (["to=olmo", "dataset=mano", "split=test"], ["split=test", "mano has train"]),
        (["to=olmo", "split=[test]"], ["split=['test']"]),
        (["to=olmo", "path=nowhere"], ["nowhere: no such folder"]),
        (["to=olmo", "out=null"], ["out=None"]),
        (["to=olmo", "out=full"], ["out=full", "new or an empty folder"]),
        (["to=olmo", "out=full/file"], ["out=full/file", "new or an empty folder"]),
        (["to=olmo", "out=full/file/more"], ["full/file", "is a file, not a folder"]),
        (["to=olmo", "formt=x"], ["unknown key 'formt'"]),
        ([], ["to=... is missing"]),
    ],
)
def test_bad_input(
    words: list[str],
    said: list[str],
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    assert cli.main(over("export", f"path={mixed}", "out=out", *words)) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for word in said:
        assert word in err
    assert everything(tmp_path) == {"full/file": b"mine"}
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_did(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", f"path={mixed}", "to=nanogpt", f"out={tmp_path}/new/out"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (
        "mixed as nanogpt",
        "depo/train",
        "600 documents",
        "uint16",
        "not carried: document boundaries",
    ):
        assert word in out


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("before", ["nothing", "an empty folder"])
def test_nothing_is_left_after_an_error(
    to: str, before: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes in the middle of the second dataset, after whole files of the first."""
    out = tmp_path / "new" / "out"
    if before == "an empty folder":
        out.mkdir(parents=True)
    plain = export_base.SplitReader.read

    def fails(reader: Any, *rest: Any) -> pa.RecordBatch:
        if reader.split.dataset == "mano":
            assert len(everything(out)) > 1
            raise OstracaError("broken")
        return plain(reader, *rest)

    monkeypatch.setattr(export_base.SplitReader, "read", fails)
    with pytest.raises(OstracaError, match="broken"):
        export(mixed, to, out)
    if before == "nothing":
        assert list(tmp_path.iterdir()) == []
    else:
        assert list(out.iterdir()) == []


@pytest.mark.parametrize("to", TOKEN_FORMATS)
def test_ids_that_are_none_of_the_specs_are_never_cut(
    to: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corpus that is not what its manifest says is refused, not cast to 16 bits."""
    plain = export_base.SplitReader.read

    def forged(*given: Any) -> pa.RecordBatch:
        table = plain(*given)
        ids = pa.array([[1 << 16]] * table.num_rows, table.schema.field("input_ids").type)
        return table.set_column(0, table.schema.field("input_ids"), ids)

    monkeypatch.setattr(export_base.SplitReader, "read", forged)
    with pytest.raises(OstracaError, match="holds ids that its spec does not have"):
        export(mixed, to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_is_named(corpus_copy: Path, tmp_path: Path) -> None:
    shard = sorted((corpus_copy / "small").glob("train-*.parquet"))[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(OstracaError, match=rf"{shard.name}: has .* run `ostraca verify"):
        export(corpus_copy, "olmo", tmp_path / "out")
    assert not (tmp_path / "out").exists()
