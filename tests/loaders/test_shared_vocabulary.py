"""A corpus with shared ids is one stream: every row once an epoch, its datasets evenly interleaved."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import resume_after_every_step

from ostraca.loaders import CorpusSource, TaskSource, TokenStream
from ostraca.loaders.order import EpochOrder, OrderSettings, Units
from ostraca.loaders.source import Blocks
from ostraca.pipeline.build.build import build
from ostraca.tasks.errors import ConfigError

STRATA = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(strata=STRATA, seed=st.integers(0, 2**62), epoch=st.integers(0, 9), window=st.integers(1, 9))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_blocks_are_permuted_and_evenly_interleaved(
    strata: list[int], seed: int, epoch: int, window: int
) -> None:
    """After any number of blocks, every dataset has had its share to within one block."""
    count = sum(strata)
    ones = np.ones(count, dtype=np.int64)
    names = tuple(map(str, range(len(strata))))
    blocks = Blocks(rows=ones, tokens=ones, strata=tuple(strata), names=names)
    how = OrderSettings(mode="padded", length=1, seed=seed, shuffle=True, window_blocks=window)
    order = EpochOrder(Units(blocks, "padded", 1), how, epoch)
    visited = np.concatenate([order.window(number).blocks for number in range(len(order))])
    assert sorted(visited.tolist()) == list(range(count))
    ends = np.cumsum(strata)
    owner = np.searchsorted(ends, visited, side="right")
    for number, size in enumerate(strata):
        had = np.cumsum(owner == number)
        # Block r stands where (r + 1/2) / n of the epoch has gone, whatever the others do.
        share = np.arange(1, count + 1) * size / count
        assert np.abs(had - share).max() <= 1 + 0.5 * len(strata)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depo, Mano and a second Depo in one vocabulary."""
    root = tmp_path_factory.mktemp("mixture") / "c"
    build(spec("shared"), root, engine="local")
    return root


def spec(vocabulary: str) -> dict[str, Any]:
    def dataset(task: str, config: dict[str, Any], tokens: int) -> dict[str, Any]:
        return {"task": task, "config": config, "splits": {"train": {"tokens": tokens}}}

    words = {"N": 9, "K": 3, "mini_vocab": 3, "min_tlen": 3, "max_tlen": 4}
    datasets = {
        "cycle": dataset("depo", {"N": 20, "K": 4}, 30_000),
        "sums": dataset("mano", {"L": 6}, 60_000),
        "words": dataset("depo", words, 15_000),
    }
    datasets["cycle"]["splits"]["test"] = {"examples": 30, "form": "test"}
    return {
        "name": "mix",
        "vocabulary": vocabulary,
        "shard_tokens": 10_000,
        "row_group_tokens": 1_000,
        "datasets": datasets,
    }


def rows_of(source: CorpusSource, **more: Any) -> list[tuple[int, ...]]:
    """The rows of an epoch, in the order of one lane."""
    stream = TokenStream(
        source, **{"batch_size": 1, "length": 512, "mode": "padded", "epochs": 1, "seed": 4, **more}
    )
    return [tuple(b["input_ids"][0][b["attention_mask"][0].astype(bool)].tolist()) for b in stream]


def test_an_epoch_has_every_row_of_every_dataset_once(mixture: Path) -> None:
    source = CorpusSource(mixture)
    assert source.datasets == ("cycle", "sums", "words")
    paths = sorted(mixture.rglob("train-*.parquet"))
    stored = [tuple(row) for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]
    found = rows_of(source)
    assert Counter(found) == Counter(stored)
    assert found != stored
    assert len(found) == source.rows
    vocabulary = json.loads((mixture / "tokenizer.json").read_text())["model"]["vocab"]
    assert source.vocab_size == len(vocabulary) > max(map(max, stored))


@pytest.mark.parametrize("lanes", [1, 6])
def test_every_part_of_an_epoch_has_the_mixture(mixture: Path, lanes: int) -> None:
    vocabulary = json.loads((mixture / "tokenizer.json").read_text())["model"]["vocab"]
    names = {token: name for name, token in vocabulary.items()}
    stream = TokenStream(
        CorpusSource(mixture),
        batch_size=6,
        length=200,
        mode="padded",
        epochs=1,
        lanes=lanes,
        window_blocks=4,
        extras=("dataset",),
    )
    datasets = []
    for batch in stream:
        of_mano = [names[token].startswith("<mano:") for token in batch["input_ids"][:, 0].tolist()]
        assert of_mano == [name == "sums" for name in batch["dataset"]]
        datasets += batch["dataset"]
    counts = Counter(datasets)
    assert set(counts) == {"cycle", "sums", "words"}
    for part in np.array_split(np.array(datasets), 6):
        assert abs((part == "sums").mean() - counts["sums"] / len(datasets)) < 0.12


def test_resume_is_exact_at_every_step(mixture: Path) -> None:
    resume_after_every_step(
        lambda **rank: TokenStream(CorpusSource(mixture), batch_size=12, length=64, seed=4, **rank)
    )


def test_a_split_of_one_dataset_is_no_mixture(mixture: Path) -> None:
    source = CorpusSource(mixture, split="test")
    assert (source.dataset, source.task, source.config["qa"]) == ("cycle", "depo", True)
    assert len(rows_of(source)) == 30


def test_one_dataset_of_a_mixture_can_be_read_alone(mixture: Path) -> None:
    source = CorpusSource(mixture, datasets="words")
    renaming = source.renaming("words")
    assert renaming is not None
    made = TaskSource("depo", source.config, renaming=renaming, count=50)
    fresh, stored = (
        next(iter(TokenStream(one, batch_size=50, length=64, mode="padded", shuffle=False)))
        for one in (made, source)
    )
    assert (fresh["input_ids"] == stored["input_ids"]).all()
    assert made.vocab_size <= source.vocab_size


def test_what_cannot_be_mixed_is_refused(mixture: Path, tmp_path: Path) -> None:
    source = CorpusSource(mixture)
    for name in ("dataset", "task", "config"):
        with pytest.raises(ConfigError, match="mixes cycle, sums, words"):
            getattr(source, name)
    build(spec("published"), tmp_path / "p", engine="local")
    with pytest.raises(ConfigError, match=r"say which dataset; it has cycle, sums, words.*vocabulary=shared"):
        CorpusSource(tmp_path / "p")
    with pytest.raises(ConfigError, match=r"no split 'eval'.*cycle, sums, words has test, train"):
        CorpusSource(mixture, split="eval")
