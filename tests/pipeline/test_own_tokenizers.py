"""A corpus is read with the tokenizers in its own folder, never with any from outside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostraca import cli
from ostraca.loaders import CorpusSource
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus import tokenizer_copies
from ostraca.pipeline.corpus.manifest import read_manifest, spec_in
from ostraca.pipeline.corpus.tokenizer_copies import private_copy
from ostraca.tasks.capo.train_tokenizer import train_tokenizer
from ostraca.tasks.errors import OstracaError
from ostraca.tasks.vocabulary import tokenizer_files

OWN = "tokenizers/people/tokenizer.json"


def people(tokenizer: Path) -> dict[str, Any]:
    config = {"num_people": 10, "exposures": 2, "tokenizer_name_or_path": str(tokenizer)}
    return {"datasets": {"people": {"task": "capo", "config": config, "splits": {"train": {}}}}}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It stays where it was while the corpora are made from it and read."""
    return train_tokenizer(tmp_path_factory.mktemp("made") / "tok", vocab_size=400, num_people=30)


@pytest.fixture(scope="module")
def built(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and the two parts of it beside it."""
    root = tmp_path_factory.mktemp("people")
    build(people(tokenizer), root / "whole", engine="local")
    for part in (1, 2):
        small = {"shard_tokens": 500, "row_group_tokens": 500}
        build({**people(tokenizer), **small}, root / str(part), engine="local", part=(part, 2))
    return root


@pytest.fixture
def corpora(built: Path, tmp_path: Path) -> Path:
    """Copies, to be damaged."""
    return Path(shutil.copytree(built, tmp_path / "corpora"))


COMMANDS = [
    ["inspect", "path=WHOLE", "show=1"],
    ["reproduce", "path=WHOLE", "engine=local"],
    ["export", "path=WHOLE", "to=megatron", "out=OUT"],
    ["export", "path=WHOLE", "to=megatron", "out=OUT", "dataset=people"],
    ["diff", "path=WHOLE", "other=WHOLE"],
    ["merge", "parts=[ONE,TWO]", "out=OUT"],
    ["audit", "path=WHOLE"],
    ["verify", "path=WHOLE"],
    ["verify", "path=WHOLE", "content=true"],
    ["verify", "path=WHOLE", "duplicates=true"],
]


@pytest.mark.parametrize("elsewhere", ["where it came from", "where code lies"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_tokenizer_from_outside_stands_in(
    words: list[str],
    elsewhere: str,
    corpora: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even the very one that the corpus was made with, nor one that is named in the manifest later."""
    folder, mark = tmp_path / "elsewhere", tmp_path / "ran"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    about = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    for root in corpora.iterdir():
        (root / OWN).unlink()
        if elsewhere == "where code lies":
            manifest = json.loads((root / "manifest.json").read_text())
            for split in manifest["spec"]["datasets"]["people"]["splits"].values():
                split["config"]["tokenizer_name_or_path"] = str(folder)
            (root / "manifest.json").write_text(json.dumps(manifest))
    names = {"WHOLE": corpora / "whole", "ONE": corpora / "1", "TWO": corpora / "2", "OUT": tmp_path / "out"}
    for name, path in names.items():
        words = [word.replace(name, str(path)) for word in words]
    assert cli.main(words) != 0
    out, err = capsys.readouterr()
    assert OWN in " ".join((out + err).split()).replace("/ ", "/"), (out, err)
    assert "Traceback" not in err
    assert not mark.exists()


def test_another_tokenizer_in_its_place_is_noticed(corpora: Path, tmp_path: Path) -> None:
    """Rows would be named, and examples made, by its ids."""
    other = train_tokenizer(tmp_path / "other", vocab_size=399, num_people=30)
    shutil.copy(other / "tokenizer.json", corpora / "whole" / OWN)
    with pytest.raises(OstracaError, match=r"is not the digest of the tokenizer .*: restore that file"):
        _ = CorpusSource(corpora / "whole").vocab_size
    with pytest.raises(OstracaError, match="tokenizer_sha256"):
        reproduce(corpora / "whole")
    assert any(OWN in problem for problem in verify(corpora / "whole"))


def make_old(root: Path) -> None:
    """A corpus as it was when tokenizers stood beside the shards and had no special tokens."""
    manifest = json.loads((root / "manifest.json").read_text())
    files = [file for file in manifest["files"] if file["path"] == "report/statistics.json"]
    for path, content in tokenizer_files(spec_in(root, manifest), old=True):
        (root / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files.append({"path": path, "bytes": len(content), "sha256": digest})
    shutil.rmtree(root / "tokenizers")
    manifest["files"] = files
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
def test_corpora_of_before_still_open(vocabulary: str, tokenizer: Path, tmp_path: Path) -> None:
    root, spec = tmp_path / "old", {**people(tokenizer), "vocabulary": vocabulary}
    build(spec, root, engine="local")
    make_old(root)
    assert (root / "people/tokenizer.json").is_file()
    assert "pad_token" not in (root / "tokenizer_config.json").read_text()
    assert verify(root, content=True) == []
    assert reproduce(root)[1] == []
    assert CorpusSource(root).vocab_size == 400
    before = {path: path.read_bytes() for path in root.rglob("tokenizer*")}
    for path in before:
        path.unlink()
    build(spec, root, engine="local")
    assert {path: path.read_bytes() for path in root.rglob("tokenizer*")} == before
    assert verify(root) == []


def test_a_corpus_in_a_store_is_read_with_a_private_copy(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokenizer is read again at each opening; what lies in the temporary folder is not believed."""
    import fsspec

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = fsspec.filesystem("memory")
    build(people(tokenizer), tmp_path / "built", engine="local")
    store.put(str(tmp_path / "built"), "/people", recursive=True)
    assert CorpusSource("memory://people").vocab_size == 400
    (copy,) = tmp_path.glob("ostraca-tokenizers-*/*/tokenizer.json")
    content = copy.read_bytes()
    copy.write_bytes(b" " * len(content))  # of the same size
    assert CorpusSource("memory://people").vocab_size == 400
    assert copy.read_bytes() == content
    store.rm("/people", recursive=True)


@pytest.mark.parametrize("name", ["a pipe", "a device"])
def test_only_a_regular_file_is_a_corpuss_tokenizer(name: str, corpora: Path) -> None:
    """A pipe would wait forever."""
    own = corpora / "whole" / OWN
    own.unlink()
    os.mkfifo(own) if name == "a pipe" else own.symlink_to("/dev/zero")
    with pytest.raises(OstracaError, match="not a regular file"):
        _ = CorpusSource(corpora / "whole").vocab_size
    assert any(OWN in problem for problem in verify(corpora / "whole", content=True))


def test_other_readers_take_a_datasets_folder(corpus: Path) -> None:
    """All files in it are shards."""
    pandas = pytest.importorskip("pandas")
    import pyarrow.dataset

    rows = read_manifest(corpus)["totals"]["rows"]
    assert pyarrow.dataset.dataset(corpus / "small").count_rows() == rows
    frame = pandas.read_parquet(corpus / "small")
    assert len(frame) == rows
    assert frame["index"].nunique() == 2000
    for tokens, mask in zip(frame["input_ids"], frame["loss_mask"], strict=True):
        assert len(np.frombuffer(mask, np.uint8)) == len(tokens)


def test_polars_takes_a_datasets_folder(corpus: Path) -> None:
    polars = pytest.importorskip("polars")
    rows = read_manifest(corpus)["totals"]["rows"]
    frame = polars.scan_parquet(corpus / "small").collect()
    assert frame.height == rows
    assert set(b"".join(frame["loss_mask"])) == {0, 1}


FILES = {"tokenizer.json": b"one", "tokenizer_config.json": b"two"}


def link_elsewhere(folder: Path, other: Path) -> None:
    folder.symlink_to(other)


def open_to_all(folder: Path, other: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def of_another(folder: Path, other: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)


def a_file(folder: Path, other: Path) -> None:
    folder.write_text("mine")


@pytest.mark.parametrize("before", [link_elsewhere, open_to_all, of_another, a_file])
def test_a_copy_is_nobody_elses(
    before: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the folder of this name first gets nothing written into it, and nothing read from it."""
    if before is of_another and os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tokenizer_copies._folder_of_process.cache_clear()
    taken, other = tmp_path / f"ostraca-tokenizers-{os.getuid()}", tmp_path / "other"
    other.mkdir()
    before(taken, other)
    copy = private_copy(FILES)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == FILES
    assert taken not in copy.parents
    assert not list(other.iterdir())
    status = copy.parent.lstat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.getuid()
    tokenizer_copies._folder_of_process.cache_clear()


def test_a_copy_is_compared_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    copy = private_copy(FILES)
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    (copy / "tokenizer.json").write_bytes(b"eno")  # of the same size
    (tmp_path / "secret").write_bytes(b"two")
    (copy / "tokenizer_config.json").unlink()
    (copy / "tokenizer_config.json").symlink_to(tmp_path / "secret")
    assert private_copy(FILES) == copy
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == FILES
    assert not (copy / "tokenizer_config.json").is_symlink()
    assert private_copy({**FILES, "tokenizer.json": b"eno"}) != copy
