"""Parts built apart and merged are the corpus of a single build, byte for byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import FORMATS, crowded, files_below
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca import cli
from ostraca.loaders import CorpusSource
from ostraca.pipeline.build import merge as merging
from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.merge import merge
from ostraca.pipeline.check.compare import compare
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus import manifest as manifests
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.corpus.progress import Silent
from ostraca.pipeline.corpus.records import records_of
from ostraca.pipeline.export.export import export
from ostraca.pipeline.spec.shards import count_examples, count_shards, plan
from ostraca.pipeline.store.local import LocalFolder
from ostraca.tasks.errors import ConfigError, OstracaError

SPEC = crowded(
    {"a": ("mano", {"L": 2}), "b": ("depo", {"N": 6, "K": 2, "M": 2})},
    {"train": {"examples": 500}, "test": {"examples": 150, "form": "test"}, "valid": {"examples": 10}},
    shard_tokens=1_500,
    row_group_tokens=500,
)
OF = 3


def small_plan(examples: list[int], sizes: list[int]) -> dict[str, Any]:
    """What `plan` looks at of a spec."""
    splits = {
        f"split{number}": {"examples": count, "shard_examples": size}
        for number, (count, size) in enumerate(zip(examples, sizes, strict=True))
    }
    cut = {name: dict(list(splits.items())[start::2]) for start, name in enumerate(("a", "b"))}
    return {
        "format": "parquet",
        "compression": "zstd",
        "datasets": {name: {"splits": own} for name, own in cut.items()},
    }


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 3_000), st.integers(1, 400)), min_size=1, max_size=5),
    st.integers(1, 40),
)
def test_parts_are_a_partition_of_the_plan(splits: list[tuple[int, int]], of: int) -> None:
    """Each shard is in one part, those of a part follow each other, and parts differ by a shard at most."""
    spec = small_plan(*map(list, zip(*splits, strict=True)))  # type: ignore[arg-type]
    whole = list(plan(spec))
    assert count_shards(spec) == len(whole)
    assert count_examples(spec) == sum(shard.count for shard in whole) == sum(count for count, _ in splits)
    parts = [list(plan(spec, (number, of))) for number in range(1, of + 1)]
    for number, part in enumerate(parts, 1):
        assert count_shards(spec, (number, of)) == len(part)
        assert count_examples(spec, (number, of)) == sum(shard.count for shard in part)
    assert sorted(s.path for part in parts for s in part) == sorted(s.path for s in whole)
    for dataset, entry in spec["datasets"].items():
        for split in entry["splits"]:
            own = [[s.number for s in part if (s.dataset, s.split) == (dataset, split)] for part in parts]
            joined = [number for numbers in own for number in numbers]
            assert joined == list(range(len(joined)))
            lengths = list(map(len, own))
            assert max(lengths) - min(lengths) <= 1


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SPEC in one build."""
    root = tmp_path_factory.mktemp("single") / "c"
    build(SPEC, root, engine="local")
    return root


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """SPEC in parts. Tests must not change them."""
    root = tmp_path_factory.mktemp("parts")
    for number in range(1, OF + 1):
        build(SPEC, root / str(number), engine="local", workers=number, part=(number, OF))
    return [root / str(number) for number in range(1, OF + 1)]


@pytest.fixture
def copies(parts: list[Path], tmp_path: Path) -> list[Path]:
    return [Path(shutil.copytree(part, tmp_path / f"part{part.name}")) for part in parts]


def check_same(root: Path, single: Path) -> None:
    made, wanted = read_manifest(root), read_manifest(single)
    assert {**made, "created": 0} == {**wanted, "created": 0}
    assert files_below(root) == files_below(single)
    assert not (root / ".ostraca-build").exists()


def test_merged_parts_are_a_single_build(parts: list[Path], single: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    class Told(Silent):
        def advance(self, examples: int, tokens: int = 0) -> None:
            told.append((examples, tokens))

    manifest = merge(parts, tmp_path / "c", progress=Told)
    assert manifest == read_manifest(tmp_path / "c")
    check_same(tmp_path / "c", single)
    shards = [record for _, record in records_of(manifest)]
    assert sorted(told) == sorted((record["rows"], record["tokens"]) for record in shards)
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []
    backwards = merge(parts[::-1], tmp_path / "backwards")
    assert {**backwards, "created": 0} == {**manifest, "created": 0}
    assert files_below(tmp_path / "backwards") == files_below(single)
    assert build(SPEC, tmp_path / "c", engine="local") == manifest  # whole: left alone


def test_parts_of_other_engines_are_the_same_parts(
    parts: list[Path], single: Path, tmp_path: Path, ray_session: Any
) -> None:
    made = build(SPEC, tmp_path / "2", engine="ray", workers=2, part=(2, OF))
    assert {**made, "created": 0} == {**read_manifest(parts[1], parts=True), "created": 0}
    assert files_below(tmp_path / "2") == files_below(parts[1])
    merge([parts[0], tmp_path / "2", parts[2]], tmp_path / "c")
    check_same(tmp_path / "c", single)


@pytest.mark.parametrize(("form", "compression"), FORMATS)
@pytest.mark.parametrize("pack", [None, {"length": 64, "mode": "best_fit"}])
def test_all_formats_are_merged(
    tmp_path: Path, form: str, compression: str, pack: dict[str, Any] | None
) -> None:
    spec = {**SPEC, "format": form, "compression": compression, "pack": pack}
    build(spec, tmp_path / "single", engine="local")
    for number in (1, 2):
        build(spec, tmp_path / str(number), engine="local", part=(number, 2))
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "c")
    check_same(tmp_path / "c", tmp_path / "single")


def test_capo_with_its_tokenizer_is_merged(tmp_path: Path) -> None:
    """The files beside the shards are made again from the parts' own copies."""
    spec = crowded(
        {"c": ("capo", {"num_people": 20, "exposures": 4})}, {"train": {"examples": 80}}, shard_tokens=2_000
    )
    build(spec, tmp_path / "single", engine="local")
    for number in (1, 2):
        build(spec, tmp_path / str(number), engine="local", part=(number, 2))
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "c")
    check_same(tmp_path / "c", tmp_path / "single")


def test_without_links_the_bytes_are_copied(
    parts: list[Path], single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    merge(parts, tmp_path / "c")
    check_same(tmp_path / "c", single)
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "c").rglob("*.parquet"))


def test_a_part_is_a_corpus_of_its_own_to_verify_and_reproduce(copies: list[Path]) -> None:
    for part in copies:
        assert verify(part, content=True) == []
        made, problems = reproduce(part)
        assert (made, problems) == (len(list(part.rglob("*.parquet"))), [])
    victim = next(copies[1].rglob("*.parquet"))
    victim.unlink()
    assert [str(victim) in problem for problem in verify(copies[1])] == [True]
    build(SPEC, copies[1], engine="local", part=(2, OF))
    assert verify(copies[1], content=True) == []


def test_a_part_where_a_whole_corpus_is_wanted_gets_one_line(parts: list[Path], tmp_path: Path) -> None:
    root = parts[1]
    uses: list[Callable[[], Any]] = [
        lambda: CorpusSource(root, datasets="a"),
        lambda: export(root, "jsonl", tmp_path / "out"),
        lambda: compare(root, root),
        lambda: build(
            {**SPEC, "dedup": {"mode": "drop", "against": [str(root)]}}, tmp_path / "against", engine="local"
        ),
    ]
    for use in uses:
        with pytest.raises(OstracaError, match=r"is part 2 of 3 of a corpus; join.*ostraca merge") as caught:
            use()
        assert "\n" not in str(caught.value)
    with pytest.raises(OstracaError, match="holds part 2/3 of this corpus, not part 1/1"):
        build(SPEC, root, engine="local")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "against").exists()


def test_commands_with_their_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only shard of test is in the last part; the report is written where all is together."""
    small = ["examples=5000", "splits.test.examples=50", "shard_tokens=12000", "row_group_tokens=4000"]
    words = ["build", "dataset=mano", "dataset.L=3", "engine=local", *small]
    folders = [f"{tmp_path}/part{number}" for number in (1, 2, 3)]
    for number, folder in enumerate(folders, 1):
        assert cli.main([*words, f"out={folder}", f"part={number}/3"]) == 0
        assert ("/test  " in capsys.readouterr().out) == (number == 3)
        assert cli.main(["verify", f"path={folder}", "content=true"]) == 0
        assert cli.main(["reproduce", f"path={folder}"]) == 0
        assert not (tmp_path / f"part{number}/report.html").exists()
    assert cli.main(["merge", f"parts=[{','.join(folders)}]", f"out={tmp_path}/all"]) == 0
    assert cli.main([*words, f"out={tmp_path}/single"]) == 0
    assert files_below(tmp_path / "all") == files_below(tmp_path / "single")
    assert (tmp_path / "all/report.html").exists()
    assert compare(tmp_path / "all", tmp_path / "single").differences == ()


def test_inspect_of_a_part_gets_one_line(parts: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", f"path={parts[0]}"]) == 2
    assert "is part 1 of 3 of a corpus; join the parts first: ostraca merge" in capsys.readouterr().err


def test_parts_that_do_not_make_a_whole_get_one_line(
    parts: list[Path], single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build({**SPEC, "seed": 1}, tmp_path / "seed", engine="local", part=(2, OF))
    build(SPEC, tmp_path / "half", engine="local", part=(2, 2))
    twin = shutil.copytree(parts[0], tmp_path / "twin")
    one, two, three = parts
    for given_parts, words in (
        ([], "parts is empty"),
        ([one, two], "part 3/3 is missing (1 in all); build it with part=3/3"),
        ([two], "part 1/3 is missing (2 in all)"),
        ([one, two, three, one], "are both part 1; give each once"),
        ([one, twin, two, three], "are both part 1; give each once"),
        ([one, tmp_path / "seed", three], "are parts of different corpora: their spec_digest is"),
        ([one, tmp_path / "half", three], "is one of 3 parts"),
        ([one, single, three], "is a complete corpus, not a part; leave it out"),
        ([one, tmp_path / "nothing", three], "nothing: no such folder"),
        ([one, two, tmp_path], "holds no corpus"),
    ):
        shown = ",".join(map(str, given_parts))
        assert cli.main(["merge", f"parts=[{shown}]", f"out={tmp_path}/c"]) == 2, words
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert words in err
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "manifest"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_damaged_part_is_refused_and_mended(
    copies: list[Path],
    single: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    linked: bool,
) -> None:
    if not linked:
        monkeypatch.setattr(os, "link", lambda *arguments: os.stat("/nonexistent"))
    victim = sorted(copies[1].rglob("*.parquet"))[1]
    data = bytearray(victim.read_bytes())
    if how == "flipped":
        data[100] ^= 1
        victim.write_bytes(data)
    elif how == "cut":
        victim.write_bytes(data[:-1])
    elif how == "gone":
        victim.unlink()
    else:
        text = (copies[1] / "manifest.json").read_text()
        (copies[1] / "manifest.json").write_text(text.replace('"first_index": 1', '"first_index": 2', 1))
    with pytest.raises(OstracaError, match=f"run `ostraca verify path={copies[1]}`") as caught:
        merge(copies, tmp_path / "c")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c" / "manifest.json").exists()
    if how == "manifest":
        assert not (tmp_path / "c").exists()
        return
    victim.unlink(missing_ok=True)
    build(SPEC, copies[1], engine="local", part=(2, OF))
    merge(copies, tmp_path / "c")
    check_same(tmp_path / "c", single)


def test_a_folder_that_is_not_empty_is_left_as_it_is(parts: list[Path], single: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    build({**SPEC, "seed": 3}, tmp_path / "other", engine="local", part=(1, OF))
    begun = tmp_path / "begun"
    (begun / ".ostraca-build").mkdir(parents=True)
    (begun / ".ostraca-build" / "merge.json").write_text('{"spec_digest": "0"}')
    for root in (tmp_path / "mine", tmp_path / "other", begun, parts[0]):
        before = sorted(root.rglob("*"))
        with pytest.raises(OstracaError, match=r"is not empty.* choose another out="):
            merge(parts, root)
        assert sorted(root.rglob("*")) == before
    with pytest.raises(OstracaError, match="is not empty"):
        merge(parts, single)
    check = {path: path.stat().st_mtime_ns for path in single.rglob("*")}
    assert check == {path: path.stat().st_mtime_ns for path in single.rglob("*")}


class Stopped(BaseException):
    """What a kill is to a test."""


@pytest.mark.parametrize("at", ["shard", "half a shard", "tokenizer", "manifest", "clearing"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_killed_merge_goes_on(
    parts: list[Path],
    single: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
    linked: bool,
) -> None:
    root = tmp_path / "c"
    small = crowded({"a": ("mano", {"L": 2})}, {"train": {"examples": 200}}, shard_tokens=700)

    def stop(*arguments: Any, **options: Any) -> Any:
        raise Stopped

    if not linked:
        monkeypatch.setattr(os, "link", lambda *arguments: os.stat("/nonexistent"))
    seen = 0

    class StopsAfterThree(Silent):
        def advance(self, examples: int, tokens: int = 0) -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                raise Stopped

    with monkeypatch.context() as patch:
        if at == "half a shard":
            patch.setattr(os, "link", stop)
        elif at == "tokenizer":
            patch.setattr(merging, "tokenizer_files", stop)
        elif at == "manifest":
            patch.setattr(manifests, "write_manifest", stop)
        elif at == "clearing":
            patch.setattr(LocalFolder, "remove_all", stop)
        with pytest.raises(Stopped):
            merge(parts, root, progress=StopsAfterThree if at == "shard" else Silent)
    assert (root / "manifest.json").exists() == (at == "clearing")
    if at != "clearing":
        with pytest.raises(OstracaError, match="was begun and not finished"):
            read_manifest(root)
    build({**small, "seed": 7}, tmp_path / "other", engine="local", part=(1, 2))
    build({**small, "seed": 7}, tmp_path / "another", engine="local", part=(2, 2))
    with pytest.raises(OstracaError, match="is not empty"):  # another corpus does not take it over
        merge([tmp_path / "other", tmp_path / "another"], root)
    merge(parts, root)
    check_same(root, single)


def test_part_and_parts_are_checked_at_the_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_words = ["build", "dataset=mano", "examples=500", f"out={tmp_path}/c", "engine=local"]
    for words, said in (
        ([*build_words, "part=0/3"], "part='0/3' must be number/of"),
        ([*build_words, "part=4/3"], "must be number/of"),
        ([*build_words, "part=2"], "must be number/of"),
        ([*build_words, "part=x/y"], "must be number/of"),
        (
            [*build_words, "part=1/2", "dedup.mode=drop"],
            "build the whole corpus at once, or set dedup.mode=disjoint or off",
        ),
        ([*build_words, "part=1/999999"], "no shard falls into it; use fewer parts"),
        (["merge", "parts=x", f"out={tmp_path}/c"], "must be a list of folders"),
        (["merge", "parts=[5]", f"out={tmp_path}/c"], "must be a list of folders"),
    ):
        assert cli.main(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err
        assert not (tmp_path / "c").exists()
    for part in ((3, 2), (0, 2), (-1, 2), (1, 0), (0, 0), (True, 2), (1.0, 2), "1/2", (1, 2, 3), None):
        with pytest.raises(ConfigError, match="part=") as caught:
            build(SPEC, tmp_path / "c", engine="local", part=part)
        assert "\n" not in str(caught.value)
