"""`inspect` of packed rows: every document on a line, what is cut said, what is whole validated."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from corpora import crowded

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.commands.inspect_examples import _packed_looks
from ostraca.pipeline.corpus.manifest import read_manifest, spec_in
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.spec.packing import PACK_MODES
from ostraca.tasks import get_task

LENGTH = 24


@pytest.fixture(scope="module", params=PACK_MODES)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "c"
    spec = crowded(
        {"m": ("mano", {"L": 4})},
        {"train": {"examples": 80}},
        pack={"length": LENGTH, "mode": request.param},
        vocabulary="shared",
    )
    build(spec, path, engine="local")
    return path


def test_every_document_stands_on_a_line_of_its_own(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)  # long lines wrap
    assert cli.main(["inspect", "path=c", "show=200", "max_tokens=-1"]) == 0
    said = capsys.readouterr().out
    manifest = read_manifest(root)
    rows = manifest["totals"]["rows"]
    assert said.count("packed row from example") == said.count("\nvalid\n") == rows
    cuts = manifest["spec"]["pack"]["mode"] in ("left_aligned", "concat")
    assert ("cut" in said) == cuts
    assert said.count("<bos>") == 80 or cuts
    for line in said.splitlines():
        assert line.count("<bos>") <= 1, line


def test_a_wrong_document_is_named(root: Path) -> None:
    """In each row one answer is made another: the first document's, if it is whole."""
    manifest = read_manifest(root)
    spec = spec_in(root, manifest)
    task, config = get_task("mano"), spec["datasets"]["m"]["splits"]["train"]["config"]
    for _, batch in split_reader(root, manifest, Split.of(spec, "m", "train")).batches():
        rows = batch.to_pylist()
        whole = [row["offset"] == 0 and len(row["starts"]) > 1 for row in rows]
        for row in rows:
            end = row["starts"][1] if len(row["starts"]) > 1 else len(row["input_ids"])
            row["input_ids"][end - 1] += 1 if row["input_ids"][end - 1] < config["value_mod"] else -1
        wrong = pa.RecordBatch.from_pylist(rows, schema=batch.schema)
        looks = list(_packed_looks(task, config, spec["pack"], wrong))
        assert any(whole)
        for (row, _, verdict), judged in zip(looks, whole, strict=True):
            if judged:
                assert not verdict
                assert f"example {row['documents'][0]}: " in verdict.reason


def test_rows_begin_with_the_example_asked_for_or_a_later_one(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert cli.main(["inspect", "path=c", "index=9", "show=1"]) == 0
    (title, *_) = capsys.readouterr().out.splitlines()
    assert int(title.rsplit(" ", 1)[1]) >= 9
