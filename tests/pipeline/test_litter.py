"""What macOS, Windows, file systems and git leave in a folder changes nothing and stays where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import make_spec
from test_folder import folder, url  # noqa: F401 (fixtures: one folder of each kind)

from ostraca import cli
from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.merge import merge
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.layout import STATE
from ostraca.pipeline.store.folder import Folder, write_bytes
from ostraca.tasks.core.litter import is_empty, is_litter
from ostraca.tasks.errors import OstracaError

NAMES = [
    ".DS_Store",
    "._manifest.json",
    "._train-00000-of-00001.parquet",
    "._.train-00000-of-00001.parquet.tmp-0123456789ab",
    ".gitkeep",
    "lost+found/#1234",
    "lost+found/train-00000-of-00001.parquet",
    "Thumbs.db",
    "desktop.ini",
    "Desktop.ini",
    ".nfs00000000deadbeef00000001",
    "$RECYCLE.BIN/S-1/x.parquet",
    ".Trash-1000/files/x.tar",
]
SPEC = make_spec(train=300, test=20)


def strew(root: Path) -> dict[Path, bytes]:
    """Put litter in a folder and in those below; what it was."""
    left = {}
    folders = [each for each in root.rglob("*") if each.is_dir() and each.name != STATE]
    for below in [root, *(each for each in folders if not is_litter(f"{each.relative_to(root)}/x"))]:
        for name in NAMES:
            (below / name).parent.mkdir(parents=True, exist_ok=True)
            (below / name).write_bytes(b"litter")
            left[below / name] = b"litter"
    return left


def is_there(left: dict[Path, bytes]) -> bool:
    return all(path.read_bytes() == content for path, content in left.items())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that was built where litter lay, and got more of it."""
    root = tmp_path_factory.mktemp("littered") / "c"
    root.mkdir()
    left = strew(root)
    build(SPEC, root, engine="local")
    assert is_there(left)
    strew(root)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_litter_is_known_anywhere(name: str) -> None:
    assert is_litter(name)
    assert is_litter(f"small/{name}")


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "a.parquet",
        ".hidden",
        "_x",
        "Thumbs.db/a.parquet",
        "notes",
        ".ostraca-build/lock",
        ".git/x",
    ],
)
def test_other_files_are_none(name: str) -> None:
    assert not is_litter(name)


def test_every_kind_of_folder_passes_it_over(folder: Folder) -> None:  # noqa: F811
    for name in ["a/shard", *NAMES]:
        write_bytes(folder, name, b"x")
    assert folder.names() == ["a/shard"]
    folder.remove_unfinished()
    assert all(folder.size(name) == 1 for name in NAMES)


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "path={}"],
        ["verify", "path={}", "content=true", "duplicates=true"],
        ["reproduce", "path={}", "engine=local"],
        ["diff", "path={}", "other={}"],
        ["inspect", "path={}", "show=1"],
        ["audit", "path={}", "examples=100"],
        ["export", "path={}", "to=jsonl", "out={}-exported"],
    ],
    ids=lambda words: words[0],
)
def test_commands_pass_it_over(words: list[str], corpus: Path) -> None:
    out = Path(f"{corpus}-exported")
    out.mkdir(exist_ok=True)
    left = strew(corpus) | strew(out)
    assert cli.main([word.format(corpus) for word in words]) == 0
    assert is_there(left)


def test_a_build_goes_on_and_mends(corpus: Path) -> None:
    left = strew(corpus)
    next((corpus / "small").glob("train-*.parquet")).unlink()
    build(SPEC, corpus, engine="local")
    assert verify(corpus) == []
    assert build(SPEC, corpus, engine="local", mend=True)["name"] == "small"
    assert is_there(left)
    assert not (corpus / STATE).exists()


def test_parts_are_merged(tmp_path: Path) -> None:
    spec = make_spec(train=300, test=20, shard_tokens=6_000)
    for number in (1, 2):
        build(spec, tmp_path / str(number), engine="local", part=(number, 2))
        strew(tmp_path / str(number))
    (tmp_path / "out").mkdir()
    left = strew(tmp_path / "out")
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert verify(tmp_path / "out") == []
    assert is_there(left)


def test_the_loader_reads_it(corpus: Path) -> None:
    strew(corpus)
    assert len(list(TokenStream(CorpusSource(corpus), batch_size=4, length=64, epochs=1))) > 3


def test_a_tokenizer_goes_where_litter_lies(tmp_path: Path) -> None:
    left = strew(tmp_path)
    assert is_empty(tmp_path)
    assert cli.main(["train-tokenizer", f"out={tmp_path}", "num_people=5", "vocab_size=300"]) == 0
    assert is_there(left)


@pytest.mark.parametrize("name", ["notes.txt", "small/x.parquet", ".git/HEAD"])
def test_a_file_of_the_users_is_still_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OstracaError, match="is not empty"):
        build(SPEC, tmp_path, engine="local")


def test_a_strange_shard_is_still_told(tmp_path: Path) -> None:
    build(SPEC, tmp_path, engine="local")
    (tmp_path / "x.parquet").write_bytes(b"")
    assert len(verify(tmp_path)) == 1
    assert json.loads((tmp_path / "manifest.json").read_text())["name"] == "small"
