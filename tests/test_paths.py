"""A path means one place from the moment it is given: `~` is the home folder; none moves with the process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_spec

from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.merge import merge
from ostraca.pipeline.check.compare import compare
from ostraca.pipeline.check.duplicates import find_in_corpus
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.export.export import export
from ostraca.pipeline.store.local import LocalFolder
from ostraca.pipeline.store.open import open_folder
from ostraca.tasks import get_task
from ostraca.tasks.capo.train_tokenizer import train_tokenizer
from ostraca.tasks.core.paths import local_path
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.tasks.examples import complete_config, generate_example

ROOT = Path(__file__).resolve().parent.parent
SPEC = make_spec(train=300, test=20, shard_tokens=6_000)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is the current one too; there is another beside it, `elsewhere`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def corpus(home: Path) -> Path:
    build(SPEC, home / "c", engine="local")
    return home / "c"


def first_ids(source: CorpusSource) -> list[list[int]]:
    stream: Iterator[dict[str, np.ndarray]] = iter(TokenStream(source, batch_size=4, length=16))
    return next(stream)["input_ids"].tolist()


SPELLINGS = ["c", "~/c", "./../home/c", "file://c", "file://~/c", "local://c", Path("c"), Path("~/c")]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_a_source_stays_where_it_was_opened(
    spelling: str | Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = first_ids(CorpusSource(corpus))
    source = CorpusSource(spelling)
    monkeypatch.chdir("../elsewhere")
    assert first_ids(source) == wanted
    assert first_ids(pickle.loads(pickle.dumps(source))) == wanted


def test_a_copy_in_another_process_finds_it(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CorpusSource("c")
    monkeypatch.chdir("../elsewhere")
    code = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).read([0])) > 0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(source),
        capture_output=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout == b"True\n", done.stderr


def test_a_ray_task_finds_it(corpus: Path, ray_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CorpusSource("c")
    monkeypatch.chdir("../elsewhere")

    def first_lengths(source: CorpusSource) -> list[int]:
        os.chdir("/")
        lengths: list[int] = source.read([0]).lengths().tolist()
        return lengths

    # By value: a worker cannot import this file.
    first_lengths.__module__ = "__main__"
    asked = ray_session.remote(first_lengths).remote(source)
    assert ray_session.get(asked) == CorpusSource(corpus).read([0]).lengths().tolist()


def test_every_function_of_the_pipeline_takes_a_path_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        build(SPEC, f"~/part-{number}", engine="local", part=(number, 2))
    merge(["~/part-1", "file://~/part-2"], "~/c")
    monkeypatch.chdir("../elsewhere")
    assert verify("~/c") == []
    assert reproduce("~/c")[1] == []
    assert compare("~/c", "../home/c").same
    assert find_in_corpus("~/c")["train"].examples > 250
    assert read_manifest("~/c")["name"] == "small"
    export("~/c", "jsonl", "~/jsonl")
    export("~/c", "jsonl", "file://~/more/jsonl")
    assert sorted(each.name for each in home.iterdir()) == ["c", "jsonl", "more", "part-1", "part-2"]
    assert list(Path().iterdir()) == []


def test_a_corpus_remembers_where_the_others_are(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build({**SPEC, "seed": 1, "dedup": {"mode": "drop", "against": ["~/c"]}}, "other", engine="local")
    assert [each["path"] for each in built["spec"]["dedup"]["against"]] == [str(corpus)]


def test_a_config_reads_files_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "g.txt").write_text("1 -> 2 3\n2 -> 4 4\n3 -> 4 5\n")
    texts = {
        complete_config(get_task("lano"), {"config_path": path}, 0)["grammar"]
        for path in ("g.txt", "~/g.txt", Path("~/g.txt"))
    }
    assert len(texts) == 1
    train_tokenizer("~/t", 300, 10)
    capo = complete_config(get_task("capo"), {"bio": "tokens", "tokenizer_name_or_path": "t"}, 0)
    monkeypatch.chdir("../elsewhere")
    assert generate_example(get_task("capo"), capo, 0, 0, "train")["input_ids"]


def test_what_is_no_path_of_this_machine_is_refused_where_one_is_needed(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="s3://b/x: must be a path on this machine"):
        export("c", "jsonl", "s3://b/x")
    assert [each.name for each in corpus.parent.iterdir()] == ["c"]
    assert str(open_folder("memory://x/c")) == "memory://x/c"


def test_a_current_folder_that_is_gone_is_told(home: Path) -> None:
    (home / "gone").mkdir()
    os.chdir(home / "gone")
    (home / "gone").rmdir()
    try:
        with pytest.raises(OstracaError, match="c: the current folder is gone"):
            LocalFolder("c")
        assert local_path(home) == home
    finally:
        os.chdir(home)
