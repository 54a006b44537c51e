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

from ostraca.loaders import CorpusSource, TaskSource, TokenStream
from ostraca.loaders.order import EpochOrder
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
    rows = np.ones(count, dtype=np.int64)
    order = EpochOrder(rows, seed=seed, epoch=epoch, window_blocks=window, strata=strata)
    blocks = np.concatenate([each.blocks for each in order.windows_from(0)])
    assert sorted(blocks.tolist()) == list(range(count))
    ends = np.cumsum(strata)
    owner = np.searchsorted(ends, blocks, side="right")
    for number, size in enumerate(strata):
        had = np.cumsum(owner == number)
        # Block r stands where (r + 1/2) / n of the epoch has gone, whatever the others do.
        share = np.arange(1, count + 1) * size / count
        assert np.abs(had - share).max() <= 1 + 0.5 * len(strata)


def test_one_stratum_has_the_order_of_before() -> None:
    rows = np.full(30, 5, dtype=np.int64)
    plain = EpochOrder(rows, seed=3, epoch=2, window_blocks=4)
    single = EpochOrder(rows, seed=3, epoch=2, window_blocks=4, strata=[30])
    for one, other in zip(plain.windows_from(0), single.windows_from(0), strict=True):
        assert one.blocks.tolist() == other.blocks.tolist()
        assert one.rows.tolist() == other.rows.tolist()


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


def rows_of(source: CorpusSource) -> list[tuple[int, ...]]:
    return [
        tuple(rows.tokens[rows.offsets[row] : rows.offsets[row + 1]].tolist())
        for rows in source.rows_from(0)
        for row in rows.order
    ]


def test_an_epoch_has_every_row_of_every_dataset_once(mixture: Path) -> None:
    source = CorpusSource(mixture, epochs=1, seed=4, window_blocks=3)
    assert source.datasets == ("cycle", "sums", "words")
    paths = sorted(mixture.rglob("train-*.parquet"))
    stored = [tuple(row) for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]
    found = rows_of(source)
    assert Counter(found) == Counter(stored)
    assert found != stored
    assert len(found) == source.rows
    vocabulary = json.loads((mixture / "tokenizer.json").read_text())["model"]["vocab"]
    assert source.vocab_size == len(vocabulary) > max(map(max, stored))


def test_every_part_of_an_epoch_has_the_mixture(mixture: Path) -> None:
    source = CorpusSource(mixture, epochs=1, seed=4, window_blocks=4)
    vocabulary = json.loads((mixture / "tokenizer.json").read_text())["model"]["vocab"]
    names = {token: name for name, token in vocabulary.items()}
    of_mano = [names[row[0]].startswith("<mano:") for row in rows_of(source)]
    share = sum(of_mano) / len(of_mano)
    for part in np.array_split(np.array(of_mano), 6):
        assert abs(part.mean() - share) < 0.12


def test_resume_is_exact_at_every_step(mixture: Path) -> None:
    def new() -> TokenStream:
        source = CorpusSource(mixture, epochs=1, seed=4, window_blocks=3)
        return TokenStream(source, batch_size=8, length=256)

    stream, states, batches = new(), [], []
    for batch in stream:
        batches.append(batch)
        states.append(json.loads(json.dumps(stream.state_dict())))
    assert len(batches) > 20
    for step in range(0, len(batches) - 1, 7):
        resumed = new()
        resumed.load_state_dict(states[step])
        after = next(iter(resumed))
        assert all((after[name] == batches[step + 1][name]).all() for name in after)


def test_a_split_of_one_dataset_is_no_mixture(mixture: Path) -> None:
    source = CorpusSource(mixture, split="test", epochs=1)
    assert (source.dataset, source.task, source.config["qa"]) == ("cycle", "depo", True)
    assert len(rows_of(source)) == 30


def test_one_dataset_of_a_mixture_can_be_read_alone(mixture: Path) -> None:
    source = CorpusSource(mixture, dataset="words", epochs=1)
    renaming = source.renaming("words")
    assert renaming is not None
    made = TaskSource("depo", source.config, renaming=renaming, count=50)
    fresh = next(iter(TokenStream(made, batch_size=50, length=64, mode="padded")))
    plain = CorpusSource(mixture, dataset="words", epochs=1, shuffle=False)
    stored = next(iter(TokenStream(plain, batch_size=50, length=64, mode="padded")))
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
