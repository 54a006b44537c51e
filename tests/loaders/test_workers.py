"""Worker processes of torch's DataLoader: the batches of none, in order, however they are started."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import CONFIG, take

from ostraca.loaders import CorpusSource, Mixture, TaskSource, TokenStream, open_stream

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # 3 workers on 2 cores
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # what torchdata does with torch 2.13
]
STARTS = ("fork", "spawn", "forkserver")


def stream(corpus: Path, **more: Any) -> TokenStream:
    return open_stream(corpus, **{"batch_size": 4, "length": 64, "epochs": 1, "threads": 1, **more})


def assert_same_tensors(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            assert torch.equal(values, torch.as_tensor(other[name]))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_give_the_batches_of_none(corpus: Path, start: str, workers: int) -> None:
    if start != "fork" and workers != 2:
        return  # each takes seconds to import torch
    wanted = list(stream(corpus))
    loader = DataLoader(
        stream(corpus).dataset(), batch_size=None, num_workers=workers, multiprocessing_context=start
    )
    found = list(loader)
    assert_same_tensors(found, wanted)
    firsts = [batch["input_ids"].numpy().tobytes() for batch in found]
    assert len(set(firsts)) == len(firsts), "a batch came twice"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_passes_through_a_data_loader(corpus: Path, workers: int, persistent: bool) -> None:
    """Each loop is the next epoch; `set_epoch` goes back."""
    if persistent and not workers:
        return
    wanted = list(stream(corpus, epochs=3))
    dataset = stream(corpus).dataset()
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=persistent)
    assert len(loader) * 3 == len(wanted)
    assert_same_tensors([batch for _ in range(3) for batch in loader], wanted)
    dataset.set_epoch(1)
    assert_same_tensors(list(loader), wanted[len(loader) : 2 * len(loader)])


def test_a_rank_s_workers(corpus: Path) -> None:
    wanted = list(stream(corpus))
    ranks = [
        list(DataLoader(stream(corpus, rank=rank, world_size=2).dataset(), batch_size=None, num_workers=2))
        for rank in range(2)
    ]
    found = [
        {name: torch.cat([batch[name] for batch in pair]) for name in pair[0]}
        for pair in zip(*ranks, strict=True)
    ]
    assert_same_tensors(found, wanted)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_stateful_data_loader_goes_on_after_every_step(corpus: Path, workers: int) -> None:
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        dataset = stream(corpus, batch_size=24).dataset()
        return torchdata.StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

    wanted = list(stream(corpus, batch_size=24))
    running = loader()
    iterator = iter(running)
    for step in range(0, len(wanted), 5 if workers else 1):
        resumed = loader()
        resumed.load_state_dict(pickle.loads(pickle.dumps(running.state_dict())))
        assert_same_tensors(take(resumed, 2), wanted[step : step + 2])
        for _ in range(5 if workers else 1):
            next(iterator, None)


def test_a_pickled_stream_stands_where_it_stood(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No open file goes with it, relative paths survive another working folder, and it is small."""
    monkeypatch.chdir(corpus.parent)
    sources = {
        "corpus": CorpusSource(corpus.name),
        "task": TaskSource("depo", CONFIG),
    }
    sources["mixture"] = Mixture({name: (source, 1) for name, source in sources.items()})  # type: ignore[assignment]
    for source in sources.values():
        one = TokenStream(source, batch_size=4, length=64)
        take(one, 3)
        text = pickle.dumps(one)
        assert len(text) < 100_000
        wanted = take(one, 2)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            found = take(pickle.loads(text), 2)
        for made, other in zip(found, wanted, strict=True):
            assert all(np.array_equal(made[name], other[name]) for name in other)


def test_rows_are_the_lines_of_all_ranks(corpus: Path) -> None:
    """For what makes batches and shares them out by itself."""
    wanted = list(stream(corpus))
    for rank in range(2):
        rows = stream(corpus, rank=rank, world_size=2).rows()
        found = list(DataLoader(rows, batch_size=4))
        assert_same_tensors(found, wanted)
    with pytest.raises(Exception, match="single lines come from one worker at most"):
        list(DataLoader(stream(corpus).rows(), batch_size=4, num_workers=2))
