"""The vocabulary's files belong to the corpus: verified, mended, and enough to make Capo again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.tasks.errors import ConfigError, OstracaError

Maker = Callable[..., dict[str, Any]]


def test_the_manifest_lists_every_file_and_verify_reads_them(corpus_copy: Path) -> None:
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    paths = ["report/statistics.json", "tokenizer.json", "tokenizer_config.json"]
    paths += ["tokenizers/small/tokenizer.json", "tokenizers/small/tokenizer_config.json"]
    assert sorted(file["path"] for file in manifest["files"]) == paths
    text = (corpus_copy / "tokenizer.json").read_text()
    (corpus_copy / "tokenizer.json").write_text(text.replace("<bos>", "<bus>"))
    (corpus_copy / "tokenizers/small/tokenizer_config.json").unlink()
    problems = verify(corpus_copy)
    assert len(problems) == 2
    assert "tokenizer_config.json: is missing" in problems[0]
    assert "tokenizer.json: corrupt" in problems[1]


def test_build_mends_a_missing_file(corpus_copy: Path, spec: Maker) -> None:
    before = (corpus_copy / "manifest.json").read_text()
    content = (corpus_copy / "tokenizer.json").read_bytes()
    (corpus_copy / "tokenizer.json").unlink()
    build(spec(), corpus_copy, engine="local")
    assert (corpus_copy / "tokenizer.json").read_bytes() == content
    assert verify(corpus_copy) == []
    again = json.loads((corpus_copy / "manifest.json").read_text())
    assert again["content_digest"] == json.loads(before)["content_digest"]


def test_a_file_outside_the_corpus_is_never_opened(corpus_copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    manifest["files"].append({"path": "../secret", "bytes": 1, "sha256": "0" * 64})
    (corpus_copy / "manifest.json").write_text(json.dumps(manifest))
    (problem,) = verify(corpus_copy)
    assert "'../secret', which is not a file of the spec" in problem


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
def test_capo_is_made_again_without_the_tokenizer_it_came_with(tmp_path: Path, vocabulary: str) -> None:
    """The corpus has a copy, which is what decides; the path in the spec only says where it once was."""
    from ostraca.tasks.capo.train_tokenizer import train_tokenizer

    train_tokenizer(tmp_path / "tok", vocab_size=500, num_people=30)
    config = {"num_people": 20, "exposures": 5, "tokenizer_name_or_path": str(tmp_path / "tok")}
    dataset = {"task": "capo", "config": config, "splits": {"train": {}, "test": {"form": "test"}}}
    build({"vocabulary": vocabulary, "datasets": {"people": dataset}}, tmp_path / "c", engine="local")
    shutil.rmtree(tmp_path / "tok")
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c") == (2, [])
    source = CorpusSource(tmp_path / "c")
    assert source.rows == 100
    assert source.vocab_size == 500


def capo_spec(tokenizer: Path, vocabulary: str = "published", **config: Any) -> dict[str, Any]:
    """Ten people, twice each, in the ids of `tokenizer`, beside some Mano."""
    given = {"num_people": 10, "exposures": 2, "tokenizer_name_or_path": str(tokenizer), **config}
    people = {"task": "capo", "config": given, "splits": {"train": {}}}
    sums = {"task": "mano", "config": {"L": 3}, "splits": {"train": {"examples": 30}}}
    return {"vocabulary": vocabulary, "shard_tokens": 500, "datasets": {"people": people, "sums": sums}}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A small tokenizer in a folder."""
    from ostraca.tasks.capo.train_tokenizer import train_tokenizer

    return train_tokenizer(tmp_path / "tok", vocab_size=500, num_people=30)


def change(folder: Path, file: str, edit: Callable[[Any], Any]) -> None:
    """Change the JSON in a file."""
    content = json.loads((folder / file).read_text())
    edit(content)
    (folder / file).write_text(json.dumps(content))


def test_a_tokenizer_without_an_end_is_copied_as_one(tokenizer: Path, tmp_path: Path) -> None:
    """Nobody may guess another end from the copy: <|endoftext|> is in the vocabulary."""
    change(tokenizer, "tokenizer_config.json", lambda about: about.update(eos_token="<nope>"))
    build(capo_spec(tokenizer, eos=False), tmp_path / "c", engine="local")
    assert verify(tmp_path / "c") == []
    assert reproduce(tmp_path / "c")[1] == []


def test_a_tokenizer_that_cannot_be_extended_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    """The library numbers added tokens itself: they would not get the ids that stand in the rows."""
    whole = (tokenizer / "tokenizer.json").read_text()

    def leave_a_gap(content: Any) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary[max(vocabulary, key=vocabulary.get)] = 900

    change(tokenizer, "tokenizer.json", leave_a_gap)
    with pytest.raises(ConfigError, match=r"no gaps.*id 900; set vocabulary=published"):
        build(capo_spec(tokenizer, "shared"), tmp_path / "c", engine="local")
    (tokenizer / "tokenizer.json").write_text(whole)
    added = {**json.loads(whole)["added_tokens"][0], "id": 500, "content": "<mano:+>"}
    change(tokenizer, "tokenizer.json", lambda content: content["added_tokens"].append(added))
    with pytest.raises(ConfigError, match=r"'<mano:\+>' already; set vocabulary=published"):
        build(capo_spec(tokenizer, "shared"), tmp_path / "c", engine="local")
    assert not (tmp_path / "c").exists()


def test_where_a_tokenizer_lies_is_no_part_of_the_corpus(tokenizer: Path, tmp_path: Path) -> None:
    """Same files and digests from a copy of it; and a build that lost a shard needs neither."""
    first = build(capo_spec(tokenizer), tmp_path / "a", engine="local")
    moved = tmp_path / "elsewhere"
    shutil.move(tokenizer, moved)
    second = build(capo_spec(moved), tmp_path / "b", engine="local")
    assert first["spec_digest"] == second["spec_digest"]
    paths = [each.relative_to(tmp_path / "a") for each in (tmp_path / "a").rglob("*.parquet")]
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in paths)
    shutil.rmtree(moved)
    lost = tmp_path / "a" / paths[0]
    content = lost.read_bytes()
    lost.unlink()
    build(capo_spec(tokenizer), tmp_path / "a", engine="local")
    assert lost.read_bytes() == content


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.update(files=[]), "is not in the manifest"),
        (lambda m: m.update(files={}), "not all of it is as ostraca writes it \\('files'\\)"),
        (lambda m: m["files"].append(m["files"][0]), "or lists it twice"),
        (lambda m: m["spec"].update(vocabulary="shared"), "belongs to another spec"),
        (lambda m: m["spec"].update(vocabulary="zz"), "not one that ostraca writes"),
        (lambda m: m["spec"].update(datasets=None), "not one that ostraca writes"),
        (lambda m: m["spec"].update(datasets=[]), "not one that ostraca writes"),
        (lambda m: m["spec"]["datasets"].update(small=3), "not one that ostraca writes"),
        (lambda m: m["spec"]["datasets"]["small"]["splits"]["train"].update(config=None), "not one that"),
    ],
)
def test_edited_manifests_are_noticed(corpus_copy: Path, edit: Callable[[Any], Any], words: str) -> None:
    from ostraca.pipeline.spec.check import spec_digest

    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    edit(manifest)
    manifest["spec_digest"] = spec_digest(manifest["spec"])
    (corpus_copy / "manifest.json").write_text(json.dumps(manifest))
    try:
        problems = verify(corpus_copy)
    except OstracaError as error:
        problems = [str(error)]
    assert problems
    assert all("\n" not in problem for problem in problems)
    assert re.search(words, problems[0]), problems


@pytest.mark.parametrize(
    ("edit", "advice"),
    [
        (
            lambda shards: shards[0].update(path="../small/train-00000-of-00001.parquet"),
            "run `ostraca verify path=",
        ),
        (lambda shards: shards.pop(), "run `ostraca verify path="),
        (lambda shards: shards.reverse(), "run `ostraca verify path="),
        (lambda shards: [shard.update(rows=-5) for shard in shards], "restore the manifest"),
    ],
)
def test_loaders_read_only_what_the_plan_has(
    corpus_copy: Path, edit: Callable[[Any], Any], advice: str
) -> None:
    change(corpus_copy, "manifest.json", lambda manifest: edit(manifest["splits"]["train"]["shards"]))
    with pytest.raises(OstracaError, match=advice):
        CorpusSource(corpus_copy)


def test_a_state_does_not_fit_other_data_of_the_same_name(tmp_path: Path) -> None:
    """Two corpora that swap their datasets have one content digest."""
    for name, seeds in (("one", (1, 2)), ("two", (2, 1))):
        datasets = {}
        for dataset, seed in zip("ab", seeds, strict=True):
            config = {"num_people": 10, "exposures": 2, "population_seed": seed}
            datasets[dataset] = {"task": "capo", "config": config, "splits": {"train": {}}}
        build({"vocabulary": "shared", "datasets": datasets}, tmp_path / name, engine="local")
    one, two = (
        TokenStream(CorpusSource(tmp_path / name, datasets="a"), batch_size=2, length=64)
        for name in ("one", "two")
    )
    with pytest.raises(OstracaError, match="content is"):
        two.load_state_dict(one.state_dict())
