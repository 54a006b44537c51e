"""The shared vocabulary is dense and disjoint, and a corpus's tokenizer.json reads every row of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tasks_of_tests import CONFIGS, STREAMED

from ostraca.pipeline.build.build import build
from ostraca.pipeline.spec.check import check_spec
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.vocabulary import Renaming, renaming, shared_ids, shared_name, split_names


def spec_of(*names: str, vocabulary: str = "shared", examples: int = 60) -> dict[str, Any]:
    """A corpus with one dataset for each of the test configs."""
    splits = {"train": {"examples": examples}, "test": {"examples": 20, "form": "test"}}
    datasets = {
        name: {"task": CONFIGS[name][0], "config": CONFIGS[name][1], "splits": splits} for name in names
    }
    return {"name": "mix", "vocabulary": vocabulary, "datasets": datasets}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All streamed test configs in one corpus with shared ids."""
    root = tmp_path_factory.mktemp("mixture") / "shared"
    build(spec_of(*STREAMED), root, engine="local")
    return root


def test_shared_ids_are_dense_and_disjoint() -> None:
    ids = shared_ids(check_spec(spec_of(*STREAMED))["datasets"])
    assert sorted(ids.values()) == list(range(len(ids)))
    assert {task for task, _ in ids} == set(TASKS)
    added = [token for token in ids if token[0] != "capo"]
    assert len({shared_name(*token) for token in added}) == len(added) > 150


def test_a_tokenizers_ids_come_first_and_stay() -> None:
    ids = shared_ids(check_spec(spec_of(*STREAMED))["datasets"])
    capo = get_task("capo")
    names = capo.tokens(capo.check(CONFIGS["capo"][1]))
    assert {name: token for (task, name), token in ids.items() if task == "capo"} == {
        name: token for token, name in names.items()
    }
    assert min(token for (task, _), token in ids.items() if task != "capo") == len(names)


def test_tokens_of_one_meaning_are_one() -> None:
    """Depo's word tokens 1..3 mean the same in both configs; what ends a word never what begins one."""
    datasets = check_spec(spec_of("depo", "depo-words"))["datasets"]
    ids = shared_ids(datasets)
    one, other = (renaming(datasets, name, "train") for name in ("depo", "depo-words"))
    assert one is not None
    assert other is not None
    assert (
        one.ids(np.array([1, 2, 3], np.int32)).tolist() == other.ids(np.array([1, 2, 3], np.int32)).tolist()
    )
    assert one.ids(np.array([4], np.int32)) != other.ids(np.array([4], np.int32))  # "4" and "1."
    assert ids["depo", "1."] == other.ids(np.array([4], np.int32))[0]


def test_shared_rows_are_the_published_rows_renamed(mixture: Path, tmp_path: Path) -> None:
    manifest = build(spec_of(*STREAMED, vocabulary="published"), tmp_path / "published", engine="local")
    spec = json.loads((mixture / "manifest.json").read_text())["spec"]
    for split, entry in manifest["splits"].items():
        for record in entry["shards"]:
            published, shared = (
                pq.read_table(root / record["path"]) for root in (tmp_path / "published", mixture)
            )
            assert shared.drop_columns("input_ids") == published.drop_columns("input_ids")
            renamed = renaming(spec["datasets"], record["dataset"], split)
            old = unragged(published["input_ids"].combine_chunks())[0]
            new = unragged(shared["input_ids"].combine_chunks())[0]
            assert (new == (old if renamed is None else renamed.ids(old))).all()
            if renamed is not None:
                assert (renamed.inverse().ids(new) == old).all()


def rows(root: Path, dataset: str) -> list[list[int]]:
    paths = sorted((root / dataset).glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]


def check_tokenizer(folder: Path, names: dict[int, str], examples: list[list[int]]) -> None:
    """AutoTokenizer calls every id of the rows by its name, and reads the text of a row as that row."""
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    for row in examples:
        assert tokenizer.convert_ids_to_tokens(row) == [names[token] for token in row]
        assert tokenizer.encode(tokenizer.decode(row), add_special_tokens=False) == row
    assert len(tokenizer) > max(max(row) for row in examples)


def test_one_tokenizer_reads_every_row_of_a_shared_corpus(mixture: Path) -> None:
    spec = json.loads((mixture / "manifest.json").read_text())["spec"]
    for dataset in STREAMED:
        check_tokenizer(mixture, split_names(spec, dataset, "train"), rows(mixture, dataset))


@pytest.mark.parametrize("name", STREAMED)
def test_a_published_corpus_has_its_tokenizer(name: str, tmp_path: Path) -> None:
    manifest = build(spec_of(name, vocabulary="published", examples=5), tmp_path / "c", engine="local")
    names = split_names(manifest["spec"], name, "train")
    for folder in (tmp_path / "c", tmp_path / "c" / "tokenizers" / name):
        check_tokenizer(folder, names, rows(tmp_path / "c", name))


def test_published_datasets_have_a_tokenizer_each(tmp_path: Path) -> None:
    """Their ids collide, so the corpus's own folder has none."""
    manifest = build(
        spec_of("depo", "mano", "lano", vocabulary="published", examples=5), tmp_path / "c", engine="local"
    )
    assert not (tmp_path / "c" / "tokenizer.json").exists()
    for name in ("depo", "mano", "lano"):
        check_tokenizer(
            tmp_path / "c" / "tokenizers" / name,
            split_names(manifest["spec"], name, "train"),
            rows(tmp_path / "c", name),
        )


def test_large_ids_are_renamed_too() -> None:
    sources = np.array([3, 2**20, 2**31 - 1], dtype=np.int32)
    made = Renaming(sources=sources, targets=np.array([2, 0, 1], dtype=np.int32))
    tokens = np.array([2**31 - 1, 3, 3, 2**20], dtype=np.int32)
    assert made.ids(tokens).tolist() == [1, 2, 2, 0]
    assert made.inverse().ids(made.ids(tokens)).tolist() == tokens.tolist()


def test_two_tokenizers_cannot_share_a_vocabulary(tmp_path: Path) -> None:
    from ostraca.tasks.capo.train_tokenizer import train_tokenizer

    train_tokenizer(tmp_path / "tok", vocab_size=400, num_people=20)
    spec = spec_of("capo")
    config = {**CONFIGS["capo"][1], "tokenizer_name_or_path": str(tmp_path / "tok")}
    spec["datasets"]["other"] = {**spec["datasets"]["capo"], "config": config}
    with pytest.raises(ConfigError, match=r"vocabulary=shared needs one tokenizer.*capo and other"):
        check_spec(spec)


def test_shared_ids_golden() -> None:
    """If this changes, corpora with shared ids change: raise the versions of the tasks concerned."""
    import hashlib

    ids = shared_ids(check_spec(spec_of("depo", "brevo", "mano", "lano"))["datasets"])
    lines = "\n".join(f"{token} {shared_name(*key)}" for key, token in ids.items())
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "c7125a94cd1fcd75"
