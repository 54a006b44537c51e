"""`verify` finds every damage and names it; `reproduce` proves that the manifest is enough."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.formats import open_writer
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.row_groups import TABLE, GroupedFile
from ostraca.pipeline.corpus.split import Split, count_tokens
from ostraca.tasks.errors import ConfigError, OstracaError, OtherVersionWarning


def test_a_whole_corpus_has_no_problem(corpus: Path) -> None:
    assert verify(corpus) == []
    assert verify(corpus, content=True) == []


def test_any_single_byte_is_noticed(corpus_copy: Path) -> None:
    rng = random.Random(0)
    shards = sorted(corpus_copy.rglob("*.parquet"))
    for _ in range(30):
        path = rng.choice(shards)
        data = bytearray(path.read_bytes())
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
        whole = path.read_bytes()
        path.write_bytes(data)
        (problem,) = verify(corpus_copy)
        assert str(path) in problem
        assert "corrupt" in problem
        assert "\n" not in problem
        path.write_bytes(whole)


def test_truncated_missing_and_stray_shards(corpus_copy: Path, run_ostraca: Any) -> None:
    truncated, missing, *_ = sorted(corpus_copy.rglob("train-*.parquet"))
    truncated.write_bytes(truncated.read_bytes()[:-7])
    missing.unlink()
    stray = corpus_copy / "small" / "train-99999-of-00001.parquet"
    shutil.copy(truncated, stray)
    done = run_ostraca("verify", f"path={corpus_copy}")
    assert done.returncode == 1
    assert f"{truncated}: truncated" in done.stdout
    assert f"{missing}: is missing" in done.stdout
    assert f"{stray}: is not in the manifest" in done.stdout
    assert "3 problem(s)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_content_is_noticed_where_the_bytes_were_replaced_too(corpus_copy: Path) -> None:
    """A forged shard with a forged sha256: the content digest still tells."""
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    record = manifest["splits"]["test"]["shards"][0]
    split = Split.of(manifest["spec"], "small", "test")
    path = corpus_copy / record["path"]
    batches = [batch for _, batch in split_reader(corpus_copy, manifest, split).batches()]
    with open(path, "wb") as sink:
        grouped = GroupedFile(sink)
        with open_writer(split, grouped, {"ostraca_spec_digest": manifest["spec_digest"]}) as writer:
            for batch in batches:
                rows = batch.to_pylist()
                rows[3]["input_ids"][5] += 1
                writer.write(pa.RecordBatch.from_pylist(rows, schema=batch.schema))
                grouped.end_group(len(rows), count_tokens(batch))
            writer.add_table(TABLE, str(grouped.row_groups))
        record["tail"] = str(grouped.end())
    before = record["bytes"]
    record["bytes"] = path.stat().st_size
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["splits"]["test"]["bytes"] += record["bytes"] - before
    manifest["totals"]["bytes"] += record["bytes"] - before
    (corpus_copy / "manifest.json").write_text(json.dumps(manifest))
    assert verify(corpus_copy) == []
    (problem,) = verify(corpus_copy, content=True)
    assert "its content digest is" in problem


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format_version=2), ["format version 2", "install the release"]),
        (lambda m: m.pop("format_version"), ["not a manifest"]),
        (lambda m: m.pop("splits"), ["lacks splits"]),
        (lambda m: m["spec"].update(seed=5), ["spec_digest", "edited"]),
        (lambda m: m.update(format_version=True), ["format version True"]),
    ],
)
def test_manifests_that_cannot_be_used(
    corpus_copy: Path, run_here: Any, change: Callable[[dict[str, Any]], None], words: list[str]
) -> None:
    edit(corpus_copy, change)
    for command in ("verify", "reproduce", "inspect"):
        done = run_here(command, f"path={corpus_copy}")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        for word in words:
            assert word in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(content_digest="0" * 32),
        lambda m: m["totals"].update(tokens=1),
        lambda m: m["splits"]["train"].update(rows=1),
        lambda m: m["splits"]["train"]["shards"].pop(),
        lambda m: m["splits"]["train"]["shards"].append(m["splits"]["train"]["shards"][0]),
        lambda m: m["splits"]["train"]["shards"][0].update(path="../../etc/passwd"),
        lambda m: m["splits"]["train"]["shards"][0].update(first_index=7),
        lambda m: m["splits"]["train"]["shards"][0].update(rows=7),
        lambda m: m["splits"]["train"]["shards"][0].update(tokens=7),
        lambda m: m.update(name="other"),
        lambda m: m.update(tasks={"depo": 7}),
    ],
)
def test_an_edited_manifest_is_noticed(corpus_copy: Path, change: Callable[[dict[str, Any]], None]) -> None:
    edit(corpus_copy, change)
    problems = verify(corpus_copy)
    assert any("manifest.json" in problem for problem in problems), problems


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(splits=5),
        lambda m: m["splits"].update(train=5),
        lambda m: m["splits"]["train"]["shards"].append(5),
        lambda m: m["splits"]["train"]["shards"][0].update(rows="x"),
        lambda m: m["splits"]["train"]["shards"][0].update(extra=7),
        lambda m: m["splits"]["train"]["shards"][0].pop("path"),
        lambda m: m.update(totals={}),
        lambda m: m.update(totals=5),
        lambda m: m.update(spec=5),
    ],
)
def test_a_manifest_of_another_form_gets_one_line(
    corpus_copy: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None]
) -> None:
    from ostraca import cli

    edit(corpus_copy, change)
    for command in ("verify", "reproduce", "inspect"):
        assert cli.main([command, f"path={corpus_copy}"]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "manifest.json: " in err


def test_a_newer_task_still_verifies_and_loads(corpus_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only making examples needs the task's version; reading and verifying do not."""
    import dataclasses

    from ostraca.loaders import CorpusSource
    from ostraca.tasks import depo

    monkeypatch.setattr(depo, "TASK", dataclasses.replace(depo.TASK, version=3))
    said = r"was made by version 2 of task depo \(version 3 is installed\)"
    with pytest.warns(OtherVersionWarning, match=said):
        assert verify(corpus_copy, content=True) == []
    with pytest.warns(OtherVersionWarning, match=said):
        assert len(CorpusSource(corpus_copy).read([0])) > 0
    with pytest.raises(OstracaError, match="needs version 2 of task depo, but version 3 is installed"):
        reproduce(corpus_copy)


def test_every_command_says_that_a_corpus_is_of_another_version(
    corpus_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In one line where it is read, however often; what would make its examples again refuses in one."""
    import dataclasses

    from ostraca import cli
    from ostraca.tasks import depo

    monkeypatch.setattr(depo, "TASK", dataclasses.replace(depo.TASK, version=3))
    path, out = f"path={corpus_copy}", f"out={tmp_path / 'out'}"
    for words in (
        ["verify", path],
        ["inspect", path],
        ["export", path, "to=jsonl", out],
        ["audit", path, "examples=100"],
        ["diff", path, f"other={corpus_copy}"],
    ):
        status = cli.main(words)
        assert status == 0 or words[0] == "audit"
        assert capsys.readouterr().err == (
            f"ostraca: {corpus_copy}: was made by version 2 of task depo (version 3 is installed); "
            "it is read as it is, but cannot be regenerated here\n"
        ), words
    against = ["build", "dataset=depo1", "dedup.mode=drop", f"dedup.against=[{corpus_copy}]", "out=x"]
    for words in (["reproduce", path], against, ["plan", *against[1:-1]]):
        assert cli.main(words) == (2 if words[0] in ("build", "plan") else 1)
        _, err = capsys.readouterr()
        assert "needs version 2 of task depo, but version 3 is installed" in err
        assert err.count("\n") == 1


def test_no_json(corpus_copy: Path, run_here: Any) -> None:
    (corpus_copy / "manifest.json").write_text("{")
    done = run_here("verify", f"path={corpus_copy}")
    assert done.returncode == 1
    assert "manifest.json: is not readable JSON" in done.stderr


def test_reproduce_needs_no_shard(corpus_copy: Path) -> None:
    """Promise 6: the manifest alone is enough."""
    for path in corpus_copy.rglob("*.parquet"):
        path.unlink()
    count = len(list(read_manifest(corpus_copy)["splits"]["train"]["shards"])) + 1
    made: list[str] = []
    assert reproduce(corpus_copy, on_shard=lambda path, same: made.append(path)) == (count, [])
    assert len(made) == len(set(made)) == count
    assert reproduce(corpus_copy, workers=3) == (count, [])


def test_reproduce_some(corpus: Path) -> None:
    chosen: list[str] = []
    made, problems = reproduce(corpus, shards=2, seed=3, on_shard=lambda path, same: chosen.append(path))
    assert (made, problems) == (2, [])
    again: list[str] = []
    reproduce(corpus, shards=2, seed=3, on_shard=lambda path, same: again.append(path))
    assert sorted(chosen) == sorted(again)
    assert reproduce(corpus, shards=10**6)[0] > 2


def test_reproduce_on_ray(corpus: Path, ray_session: Any) -> None:
    made, problems = reproduce(corpus, engine="ray", workers=2)
    assert made > 2
    assert problems == []


def test_reproduce_notices_a_wrong_digest(corpus_copy: Path, run_here: Any) -> None:
    """All sums made to fit by the forger: only making the shard again tells."""
    from ostraca.pipeline.corpus.fingerprint import ContentDigest
    from ostraca.pipeline.corpus.manifest import make_manifest, records_of
    from ostraca.pipeline.corpus.records import ShardRecord

    manifest = read_manifest(corpus_copy)
    records = [ShardRecord(split=split, **record) for split, record in records_of(manifest)]
    wrong = ContentDigest.parse(records[0].content_digest) + ContentDigest((1, 0))
    forged = ShardRecord(**{**records[0].as_dict(), "content_digest": str(wrong)})
    again = make_manifest(manifest["spec"], [forged, *records[1:]], dedup=manifest["dedup"])
    (corpus_copy / "manifest.json").write_text(json.dumps(again))
    done = run_here("reproduce", f"path={corpus_copy}")
    assert done.returncode == 1
    assert f"{records[0].path}: regenerated, its content digest is" in done.stdout


@pytest.mark.parametrize("shards", [0, -1, "two", True])
def test_bad_number_of_shards(corpus: Path, shards: Any) -> None:
    with pytest.raises(ConfigError, match="shards="):
        reproduce(corpus, shards=shards)


def test_no_corpus_there(tmp_path: Path) -> None:
    with pytest.raises(OstracaError, match="holds no corpus"):
        verify(tmp_path)
    with pytest.raises(OstracaError, match="no such folder"):
        verify(tmp_path / "nothing")
