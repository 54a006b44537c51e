"""Parquet, tar and tar.zst, packed or not, deduplicated or not: the same corpus, and every tool reads it."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from corpora import FORMATS, PACKS, crowded, decoded, files_below

import ostraca
from ostraca import cli
from ostraca.loaders import TokenStream, open_stream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.compare import compare
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import read_manifest, records_of
from ostraca.pipeline.export.export import export
from ostraca.pipeline.spec.formats import SUFFIXES, suffix_of

LENGTH = 24
KINDS = [(None, "off"), (None, "drop"), *zip(PACKS, ("drop", "off", "drop", "off"), strict=True)]
Corpora = dict[str, Path]  # suffix -> folder


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0] or 'single'} {kind[1]}")
def corpora(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """The same corpus in every format. Tests must not change it."""
    pack, mode = request.param
    root = tmp_path_factory.mktemp("corpora")
    found = {}
    for form, compression in FORMATS:
        suffix = suffix_of(form, compression)
        build(
            crowded(
                {"m": ("mano", {"L": 2, "value_mod": 3})},
                {"train": {"examples": 600}, "test": {"examples": 60, "form": "test"}},
                format=form,
                compression=compression,
                pack=None if pack is None else {"length": LENGTH, "mode": pack},
                dedup={"mode": mode, "key": "content"},
                shard_tokens=3_000,
            ),
            root / suffix,
            engine="local",
        )
        found[suffix] = root / suffix
    return found


def is_packed(root: Path) -> bool:
    return read_manifest(root)["spec"]["pack"] is not None


def stream(root: Path, split: str = "train", **more: Any) -> TokenStream:
    """Batches of one corpus, shuffled."""
    return open_stream(root, split=split, seed=4, window_blocks=3, batch_size=5, length=LENGTH, **more)


def same_batches(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def test_the_content_is_the_same_in_every_format(corpora: Corpora) -> None:
    manifests = [read_manifest(root) for root in corpora.values()]
    assert len({manifest["content_digest"] for manifest in manifests}) == 1
    assert len({manifest["spec_digest"] for manifest in manifests}) == len(manifests)
    rows = [decoded(root, read_manifest(root)["spec"]) for root in corpora.values()]
    assert rows[0] == rows[1] == rows[2]
    statistics = [(root / "report/statistics.json").read_bytes() for root in corpora.values()]
    assert len(set(statistics)) == 1
    for root in corpora.values():
        assert verify(root, content=True) == []
        assert reproduce(root)[1] == []


def test_streams_are_the_same_and_resume_exactly(corpora: Corpora) -> None:
    wanted = list(stream(corpora["parquet"], epochs=2))
    assert len(wanted) > 4
    for root in corpora.values():
        assert same_batches(list(stream(root, epochs=2)), wanted)
    for step in range(0, len(wanted), 2):
        begun = stream(corpora["tar"], epochs=2)
        assert same_batches(list(itertools.islice(begun, step)), wanted[:step])
        later = stream(corpora["tar.zst"], epochs=2)
        later.load_state_dict(json.loads(json.dumps(begun.state_dict())))
        assert same_batches(list(itertools.islice(later, 2)), wanted[step : step + 2])


def test_every_row_comes_once_an_epoch(corpora: Corpora) -> None:
    """Unshuffled, in the order of the index: the rows as read by other libraries."""
    root = corpora["tar.zst"]
    manifest = read_manifest(root)
    for split in ("train", "test"):
        rows = decoded(root, manifest["spec"])["m", split].values()
        mode = "packed" if is_packed(root) else "padded"
        lines = open_stream(
            root, split=split, shuffle=False, epochs=1, batch_size=1, length=LENGTH, mode=mode
        )
        found = [batch["input_ids"][0].tolist() for batch in lines]
        assert found == [row["input_ids"] + [0] * (LENGTH - len(row["input_ids"])) for row in rows]


def test_exports_are_the_same(corpora: Corpora, tmp_path: Path) -> None:
    for to in ("megatron", "mds", "jsonl"):
        made = {}
        for suffix, root in corpora.items():
            export(root, to, tmp_path / to / suffix)
            made[suffix] = files_below(tmp_path / to / suffix)
            assert made[suffix].pop("export.json")
        assert made["parquet"] == made["tar"] == made["tar.zst"]
    rows = decoded(corpora["parquet"], read_manifest(corpora["parquet"])["spec"])["m", "train"]
    with zstandard.ZstdDecompressor().stream_reader(
        next((tmp_path / "jsonl" / "tar").rglob("train.jsonl.zst")).read_bytes()
    ) as reader:
        lines = [json.loads(line) for line in reader.read().splitlines()]
    assert [line["input_ids"] for line in lines] == [row["input_ids"] for row in rows.values()]


def test_formats_differ_in_nothing_but_the_format(
    corpora: Corpora, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in ("tar", "tar.zst"):
        found = compare(corpora["parquet"], corpora[other])
        assert found.same
        assert {each.what for each in found.differences} == {"format", "compression", "files"} - (
            {"compression"} if other == "tar.zst" else set()
        )
        assert cli.main(["diff", f"path={corpora['parquet']}", f"other={corpora[other]}"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "are the same; they differ in" in said
        assert "format alone" in said or "format, files" in said or "files, format" in said


def test_inspect_shows_the_same_examples(
    corpora: Corpora, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for root in corpora.values():
        monkeypatch.chdir(root)  # long lines wrap
        assert cli.main(["inspect", "path=.", "split=train", "index=7", "show=5"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        said.append(out)
    assert said[0] == said[1] == said[2]
    assert said[0].count("\nvalid\n") == 5
    assert said[0].count("packed row from example") == 5 * is_packed(corpora["tar"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_damage_is_noticed_and_mended(corpora: Corpora, tmp_path: Path, suffix: str) -> None:
    root = shutil.copytree(corpora[suffix], tmp_path / "copy")
    before = files_below(root)
    rng = random.Random(1)
    victims = rng.sample(sorted(root.rglob(f"*.{suffix}")), 2)
    for victim in victims:
        whole = victim.read_bytes()
        place = rng.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]
        for damaged, word in (
            (flipped, "corrupt"),
            (whole[: len(whole) // 2], "truncated"),
            (b"", "truncated"),
        ):
            victim.write_bytes(damaged)
            (problem,) = verify(root)
            assert str(victim) in problem
            assert word in problem
        victim.write_bytes(whole)
    for other in SUFFIXES:
        stray = root / "m" / f"train-99999-of-00003.{other}"
        stray.write_bytes(b"")
        (problem,) = verify(root)
        assert problem == f"{stray}: is not in the manifest; remove it"
        stray.unlink()
    victims[0].unlink()
    victims[1].write_bytes(b"cut")
    manifest = read_manifest(root)
    build(manifest["spec"], root, engine="local", workers=2)
    assert files_below(root) == before
    assert read_manifest(root) == manifest
    assert verify(root, content=True) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_byte_is_ever_streamed(corpora: Corpora, tmp_path: Path, suffix: str) -> None:
    """Without `verify`: a reader gives the right tokens or one line that says where they cannot be had."""
    root = shutil.copytree(corpora[suffix], tmp_path / "copy")
    (record, *_) = [record for split, record in records_of(read_manifest(root)) if split == "test"]
    wanted = list(stream(root, "test", epochs=1))
    path = root / record["path"]
    whole = path.read_bytes()
    rng = random.Random(2)
    refused: list[str] = []
    for _ in range(25):
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :])
        try:
            assert same_batches(list(stream(root, "test", epochs=1)), wanted)
        except ostraca.OstracaError as error:
            refused.append(str(error))
    assert refused
    assert all("\n" not in said and "ostraca verify" in said for said in refused)
