"""Promise 7, in one process: batches are a pure function of the source; resume is exact anywhere."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.loaders import CorpusSource, Source, TaskSource, TokenStream
from ostraca.loaders.order import EpochOrder
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.tasks.core.batch import LABEL_IGNORED
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.tasks.examples import generate_example

CONFIG = {"N": 20, "K": 4, "M": 5}
Batch = dict[str, np.ndarray]


def rows_in_order(source: Source, count: int) -> list[tuple[list[int], list[int]]]:
    """(tokens, mask) of the first rows of a source, read plainly."""
    found: list[tuple[list[int], list[int]]] = []
    for rows in source.rows_from(0):
        for row in rows.order:
            tokens = rows.tokens[rows.offsets[row] : rows.offsets[row + 1]]
            mask = rows.mask[rows.mask_offsets[row] : rows.mask_offsets[row + 1]]
            found.append((tokens.tolist(), mask.tolist()))
            if len(found) == count:
                return found
    return found


def packed_by_hand(
    rows: list[tuple[list[int], list[int]]], length: int
) -> list[tuple[list[int], list[int], list[int]]]:
    """Lines of (input_ids, labels, position_ids), one token at a time."""
    lines: list[tuple[list[int], list[int], list[int]]] = []
    line: tuple[list[int], list[int], list[int]] = ([], [], [])
    for tokens, mask in rows:
        for place, (token, learned) in enumerate(zip(tokens, mask, strict=True)):
            if len(line[0]) == length:
                break
            line[0].append(token)
            line[1].append(token if learned else LABEL_IGNORED)
            line[2].append(place)
        if len(line[0]) == length:
            lines.append(line)
            line = ([], [], [])
    return lines


def make_sources(corpus: Path) -> dict[str, Callable[[], Source]]:
    return {
        "task": lambda: TaskSource("depo", CONFIG, seed=3),
        "finite task": lambda: TaskSource("depo", CONFIG, seed=3, start=7, count=300),
        "corpus": lambda: CorpusSource(corpus, seed=1, window_blocks=3),
        "one epoch": lambda: CorpusSource(corpus, split="test", seed=1, epochs=1, window_blocks=2),
        "unshuffled": lambda: CorpusSource(corpus, shuffle=False, epochs=2),
    }


SOURCES = ["task", "finite task", "corpus", "one epoch", "unshuffled"]


def take(stream: TokenStream, count: int) -> list[Batch]:
    return list(itertools.islice(stream, count))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("batch_size", "length"), [(3, 64), (2, 700), (1, 7)])
def test_left_aligned_packing_is_as_by_hand(corpus: Path, name: str, batch_size: int, length: int) -> None:
    source = make_sources(corpus)[name]
    batches = take(TokenStream(source(), batch_size=batch_size, length=length), 12)
    wanted = packed_by_hand(rows_in_order(source(), 2000), length)
    full = [b for b in batches if len(b["input_ids"]) == batch_size and b["labels"].shape[1] == length]
    lines = [
        tuple(batch[key][line].tolist() for key in ("input_ids", "labels", "position_ids"))
        for batch in full
        for line in range(batch_size)
    ]
    checked = min(len(lines), len(wanted))
    assert checked >= min(12 * batch_size, len(wanted)) - batch_size
    assert lines[:checked] == [tuple(line) for line in wanted[:checked]]
    for batch in batches:
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_the_end_of_a_finite_source_is_filled_up(corpus: Path) -> None:
    source = TaskSource("depo", CONFIG, count=50)
    stream = TokenStream(source, batch_size=4, length=200, pad_id=77)
    batches = list(stream)
    ids = np.concatenate([b["input_ids"].ravel() for b in batches])
    labels = np.concatenate([b["labels"].ravel() for b in batches])
    assert stream.examples_seen == 50
    assert len(batches[-1]["input_ids"]) <= 4
    rows = rows_in_order(TaskSource("depo", CONFIG, count=50), 50)
    last = rows[-1][0]
    end = np.flatnonzero(ids != 77)[-1] + 1
    kept = min(len(last), int(np.argmin(ids[:end][::-1] != 0)) + 1)  # back to the last <bos>
    assert ids[end - kept : end].tolist() == last[:kept]
    assert (ids[end:] == 77).all()
    assert (labels[end:] == LABEL_IGNORED).all()


@pytest.mark.parametrize("length", [None, 300, 30])
def test_padded(corpus: Path, length: int | None) -> None:
    """One example a line; attention_mask 1 on its tokens, padding and no labels after."""
    stream = TokenStream(
        CorpusSource(corpus, split="test", seed=1, epochs=1),
        batch_size=7,
        length=length,
        mode="padded",
        pad_id=5,
    )
    rows = rows_in_order(CorpusSource(corpus, split="test", seed=1, epochs=1), 100)
    seen = 0
    for batch in stream:
        width = batch["input_ids"].shape[1]
        longest = max(len(tokens) for tokens, _ in rows[seen : seen + 7])
        assert width == (length or longest)
        for line in range(len(batch["input_ids"])):
            tokens, mask = rows[seen]
            kept = min(len(tokens), width)
            labels = [t if m else LABEL_IGNORED for t, m in zip(tokens, mask, strict=True)]
            assert batch["input_ids"][line].tolist() == tokens[:kept] + [5] * (width - kept)
            assert batch["labels"][line].tolist() == labels[:kept] + [LABEL_IGNORED] * (width - kept)
            assert batch["attention_mask"][line].tolist() == [1] * kept + [0] * (width - kept)
            assert batch["position_ids"][line, :kept].tolist() == list(range(kept))
            seen += 1
    assert seen == len(rows) == stream.examples_seen == 100


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("mode", ["left_aligned", "padded"])
def test_resume_at_every_step(corpus: Path, name: str, mode: str) -> None:
    """From the state after any batch, through JSON, a new stream gives exactly the rest."""
    source = make_sources(corpus)[name]
    resume_at_every_step(lambda: TokenStream(source(), batch_size=3, length=150, mode=mode))


def resume_at_every_step(stream: Callable[[], TokenStream], steps: int = 25) -> None:
    """Compare what new streams give after each state with what the first one went on to give."""
    reference = take(stream(), steps + 4)
    running = stream()
    iterator = iter(running)
    for step in range(min(steps, len(reference)) + 1):
        resumed = stream()
        state = json.loads(json.dumps(running.state_dict()))
        resumed.load_state_dict(state)
        assert resumed.examples_seen == running.examples_seen
        assert_same(take(resumed, 4), reference[step : step + 4])
        if step < min(steps, len(reference)):
            next(iterator)


def test_resume_across_epochs(corpus: Path) -> None:
    """Far into the third epoch, without reading what is before."""
    source = CorpusSource(corpus, seed=1, window_blocks=3)
    position = 2 * source.rows + source.rows // 2
    stream = TokenStream(CorpusSource(corpus, seed=1, window_blocks=3), batch_size=2, length=100)
    state = {**stream.state_dict(), "position": position}
    stream.load_state_dict(state)
    first = next(iter(stream))["input_ids"][0]
    wanted = rows_in_order(source, position + 1)[position][0]
    kept = min(100, len(wanted))
    assert first[:kept].tolist() == wanted[:kept]


def test_stopping_and_going_on_with_the_same_stream(corpus: Path) -> None:
    stream = TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=99)
    parts = take(stream, 3) + take(stream, 4)
    assert_same(parts, take(TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=99), 7))


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_is_a_permutation_of_the_rows(corpus: Path, epoch: int) -> None:
    """Every row once in every epoch, in another order each time."""
    source = CorpusSource(corpus, seed=1, window_blocks=3)
    rows = rows_in_order(source, 2 * source.rows)
    part = rows[epoch * source.rows : (epoch + 1) * source.rows]
    stored = []
    for record in read_manifest(corpus)["splits"]["train"]["shards"]:
        table = pq.read_table(corpus / record["path"], columns=["input_ids", "loss_mask"])
        stored += [(row["input_ids"], list(row["loss_mask"])) for row in table.to_pylist()]
    assert sorted(part) == sorted(stored)
    assert part != stored
    assert rows[: source.rows] != rows[source.rows :]


def test_unshuffled_is_in_index_order(corpus: Path) -> None:
    source = CorpusSource(corpus, shuffle=False, epochs=1)
    for index, (tokens, mask) in enumerate(rows_in_order(source, 200)):
        example = generate_example_of(corpus, index)
        assert (tokens, mask) == (example["input_ids"], example["loss_mask"])


def generate_example_of(corpus: Path, index: int) -> dict[str, Any]:
    from ostraca.tasks import get_task

    config = read_manifest(corpus)["spec"]["datasets"]["small"]["splits"]["train"]["config"]
    return generate_example(get_task("depo"), config, 0, index, "train")


def test_the_order_does_not_depend_on_how_the_rows_are_read(corpus: Path) -> None:
    """Starting at any position gives what comes there in one reading from the start."""
    source = CorpusSource(corpus, seed=4, window_blocks=3)
    rows = rows_in_order(source, source.rows)
    for position in (1, 17, 399, source.rows - 1):
        first = next(iter(source.rows_from(position)))
        row = first.order[0]
        assert first.tokens[first.offsets[row] : first.offsets[row + 1]].tolist() == rows[position][0]


def test_golden_order() -> None:
    """If this changes, no run resumes as it would have gone on: raise the state's version."""
    order = EpochOrder(np.array([3, 3, 2, 3]), seed=0, epoch=0, window_blocks=2)
    windows = [(w.blocks.tolist(), w.rows.tolist()) for w in order.windows_from(0)]
    assert windows == [([2, 0], [0, 1, 4, 2, 3]), ([3, 1], [4, 5, 2, 0, 3, 1])]


@given(
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    window=st.integers(1, 5),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_order_visits_every_row_once_from_any_position(
    blocks: list[int], window: int, seed: int, epoch: int
) -> None:
    order = EpochOrder(np.array(blocks), seed=seed, epoch=epoch, window_blocks=window)
    visited = []
    for part in order.windows_from(0):
        laid = [(block, row) for block in part.blocks for row in range(blocks[block])]
        visited += [laid[place] for place in part.rows]
    assert sorted(visited) == [(b, r) for b, rows in enumerate(blocks) for r in range(rows)]
    assert order.rows == len(visited)
    for position in range(len(visited)):
        first = next(order.windows_from(position))
        laid = [(block, row) for block in first.blocks for row in range(blocks[block])]
        assert laid[first.rows[0]] == visited[position]


def test_a_state_of_another_stream_is_refused(corpus: Path) -> None:
    """Both sides are named."""
    state = TokenStream(CorpusSource(corpus, seed=1), batch_size=2, length=64).state_dict()
    assert len(json.dumps(state)) < 2000
    others = [
        (TokenStream(CorpusSource(corpus, seed=2), batch_size=2, length=64), "seed"),
        (TokenStream(CorpusSource(corpus, seed=1), batch_size=4, length=64), "batch_size"),
        (TokenStream(CorpusSource(corpus, seed=1), batch_size=2, length=65), "length"),
        (TokenStream(CorpusSource(corpus, seed=1, shuffle=False), batch_size=2, length=64), "shuffle"),
        (
            TokenStream(CorpusSource(corpus, seed=1, split="test"), batch_size=2, length=64),
            "content",
        ),
        (TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=64), "config"),
    ]
    for stream, field in others:
        with pytest.raises(OstracaError, match=f"its {field} is") as caught:
            stream.load_state_dict(state)
        assert "\n" not in str(caught.value)
    with pytest.raises(OstracaError, match="version 99"):
        others[0][0].load_state_dict({**state, "version": 99})


@pytest.mark.parametrize("state", [None, {}, 5, {"version": 1, "position": 0}])
def test_nonsense_is_no_state(state: Any) -> None:
    with pytest.raises(OstracaError, match="is not a stream's state"):
        TokenStream(TaskSource("depo", CONFIG), batch_size=1, length=8).load_state_dict(state)


@pytest.mark.parametrize("position", [-1, "x", 1.5, None])
def test_a_state_with_an_impossible_position(position: Any) -> None:
    stream = TokenStream(TaskSource("depo", CONFIG), batch_size=1, length=8)
    with pytest.raises(ConfigError, match="position="):
        stream.load_state_dict({**stream.state_dict(), "position": position})


def test_an_iterator_whose_stream_was_moved_says_so() -> None:
    """Never a position that belongs to another iterator's batches."""
    stream = TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=99)
    first = iter(stream)
    next(first)
    state = stream.state_dict()
    next(first)
    stream.load_state_dict(state)
    with pytest.raises(OstracaError, match=r"call iter\(\) again"):
        next(first)
    assert stream.state_dict() == state
    second = iter(stream)
    next(second)
    third = iter(stream)
    next(third)
    with pytest.raises(OstracaError, match=r"call iter\(\) again"):
        next(second)


def test_rotten_bytes_are_noticed_while_reading(corpus_copy: Path) -> None:
    """A flipped bit inside a page is an error, never another token."""
    import random

    rng = random.Random(2)
    path = next(corpus_copy.glob("small/test-*.parquet"))
    whole = path.read_bytes()
    wanted = rows_in_order(CorpusSource(corpus_copy, split="test", shuffle=False, epochs=1), 100)
    noticed = 0
    for _ in range(40):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        got = None
        with contextlib.suppress(OstracaError):
            got = rows_in_order(CorpusSource(corpus_copy, split="test", shuffle=False, epochs=1), 100)
        noticed += got is None
        assert got is None or got == wanted, "silently other tokens"
    assert noticed > 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "left_alined"}, "did you mean 'left_aligned'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"length": None}, "length=None"),
        ({"length": 0}, "length=0"),
        ({"length": 1.5}, "length=1.5"),
        ({"pad_id": -1}, "pad_id=-1"),
    ],
)
def test_bad_stream_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TokenStream(TaskSource("depo", CONFIG), **{"batch_size": 1, "length": 8, **options})


def test_bad_corpus_options(corpus: Path, corpus_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dataset 'smal' \\(did you mean 'small'"):
        CorpusSource(corpus, dataset="smal")
    with pytest.raises(ConfigError, match="no split 'trian' \\(did you mean 'train'"):
        CorpusSource(corpus, split="trian")
    with pytest.raises(ConfigError, match=r"window_blocks=1000000000: .* lower it to"):
        CorpusSource(corpus, window_blocks=10**9)
    with pytest.raises(ConfigError, match="shuffle='no'"):
        CorpusSource(corpus, shuffle="no")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="epochs=0"):
        CorpusSource(corpus, epochs=0)
    with pytest.raises(OstracaError, match="no such folder"):
        CorpusSource(tmp_path / "none")
    with pytest.raises(ConfigError, match="seed"):
        CorpusSource(corpus, seed=-1)
    for path in corpus_copy.rglob("train*.parquet"):
        path.write_bytes(b"PAR1 no more")
    with pytest.raises(OstracaError, match="ostraca verify"):
        next(CorpusSource(corpus_copy).rows_from(0))


def test_corpus_and_task_know_their_config(corpus: Path) -> None:
    source = CorpusSource(corpus, split="test")
    assert (source.task, source.config["qa"], source.config["N"]) == ("depo", True, 20)
    assert TaskSource("depo", CONFIG).config["K"] == 4
