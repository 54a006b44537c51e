"""Promises 1, 2 and 5: the same corpus however it is built; whole, or not there."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import files_of

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.jobs.engine import open_engine
from ostraca.pipeline.build.jobs.watch import Watch
from ostraca.pipeline.build.shards.warm import warm_kernels
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.formats.parquet_mask import stored_schema
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.shards import Shard, plan
from ostraca.pipeline.store.atomic import lock
from ostraca.pipeline.store.local import LocalFolder
from ostraca.tasks import get_task
from ostraca.tasks.errors import ConfigError, OstracaError

Maker = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(("engine", "workers"), [("local", 2), ("local", 3)])
def test_same_files_for_any_number_of_threads(
    spec: Maker, corpus: Path, tmp_path: Path, engine: str, workers: int
) -> None:
    build(spec(), tmp_path / "c", engine=engine, workers=workers)
    assert files_of(tmp_path / "c") == files_of(corpus)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_same_files_on_ray(spec: Maker, corpus: Path, tmp_path: Path, ray_session: Any, workers: int) -> None:
    build(spec(), tmp_path / "c", engine="ray", workers=workers)
    assert files_of(tmp_path / "c") == files_of(corpus)
    manifest, other = read_manifest(tmp_path / "c"), read_manifest(corpus)
    assert {**manifest, "created": 0} == {**other, "created": 0}


@pytest.mark.parametrize(("shard_tokens", "row_group_tokens"), [(7_000, 1_000), (10**6, 10**6)])
def test_same_content_for_other_shard_and_batch_sizes(
    spec: Maker, corpus: Path, tmp_path: Path, shard_tokens: int, row_group_tokens: int
) -> None:
    """Batches are row groups: other sizes are other files with the same content digest."""
    given = spec(shard_tokens=shard_tokens, row_group_tokens=row_group_tokens)
    manifest = build(given, tmp_path / "c", engine="local")
    assert manifest["content_digest"] == read_manifest(corpus)["content_digest"]
    assert manifest["spec_digest"] != read_manifest(corpus)["spec_digest"]
    for split, entry in manifest["splits"].items():
        assert entry["content_digest"] == read_manifest(corpus)["splits"][split]["content_digest"]


def test_another_seed_is_another_corpus(spec: Maker, corpus: Path, tmp_path: Path) -> None:
    manifest = build(spec(seed=1), tmp_path / "c", engine="local")
    assert manifest["content_digest"] != read_manifest(corpus)["content_digest"]


def test_rows_are_the_examples_at_their_addresses(corpus: Path) -> None:
    """What a shard holds is what the one-example API gives for its address; labels are not stored."""
    manifest = read_manifest(corpus)
    task = get_task("depo")
    from ostraca.tasks.examples import generate_example

    for split in ("train", "test"):
        record = manifest["splits"][split]["shards"][-1]
        config = manifest["spec"]["datasets"]["small"]["splits"][split]["config"]
        table = pq.read_table(corpus / record["path"])
        assert table.schema.remove_metadata() == stored_schema(task.schema(config))
        for row in (0, record["rows"] - 1):
            index = record["first_index"] + row
            example = generate_example(task, config, 0, index, split)
            del example["labels"]
            held = table.slice(row, 1).to_pylist()[0]
            assert np.frombuffer(held["loss_mask"], np.uint8).tolist() == example["loss_mask"]
            assert {**held, "loss_mask": list(held["loss_mask"])} == example


def test_manifest_has_what_is_promised(corpus: Path) -> None:
    manifest = json.loads((corpus / "manifest.json").read_text())
    for key in ("format_version", "content_digest", "spec", "spec_digest", "tasks", "splits", "totals"):
        assert key in manifest
    assert {"python", "libraries", "created"} <= manifest.keys()
    assert manifest["tasks"] == {"depo": 2}
    for entry in manifest["splits"].values():
        for shard in entry["shards"]:
            wanted = {"path", "rows", "tokens", "bytes", "sha256", "content_digest", "first_index", "count"}
            assert wanted <= shard.keys()
            file = pq.ParquetFile(corpus / shard["path"])
            tokens = sum(len(row) for row in file.read(["input_ids"])["input_ids"].to_pylist())
            assert (file.metadata.num_rows, tokens) == (shard["rows"], shard["tokens"])
    root = ["manifest.json", "report", "small", "tokenizer.json", "tokenizer_config.json", "tokenizers"]
    assert sorted(path.name for path in corpus.iterdir()) == root


def test_parquet_as_promised(corpus: Path) -> None:
    """zstd, row groups of the size in the spec, statistics for every column but tokens and their mask."""
    manifest = read_manifest(corpus)
    size = manifest["spec"]["datasets"]["small"]["splits"]["train"]["row_group_examples"]
    for shard in manifest["splits"]["train"]["shards"]:
        metadata = pq.read_metadata(corpus / shard["path"])
        groups = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        assert all(rows == size for rows in groups[:-1])
        assert 1 <= groups[-1] <= size
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(0).column(column)
            assert chunk.compression == "ZSTD"
            tokens = chunk.path_in_schema in ("input_ids.list.element", "loss_mask")
            assert tokens or chunk.statistics.has_min_max


def test_hugging_face_datasets_reads_the_shards(corpus: Path, tmp_path: Path) -> None:
    """A peer's reader gives the rows that were written."""
    datasets = pytest.importorskip("datasets")

    files = sorted(map(str, corpus.glob("small/train-*.parquet")))
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))["train"]
    assert loaded.num_rows == 2000
    written = pq.read_table(files[0]).slice(5, 1).to_pylist()[0]
    assert loaded[5] == written


def test_a_whole_corpus_is_left_alone(spec: Maker, corpus_copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus_copy.rglob("*") if path.is_file()}
    build(spec(), corpus_copy, engine="local")
    assert before == {path: path.stat().st_mtime_ns for path in corpus_copy.rglob("*") if path.is_file()}
    assert not (corpus_copy / ".ostraca-build").exists()


def test_another_spec_is_refused_with_both_digests_and_what_differs(spec: Maker, corpus_copy: Path) -> None:
    before = files_of(corpus_copy)
    with pytest.raises(OstracaError) as caught:
        build(spec(seed=9), corpus_copy, engine="local")
    other = build(spec(seed=9), corpus_copy.parent / "other", engine="local")["spec_digest"]
    assert other in str(caught.value)
    assert read_manifest(corpus_copy)["spec_digest"] in str(caught.value)
    assert "(spec seed: 0 there, 9 here)" in str(caught.value)
    assert files_of(corpus_copy) == before


def stop_after(shards: int) -> Callable[[Any, bool], None]:
    """An `on_shard` that raises once so many shards were made."""
    made = 0

    def on_shard(record: Any, kept: bool) -> None:
        nonlocal made
        made += not kept
        if made == shards:
            raise KeyboardInterrupt

    return on_shard


def test_a_stopped_build_goes_on_and_makes_nothing_twice(spec: Maker, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        build(spec(), root, engine="local", watch=Watch(on_shard=stop_after(2)))
    assert not (root / "manifest.json").exists()
    finished = {path: path.stat().st_ino for path in root.rglob("*.parquet")}
    assert 2 <= len(finished) < len(list(plan(check_spec(spec()))))
    kept = []
    build(spec(), root, engine="local", watch=Watch(on_shard=lambda record, found: kept.append(found)))
    assert sum(kept) == len(finished)
    assert all(path.stat().st_ino == number for path, number in finished.items())
    assert files_of(root) == files_of(corpus)


def test_a_begun_folder_is_refused_to_another_spec(spec: Maker, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(spec(), tmp_path / "c", engine="local", watch=Watch(on_shard=stop_after(1)))
    with pytest.raises(OstracaError, match="not the one asked for"):
        build(spec(seed=3), tmp_path / "c", engine="local")
    with pytest.raises(OstracaError, match="begun and not finished"):
        read_manifest(tmp_path / "c")


@pytest.mark.parametrize("damage", ["truncate", "remove", "flip", "record"])
def test_a_finished_shard_that_was_damaged_is_made_again(
    spec: Maker, corpus: Path, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        build(spec(), root, engine="local", watch=Watch(on_shard=stop_after(2)))
    path = sorted(root.rglob("*.parquet"))[0]
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "remove":
        path.unlink()
    elif damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        (root / ".ostraca-build/shards" / f"{path.relative_to(root)}.json").write_text("{")
    build(spec(), root, engine="local")
    assert files_of(root) == files_of(corpus)
    assert verify(root) == []


def test_torn_files_do_not_survive(spec: Maker, tmp_path: Path) -> None:
    root = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        build(spec(), root, engine="local", watch=Watch(on_shard=stop_after(1)))
    torn = root / "small" / ".train-00000-of-00009.parquet.tmp-0123456789ab"
    torn.write_bytes(b"PAR1")
    build(spec(), root, engine="local")
    assert not torn.exists()
    assert [path.name for path in root.rglob("*tmp-*")] == []


def test_a_whole_corpus_that_lost_shards_is_mended(spec: Maker, corpus: Path, corpus_copy: Path) -> None:
    """Gone or truncated shards are made again, the others left alone."""
    gone, cut, *kept = sorted(corpus_copy.rglob("*.parquet"))
    gone.unlink()
    cut.write_bytes(b"PAR1")
    before = {path: path.stat().st_ino for path in kept}
    build(spec(), corpus_copy, engine="local")
    assert files_of(corpus_copy) == files_of(corpus)
    assert before == {path: path.stat().st_ino for path in kept}
    assert verify(corpus_copy) == []


def test_damage_that_changes_no_size_is_mended_where_that_is_asked(
    spec: Maker, corpus: Path, corpus_copy: Path
) -> None:
    """A flipped bit, a shard copied over another, a tokenizer and statistics of other bytes."""
    flipped, other, *kept = sorted(corpus_copy.rglob("*.parquet"))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    size = other.stat().st_size
    other.write_bytes(kept[0].read_bytes()[:size].ljust(size, b"x"))
    files = [*corpus_copy.rglob("tokenizer.json"), corpus_copy / "report" / "statistics.json"]
    for file in files:
        file.write_bytes(file.read_bytes()[:-1] + b" ")
    before = {path: path.stat().st_ino for path in kept}
    build(spec(), corpus_copy, engine="local")
    assert len(verify(corpus_copy)) == 2 + len(files), "left alone: all sizes are as they were"
    build(spec(), corpus_copy, engine="local", mend=True)
    assert verify(corpus_copy) == []
    assert files_of(corpus_copy) == files_of(corpus)
    assert before == {path: path.stat().st_ino for path in kept}


@pytest.mark.parametrize("name", ["_build", ".ostraca-build"])
def test_nothing_of_the_users_is_ever_removed(spec: Maker, tmp_path: Path, name: str) -> None:
    """Whatever a folder is called, files that no build made stay, and the build is refused."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "index.html").write_text("mine")
    with pytest.raises(OstracaError, match="is not empty"):
        build(spec(), tmp_path, engine="local")
    assert (tmp_path / name / "index.html").read_text() == "mine"


def test_a_file_that_only_looks_temporary_is_kept(spec: Maker, tmp_path: Path) -> None:
    """Clearing away after a kill takes the names that builds give, and no others."""
    with pytest.raises(KeyboardInterrupt):
        build(spec(), tmp_path / "c", engine="local", watch=Watch(on_shard=stop_after(1)))
    mine = tmp_path / "c" / "small" / ".keep.tmp-mine"
    mine.write_text("mine")
    build(spec(), tmp_path / "c", engine="local")
    assert mine.read_text() == "mine"


def test_a_shard_made_again_must_be_the_same(
    spec: Maker, corpus_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mending never changes what a corpus is: other content is an error, and the manifest stays."""
    import dataclasses

    from ostraca.pipeline.build import build as module

    real = module.make_shard
    manifest = (corpus_copy / "manifest.json").read_bytes()
    next(corpus_copy.rglob("*.parquet")).unlink()

    def other(*arguments: Any, **more: Any) -> Any:
        made = real(*arguments, **more)
        return dataclasses.replace(made, record=dataclasses.replace(made.record, content_digest="0" * 32))

    monkeypatch.setattr(module, "make_shard", other)
    with pytest.raises(OstracaError, match="regenerated, its content digest is 0000"):
        build(spec(), corpus_copy, engine="local")
    assert (corpus_copy / "manifest.json").read_bytes() == manifest


def test_a_folder_in_which_nothing_was_finished_can_be_taken_over(spec: Maker, tmp_path: Path) -> None:
    """A build that failed before its first shard does not claim the folder."""
    pytest.importorskip("ray")
    root = tmp_path / "c"
    with pytest.raises(OstracaError, match="nothing answers there"):
        build(spec(seed=5), root, engine="ray", ray={"address": "127.0.0.1:9"})
    build(spec(), root, engine="local")
    assert verify(root) == []


def test_a_worker_that_writes_elsewhere_is_noticed(
    spec: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster without a shared folder no manifest is written over absent files.

    A worker finds no lock there; one that does not look is found out by what it has made.
    """
    from ostraca.pipeline.build import build as module
    from ostraca.pipeline.store.fence import LostLockError

    real = module.make_shard

    def elsewhere(spec: Any, digest: str, changes: Any, folder: LocalFolder, shard: Shard, evals: Any) -> Any:
        return real(spec, digest, changes, move(folder, f"{folder}-of-another-node"), shard)

    def fenced(folder: LocalFolder, root: str) -> LocalFolder:
        return LocalFolder(root, folder.__reduce__()[1][1])

    def unfenced(folder: LocalFolder, root: str) -> LocalFolder:
        return LocalFolder(root)

    for move, error in ((fenced, LostLockError), (unfenced, OstracaError)):  # noqa: B007 (`elsewhere` takes it)
        monkeypatch.setattr(module, "make_shard", elsewhere)
        with pytest.raises(error, match="all nodes share"):
            build(spec(), tmp_path / "c", engine="local")
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_shards_of_another_task_version_are_not_made(spec: Maker) -> None:
    """A node with another release must not make its own examples under this spec's label."""
    from ostraca.pipeline.build.shards.shard import make_shard

    complete = check_spec(spec())
    complete["datasets"]["small"]["version"] = 99
    with pytest.raises(OstracaError, match="needs version 99 of task depo"):
        make_shard(complete, "digest", None, LocalFolder("/nowhere"), next(plan(complete)))


def test_a_folder_with_something_else_in_it_is_refused(spec: Maker, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OstracaError, match=r"not empty \(letter.txt is there\)"):
        build(spec(), tmp_path, engine="local")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_two_builds_in_one_folder(spec: Maker, tmp_path: Path) -> None:
    """The second is refused while the first lives; a dead one's lock does not hold."""
    root = tmp_path / "c"
    with (
        lock(root / ".ostraca-build" / "lock"),
        pytest.raises(OstracaError, match="another build is running"),
    ):
        build(spec(), root, engine="local")
    build(spec(), root, engine="local")


def test_no_permission(spec: Maker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OstracaError, match="choose another folder"):
        build(spec(), tmp_path / "file" / "c", engine="local")
    (tmp_path / "closed").mkdir(mode=0o500)
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from ostraca.pipeline.store.atomic import atomic_file; from pathlib import Path\n"
        "from ostraca.tasks.errors import OstracaError\n"
        "try:\n"
        " with atomic_file(Path(sys.argv[1]) / 'x' / 'y.json') as file: file.write(b'1')\n"
        "except OstracaError as error: print(error); sys.exit(7)\n"
    )
    if os.geteuid() == 0:  # root may write anywhere: become nobody, with the libraries already open to all
        tmp_path.chmod(0o755)
        for parent in (tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
        code = code.replace("os.setgroups", "import ostraca.pipeline.store.atomic; os.setgroups")
        root = str(Path(__file__).resolve().parents[2])
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "closed"), root],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        assert "no permission; choose a folder you may write to" in done.stdout
    else:
        with pytest.raises(OstracaError, match="no permission"):
            build(spec(), tmp_path / "closed" / "c", engine="local")


def test_no_space(tmp_path: Path) -> None:
    """A real full disk: a tmpfs of 200 kB in a mount namespace of its own."""
    root = Path(__file__).resolve().parents[2]
    script = f"""
mount -t tmpfs -o size=200k none {tmp_path} || exit 99
cd {tmp_path}
{sys.executable} {root}/ostraca build dataset=depo1 out={tmp_path}/c examples=5000 engine=local \
    disk=ignore shard_tokens=100000 row_group_tokens=20000
code=$?
find {tmp_path}/c -name '*tmp-*' | grep . && exit 98
test -e {tmp_path}/c/manifest.json && exit 97
exit $code
"""
    command = ["unshare", "--mount", "--map-root-user", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1
    assert "no space left on the disk; free some or choose another out=" in done.stderr


def test_quiet_in_a_pipe(run_ostraca: Any, tmp_path: Path) -> None:
    done = run_ostraca(
        "build", "dataset=depo1", "dataset.N=10", f"out={tmp_path}/c", "examples=500", "engine=local"
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "content digest" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_job_that_fails_stops_the_build(spec: Maker, ray_session: Any) -> None:
    """The error of a job arrives as it was raised, on both engines, and nothing hangs."""
    complete = check_spec(spec())

    def failing_job(shard: Shard) -> str:
        if shard.number == 1:
            raise OstracaError("shard 1 cannot be")
        return shard.path

    for engine in ("local", "ray"):
        with (
            pytest.raises(OstracaError) as caught,
            open_engine(functools.partial(warm_kernels, complete), engine=engine, workers=2) as runner,
        ):
            list(runner.map(failing_job, plan(complete)))
        assert str(caught.value) == "shard 1 cannot be"


@pytest.mark.parametrize(("engine", "workers"), [("rey", 1), ("local", 0), ("local", True), ("ray", "two")])
def test_bad_engine_or_workers(spec: Maker, tmp_path: Path, engine: str, workers: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        build(spec(), tmp_path / "c", engine=engine, workers=workers)
    assert "\n" not in str(caught.value)


def test_jobs_in_flight_are_bounded(spec: Maker) -> None:
    """The plan is drawn from as jobs finish, never all at once."""
    complete = check_spec(spec(train=100_000, shard_tokens=1000))
    drawn = 0

    def counted() -> Any:
        nonlocal drawn
        for shard in plan(complete):
            drawn += 1
            yield shard

    with open_engine(functools.partial(warm_kernels, complete), engine="local", workers=2) as runner:
        results = runner.map(lambda shard: shard.path, counted())
        next(results)
        assert drawn <= 4
        results.close()  # type: ignore[attr-defined]
