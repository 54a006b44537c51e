"""A manifest is enough: its stream is the shards', batch by batch, and states are interchangeable."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from streams import assert_same, joined, resume_after_every_step, take

from ostraca.loaders import CorpusSource, TokenStream, open_stream, resume_stream
from ostraca.pipeline.build.build import build
from ostraca.tasks.errors import ConfigError, CorruptWarning, OstracaError, OtherVersionWarning

TASKS: dict[str, Any] = {
    "depo": {"N": 12, "K": 3},
    "brevo": {"N": 10},
    "mano": {"L": 4},
    "lano": {},
    "capo": {"num_people": 300, "exposures": 2},
}


def spec(**more: Any) -> dict[str, Any]:
    splits = {"train": {"examples": 300}, "test": {"examples": 40}}
    datasets = {
        name: {"task": name, "config": config, "splits": {"train": {}} if name == "capo" else splits}
        for name, config in TASKS.items()
    }
    sizes = {"shard_tokens": 12_000, "row_group_tokens": 2_500}
    return {"seed": 3, "vocabulary": "shared", **sizes, "datasets": datasets, **more}


SPECS: dict[str, dict[str, Any]] = {
    "five tasks": spec(),
    "packed": spec(pack={"length": 2048, "mode": "best_fit"}),
    "redrawn": spec(dedup={"mode": "redraw", "key": "content"}, format="webdataset"),
    "dropped": spec(dedup={"mode": "drop"}, format="webdataset", compression="zstd"),
}


@pytest.fixture(scope="module", params=SPECS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus, and a folder with its manifest alone."""
    given = SPECS[request.param]
    for name in ("redrawn", "dropped"):
        if request.param == name:  # a small space, with many duplicates
            given = {**given, "datasets": {"mano": {**given["datasets"]["mano"], "config": {"L": 2}}}}
            if name == "redrawn":
                given["datasets"]["mano"]["splits"] = {"train": {"examples": 300}}
    root = tmp_path_factory.mktemp("replayed") / "corpus"
    build(given, root, engine="local")
    alone = root.parent / "alone"
    alone.mkdir()
    shutil.copy(root / "manifest.json", alone)
    if (root / "manifest").exists():
        shutil.copytree(root / "manifest", alone / "manifest")
    return root, alone


def stream(where: Path, **more: Any) -> TokenStream:
    length = (
        2048
        if json.loads((where if where.is_file() else where / "manifest.json").read_text())["spec"]["pack"]
        else 64
    )
    return open_stream(where, **{"batch_size": 12, "length": length, "seed": 1, **more})


def test_batches_from_a_manifest_alone_are_those_of_the_shards(both: tuple[Path, Path]) -> None:
    root, alone = both
    wanted = list(stream(root, source="shards", epochs=1))
    assert len(wanted) > 1
    assert_same(list(stream(root, source="replay", epochs=1)), wanted)
    assert_same(list(stream(alone, epochs=1)), wanted)
    ranks = [list(stream(alone, epochs=1, rank=rank, world_size=3)) for rank in range(3)]
    assert_same([joined(batches) for batches in zip(*ranks, strict=True)], wanted)
    with pytest.raises(OstracaError, match="no such file"):
        take(stream(alone, source="shards"), 1)


def test_states_are_interchangeable(both: tuple[Path, Path]) -> None:
    root, alone = both
    turns = itertools.cycle([(root, "shards"), (alone, "auto"), (root, "replay")])

    def make(**rank: Any) -> TokenStream:
        where, source = next(turns)
        return stream(where, source=source, **rank)

    resume_after_every_step(make, steps=6)


def test_what_is_there_is_read_and_the_rest_is_made(both: tuple[Path, Path], tmp_path: Path) -> None:
    root, _ = both
    wanted = list(stream(root, epochs=1))
    part = Path(shutil.copytree(root, tmp_path / "part"))
    shards = [
        record["path"]
        for record in json.loads((root / "manifest.json").read_text())["splits"]["train"]["shards"]
    ]
    for path in shards[::2]:
        (part / path).unlink()
    assert_same(list(stream(part, epochs=1)), wanted)
    data = bytearray((root / shards[0]).read_bytes())
    data[len(data) // 2] ^= 4
    damaged = Path(shutil.copytree(root, tmp_path / "damaged"))
    (damaged / shards[0]).write_bytes(data)
    with pytest.raises(OstracaError, match="ostraca verify"):
        list(stream(damaged, epochs=1))
    with pytest.warns(CorruptWarning, match="made again: "):
        found = list(stream(damaged, epochs=1, on_corrupt="replay"))
    assert_same(found, wanted)


def test_a_manifest_under_another_name(both: tuple[Path, Path], tmp_path: Path) -> None:
    root, _ = both
    shutil.copy(root / "manifest.json", tmp_path / "cited.json")
    one = stream(tmp_path / "cited.json")
    assert_same(take(one, 1), take(stream(root), 1))
    again = resume_stream(json.loads(json.dumps(one.state_dict())))
    assert again.step == 1


def test_conditions_on_what_is_made_again(tmp_path: Path) -> None:
    given = {"datasets": {"m": {"task": "mano", "config": {"L": 5}, "splits": {"train": {"examples": 400}}}}}
    build(given, tmp_path / "c", engine="local")
    shards, made = (
        open_stream(tmp_path / "c", where="length == 3", batch_size=2, length=40, source=source, epochs=1)
        for source in ("shards", "replay")
    )
    assert shards.state_dict()["identity"] == made.state_dict()["identity"]
    assert_same(list(made), list(shards))


def test_what_cannot_be_replayed(corpus: Path, corpus_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from ostraca.tasks import depo

    with pytest.raises(ConfigError, match=r"source='replays' \(did you mean 'replay'"):
        CorpusSource(corpus, source="replays")
    newer = dataclasses.replace(depo.TASK, version=depo.TASK.version + 1)
    monkeypatch.setattr(depo, "TASK", newer)
    with (
        pytest.warns(OtherVersionWarning),
        pytest.raises(OstracaError, match="needs version"),
    ):
        CorpusSource(corpus, source="replay")
    for path in corpus_copy.rglob("*.parquet"):
        path.unlink()
    with pytest.warns(OtherVersionWarning), pytest.raises(OstracaError, match="needs version") as caught:
        take(open_stream(corpus_copy, batch_size=2, length=64), 1)
    assert "\n" not in str(caught.value)
