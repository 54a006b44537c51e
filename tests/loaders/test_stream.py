"""Promise 7: batches are a pure function of the step; resume is exact anywhere, at any world size."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import (
    CONFIG,
    SETTINGS,
    SOURCES,
    assert_same,
    joined,
    make_sources,
    of_ranks,
    resume_after_every_step,
    take,
)

from ostraca.loaders import CorpusSource, TaskSource, TokenStream, open_stream, resume_stream
from ostraca.loaders.order import EpochOrder, OrderSettings, Units
from ostraca.loaders.source import Blocks
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.tasks import get_task
from ostraca.tasks.core.batch import LABEL_IGNORED
from ostraca.tasks.errors import ConfigError, CorruptWarning, OstracaError
from ostraca.tasks.examples import generate_example


def small(**more: Any) -> TokenStream:
    return TokenStream(TaskSource("depo", CONFIG), **{"batch_size": 2, "length": 99, **more})


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("form", SETTINGS)
def test_resume_after_every_step_at_another_world_size(corpus: Path, source: str, form: str) -> None:
    make = make_sources(corpus)[source]
    resume_after_every_step(lambda **rank: TokenStream(make(), **{**SETTINGS[form], **rank}))


@pytest.mark.parametrize("source", SOURCES)
def test_from_8_ranks_to_3_to_5_in_mid_epoch(corpus: Path, source: str) -> None:
    make = make_sources(corpus)[source]

    def stream(**rank: Any) -> TokenStream:
        return TokenStream(make(), batch_size=120, length=30, seed=3, lanes=24, remainder="wrap", **rank)

    reference = take(stream(), 9)
    found, state = [], None
    for world in (8, 3, 5):
        ranks = of_ranks(stream, world, state)
        found += [joined(batches) for batches in zip(*(take(rank, 3) for rank in ranks), strict=True)]
        states = [json.dumps(rank.state_dict()) for rank in ranks]
        assert len(set(states)) == 1  # whichever rank saves it
        state = json.loads(states[-1])
    assert_same(found, reference)


@pytest.mark.parametrize("form", SETTINGS)
@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_all_ranks_make_the_same_number_of_steps(corpus: Path, form: str, world: int) -> None:
    """To the end, one after another: no rank waits for another, none reads more than it is told."""
    settings = {**SETTINGS[form], "batch_size": 24}
    ranks = [
        list(TokenStream(CorpusSource(corpus), epochs=1, rank=rank, world_size=world, **settings))
        for rank in range(world)
    ]
    whole = list(TokenStream(CorpusSource(corpus), epochs=1, **settings))
    assert {len(batches) for batches in ranks} == {len(whole)}
    assert_same([joined(batches) for batches in zip(*ranks, strict=True)], whole)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_threads_change_nothing(corpus: Path, threads: int, prefetch: int) -> None:
    def stream(**more: Any) -> TokenStream:
        return TokenStream(CorpusSource(corpus), batch_size=4, length=64, seed=2, epochs=2, **more)

    assert_same(list(stream(threads=threads, prefetch=prefetch)), list(stream()))


def test_no_thread_is_left_behind(corpus: Path) -> None:
    """By an iterator that ended, was dropped, or failed."""
    before = {thread.ident for thread in threading.enumerate()}
    stream = TokenStream(CorpusSource(corpus), batch_size=2, length=64)
    for _ in range(3):
        take(stream, 2)
    list(TokenStream(CorpusSource(corpus), batch_size=2, length=64, epochs=1))
    iterator = iter(stream)
    next(iterator)
    stream.load_state_dict(stream.state_dict())
    with pytest.raises(OstracaError):
        next(iterator)
    deadline = time.monotonic() + 20
    while {thread.ident for thread in threading.enumerate()} - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not {thread.ident for thread in threading.enumerate()} - before


@pytest.mark.parametrize("remainder", ["drop", "pad", "wrap"])
def test_what_becomes_of_the_remainder(remainder: str) -> None:
    """Seven examples in batches of three, in index order."""
    source = TaskSource("depo", CONFIG, count=7)
    stream = TokenStream(
        source, batch_size=3, length=120, mode="padded", shuffle=False, epochs=1, remainder=remainder
    )
    examples = [generate_example(get_task("depo"), CONFIG, 0, index, "train") for index in range(7)]
    ids = [example["input_ids"] for example in examples]
    lines = [
        line[mask.astype(bool)].tolist()
        for batch in stream
        for line, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    wanted = {"drop": ids[:6], "pad": [*ids, [], []], "wrap": [*ids, *ids[:2]]}[remainder]
    assert lines == wanted
    assert len(stream) == stream.steps_per_epoch == len(wanted) // 3


def test_a_batch_larger_than_the_data() -> None:
    source = TaskSource("depo", CONFIG, count=7)
    with pytest.raises(ConfigError, match=r"gives 7 lines, less than one batch of 8.*remainder='pad'"):
        TokenStream(source, batch_size=8, length=200, mode="padded")
    (batch,) = TokenStream(
        source, batch_size=16, length=120, mode="padded", remainder="wrap", shuffle=False, epochs=1
    )
    assert_same([{"ids": batch["input_ids"][:7]}], [{"ids": batch["input_ids"][7:14]}])
    assert not np.array_equal(batch["input_ids"][0], batch["input_ids"][1])


def test_passes_of_a_finite_stream(corpus: Path) -> None:
    """A second loop is the next epoch, never silently nothing; `epochs` is no part of the state."""

    def stream(epochs: int | None) -> TokenStream:
        return TokenStream(CorpusSource(corpus), batch_size=4, length=64, seed=2, epochs=epochs)

    one = stream(1)
    passes = [list(one) for _ in range(3)]
    assert [len(each) for each in passes] == [len(one)] * 3
    assert not np.array_equal(passes[0][0]["input_ids"], passes[1][0]["input_ids"])
    assert_same(list(itertools.chain(*passes)), list(stream(3)))
    assert_same(list(itertools.chain(*passes)), take(stream(None), 3 * len(one)))
    one.set_epoch(1)
    assert one.epoch == 1
    state = one.state_dict()
    assert_same(list(one), passes[1])
    two = stream(2)
    two.load_state_dict(state)
    assert_same(list(two), passes[1])
    assert_same(list(two)[: len(one)], passes[2])


def test_length_is_known_where_it_is(corpus: Path) -> None:
    stream = TokenStream(CorpusSource(corpus), batch_size=4, length=64, epochs=3)
    assert len(stream) == 3 * (stream.steps_per_epoch or 0) > 0
    for endless in (TokenStream(CorpusSource(corpus), batch_size=4, length=64), small()):
        with pytest.raises(TypeError, match="no end"):
            len(endless)
    with pytest.raises(ConfigError, match="has no epochs"):
        small().set_epoch(1)
    with pytest.raises(ConfigError, match=r"epochs=2: .*endless"):
        small(epochs=2)


@pytest.mark.parametrize("mode", ["left_aligned", "concat", "padded"])
@pytest.mark.parametrize("world", [1, 4])
def test_an_endless_stream_never_gives_an_example_twice(mode: str, world: int) -> None:
    def stream(rank: int) -> TokenStream:
        source = TaskSource("depo", {"N": 20, "K": 4}, seed=1)
        return TokenStream(source, batch_size=8, length=200, mode=mode, rank=rank, world_size=world)

    seen = set()
    for rank in range(world):
        for batch in take(stream(rank), 120 // world):
            for ids, positions in zip(batch["input_ids"], batch["position_ids"], strict=True):
                begins = [*np.flatnonzero(positions == 0).tolist(), len(ids)]
                for begin, end in itertools.pairwise(begins):
                    if end - begin > 40:
                        example = ids[begin : begin + 40].tobytes()
                        assert example not in seen
                        seen.add(example)
    assert len(seen) > 100


def test_endless_lines_are_full_and_end_with_a_cut_example() -> None:
    """As in the paper: examples end to end, the last of a line cut, nothing padded."""
    stream = small(batch_size=4, length=150, pad_id=20_000)
    for batch in take(stream, 200):
        assert not (batch["input_ids"] == 20_000).any()
        assert not batch["position_ids"][:, 0].any()


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_shapes_and_dtypes(corpus: Path, dtype: str) -> None:
    extras = ("document_ids", "cu_seqlens", "dataset")
    stream = TokenStream(CorpusSource(corpus), batch_size=4, length=64, dtype=dtype, extras=extras)
    for batch in take(stream, 20):
        for name in ("input_ids", "labels", "position_ids"):
            assert (batch[name].dtype, batch[name].shape) == (np.dtype(dtype), (4, 64))
        documents, positions = batch["document_ids"], batch["position_ids"]
        assert (documents.dtype, documents.shape) == (np.dtype(np.int32), (4, 64))
        real = documents >= 0
        assert (batch["labels"][~real] == LABEL_IGNORED).all()
        begins = real & (positions == 0)
        assert np.array_equal(np.where(real, begins.cumsum(1) - 1, -1), documents)
        bounds = batch["cu_seqlens"]
        assert (bounds.dtype, bounds[0], bounds[-1]) == (np.dtype(np.int32), 0, 4 * 64)
        assert batch["max_seqlen"] == np.diff(bounds).max()
        flat = documents.ravel()
        for begin, end in itertools.pairwise(bounds.tolist()):
            assert begin // 64 == (end - 1) // 64
            assert len(set(flat[begin:end].tolist())) == 1
        assert len(bounds) - 1 == begins.sum() + (~real).any(1).sum()
        assert batch["dataset"] == ["small"] * 4


def test_padded_to_the_longest_of_the_batch() -> None:
    source = TaskSource("depo", CONFIG, count=30)
    stream = TokenStream(source, batch_size=6, mode="padded", shuffle=False, epochs=1)
    for number, batch in enumerate(stream):
        sizes = [
            len(generate_example(get_task("depo"), CONFIG, 0, 6 * number + line, "train")["input_ids"])
            for line in range(6)
        ]
        assert batch["input_ids"].shape == (6, max(sizes))
        assert batch["attention_mask"].sum(1).tolist() == sizes
    with pytest.raises(ConfigError, match="length=None is the longest example of a batch, of which a rank"):
        TokenStream(source, batch_size=6, mode="padded", rank=0, world_size=2)


def test_unshuffled_is_in_index_order(corpus: Path) -> None:
    stream = open_stream(corpus, batch_size=3, length=200, mode="padded", shuffle=False, epochs=1)
    config = read_manifest(corpus)["spec"]["datasets"]["small"]["splits"]["train"]["config"]
    index = 0
    for batch in take(stream, 60):
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            example = generate_example(get_task("depo"), config, 0, index, "train")
            assert ids[mask.astype(bool)].tolist() == example["input_ids"]
            index += 1


def test_golden_order() -> None:
    """If this changes, no run resumes as it would have gone on: raise the state's version."""
    blocks = Blocks(rows=np.array([3, 3, 2, 3]), tokens=np.array([9, 9, 6, 9]), strata=(4,), names=("d",))
    settings = OrderSettings(mode="padded", length=9, seed=0, shuffle=True, window_blocks=2)
    order = EpochOrder(Units(blocks, "padded", 9), settings, 0)
    windows = [order.window(number) for number in range(2)]
    assert [(w.blocks.tolist(), w.order(w.lines).tolist()) for w in windows] == [
        ([2, 0], [0, 1, 4, 2, 3]),
        ([3, 1], [4, 5, 2, 0, 3, 1]),
    ]


def test_golden_batches(corpus: Path) -> None:
    """The same for whole batches; also guards the kernels' results across machines and libraries."""
    import hashlib

    digests = {}
    for mode in ("left_aligned", "concat", "padded"):
        stream = open_stream(corpus, batch_size=12, length=96, mode=mode, seed=5, epochs=2)
        digest = hashlib.sha256()
        for batch in stream:
            for name in ("input_ids", "labels", "position_ids"):
                digest.update(batch[name].tobytes())
        digests[mode] = digest.hexdigest()[:16]
    assert digests == GOLDEN


GOLDEN = {"left_aligned": "20f34c9c89a49fb7", "concat": "0c63a804bf3f7e80", "padded": "1b68db68dfe48c81"}


def test_a_state_of_another_stream_is_refused(corpus: Path) -> None:
    """Both sides are named."""

    def stream(**more: Any) -> TokenStream:
        return open_stream(corpus, **{"batch_size": 2, "length": 64, "seed": 1, **more})

    state = stream().state_dict()
    others = [
        (stream(seed=2), "seed"),
        (stream(batch_size=4, lanes=2), "batch_size"),
        (stream(length=65), "length"),
        (stream(shuffle=False), "window_blocks|shuffle|lanes"),
        (stream(lanes=1, window_blocks=8), "lanes"),
        (stream(window_blocks=3), "window_blocks"),
        (stream(remainder="pad"), "remainder"),
        (stream(mode="concat"), "mode"),
        (stream(split="test"), "source.content"),
        (small(length=64), "source.kind"),
    ]
    for other, field in others:
        with pytest.raises(OstracaError, match=f"its ({field}) is .*, this one's is") as caught:
            other.load_state_dict(state)
        assert "\n" not in str(caught.value)
    with pytest.raises(OstracaError, match="version 99"):
        stream().load_state_dict({**state, "version": 99})
    with pytest.raises(OstracaError, match="version 1, this ostraca reads 2"):
        stream().load_state_dict({"version": 1, "position": 0, "identity": {}})


@pytest.mark.parametrize("state", [None, {}, 5, {"version": 2, "step": 0}, {"version": 2, "identity": {}}])
def test_nonsense_is_no_state(state: Any) -> None:
    with pytest.raises(OstracaError, match="is not a stream's state"):
        small().load_state_dict(state)


@pytest.mark.parametrize("step", [-1, "x", 1.5, None])
def test_a_state_with_an_impossible_step(step: Any) -> None:
    stream = small()
    with pytest.raises(ConfigError, match="step="):
        stream.load_state_dict({**stream.state_dict(), "step": step})


def test_an_iterator_whose_stream_was_moved_says_so() -> None:
    """Never a position that belongs to another iterator's batches."""
    stream = small()
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


def test_stopping_and_going_on_with_the_same_stream() -> None:
    stream = small()
    assert_same(take(stream, 3) + take(stream, 4), take(small(), 7))


def test_a_state_far_away_is_reached_at_once(corpus: Path) -> None:
    """Nothing before it is read: in the thousandth epoch, and after 10^12 steps of an endless stream."""
    stream = open_stream(corpus, batch_size=4, length=64, seed=2)
    step = 1000 * (stream.steps_per_epoch or 0) + 7
    for one, far in ((stream, step), (small(), 10**9)):
        state = {**one.state_dict(), "step": far}
        begun = time.perf_counter()
        one.load_state_dict(state)
        batch = take(one, 1)
        assert time.perf_counter() - begun < 20  # not to measure: to see that it is not read up to there
        assert one.state_dict()["step"] == far + 1
        assert batch[0]["input_ids"].any()


def test_rotten_bytes_are_noticed_while_reading(corpus_copy: Path) -> None:
    """A flipped bit anywhere in a shard is an error, never another token."""
    rng = random.Random(2)
    path = next(corpus_copy.glob("small/test-*.parquet"))
    whole = path.read_bytes()

    def read() -> list[Any]:
        return list(open_stream(corpus_copy, batch_size=10, length=80, split="test", epochs=1, threads=0))

    wanted = read()
    noticed = 0
    for _ in range(40):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        got = None
        with contextlib.suppress(OstracaError):
            got = read()
        noticed += got is None
        if got is not None:
            assert_same(got, wanted)
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
        ({"epochs": 0}, "epochs=0"),
        ({"seed": -1}, "seed"),
        ({"shuffle": "no"}, "shuffle='no'"),
        ({"remainder": "dropp"}, r"remainder='dropp' \(did you mean 'drop'"),
        ({"dtype": "float32"}, "dtype='float32'.*int64, int32"),
        ({"extras": ["document_id"]}, "did you mean 'document_ids'"),
        ({"rank": 1}, "rank is given without world_size"),
        ({"world_size": 2}, "world_size is given without rank"),
        ({"rank": 2, "world_size": 2}, r"rank=2 must be .* 0 to world_size - 1 = 1"),
        ({"rank": 0, "world_size": 3}, "batch_size=2 .*cannot be shared by world_size=3 .*e.g. 3"),
        ({"lanes": 3}, "lanes=3 must divide batch_size=2"),
        ({"window_blocks": 0}, "window_blocks=0"),
    ],
)
def test_bad_stream_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


def test_bad_corpus_options(corpus: Path, corpus_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dataset 'smal' \\(did you mean 'small'"):
        CorpusSource(corpus, datasets="smal")
    with pytest.raises(ConfigError, match="no split 'trian' \\(did you mean 'train'"):
        CorpusSource(corpus, split="trian")
    with pytest.raises(OstracaError, match="no such folder"):
        CorpusSource(tmp_path / "none")
    for path in corpus_copy.rglob("train*.parquet"):
        path.write_bytes(b"PAR1 no more")
    with pytest.raises(OstracaError, match="ostraca verify"):
        take(open_stream(corpus_copy, batch_size=2, length=64), 1)


def test_rank_and_world_size_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = take(small(batch_size=4), 3)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_same(take(small(batch_size=4), 3), [{k: v[2:] for k, v in batch.items()} for batch in whole])
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE='two'"):
        small()


def test_corpus_and_task_know_their_config(corpus: Path) -> None:
    source = CorpusSource(corpus, split="test")
    assert (source.task, source.config["qa"], source.config["N"]) == ("depo", True, 20)
    assert TaskSource("depo", CONFIG).config["K"] == 4


def test_a_stream_is_made_again_from_its_state_alone(corpus: Path, tmp_path: Path) -> None:
    stream = open_stream(corpus, batch_size=4, length=64, seed=3, mode="concat", epochs=1, lanes=2)
    take(stream, 5)
    state = json.loads(json.dumps(stream.state_dict()))
    assert_same(list(resume_stream(state, epochs=1)), list(stream))
    with pytest.raises(OstracaError, match="is not a stream's state"):
        resume_stream({"version": 2})
    with pytest.raises(OstracaError, match="no such folder"):
        resume_stream({**state, "source": {**state["source"], "path": str(tmp_path / "gone")}})
    with pytest.raises(OstracaError, match=r"its source\.content is .*, this one's is"):
        resume_stream({**state, "source": {**state["source"], "split": "test"}})


@pytest.mark.parametrize("mode", ["left_aligned", "concat", "padded"])
def test_corrupt_row_groups_are_left_out_where_that_is_asked_for(corpus_copy: Path, mode: str) -> None:
    """Every other example comes as ever, in the same order; what was left out is told and counted."""

    def read(**more: Any) -> list[Any]:
        settings = {"batch_size": 4, "length": 100, "mode": mode, "epochs": 1, "remainder": "pad", "lanes": 1}
        stream = TokenStream(CorpusSource(corpus_copy, **more), **settings)
        found = [batch["input_ids"] for batch in stream]
        return [len(found), np.concatenate(found).ravel().tolist(), stream.source]

    count, whole, _ = read()
    path = next(corpus_copy.glob("small/train-00000-*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(OstracaError, match=r"row group . is not what the manifest says"):
        read()
    with pytest.warns(CorruptWarning, match=r"left out, with padding in its place: .*row group ."):
        steps, found, source = read(on_corrupt="skip")
    assert steps == count
    assert len(source.skipped) == 1
    assert source.skipped[0].startswith(f"small/{path.name}: row group ")
    kept, every = np.array(found), np.array(whole)
    if mode == "padded":
        lines = kept.reshape(-1, 100)
        assert (lines.any(axis=1) == (lines == every.reshape(-1, 100)).all(axis=1)).all()
    assert 0 < (every > 0).sum() - (kept > 0).sum() < 0.3 * len(every)
    with pytest.raises(ConfigError, match=r"on_corrupt='skp' \(did you mean 'skip'"):
        CorpusSource(corpus_copy, on_corrupt="skp")


def test_batches_of_torch(corpus: Path) -> None:
    torch = pytest.importorskip("torch")
    arrays = take(open_stream(corpus, batch_size=4, length=64), 5)
    stream = open_stream(corpus, batch_size=4, length=64, device="cpu")
    batches = take(stream, 5)
    assert stream.step == 5
    for batch, wanted in zip(batches, arrays, strict=True):
        assert {values.device.type for values in batch.values()} == {"cpu"}
        assert all(torch.equal(batch[name], torch.from_numpy(wanted[name])) for name in wanted)
    with pytest.raises(ConfigError, match="device='cpuu' is none of torch's"):
        take(open_stream(corpus, batch_size=4, length=64, device="cpuu"), 1)
