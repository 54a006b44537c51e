"""Batches are what the documents say, token by token, for any settings and any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from law import Law, MemorySource, Row, lines_in

from ostraca.loaders import TokenStream
from ostraca.loaders.lay import MODES

LAW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def a_row(number: int, size: int, packed: bool) -> Row:
    rng = np.random.default_rng([number, size])
    starts = sorted({0, *rng.integers(0, size, 2).tolist()}) if packed else [0]
    ids = [1 + number, *rng.integers(1, 9000, size - 1).tolist()]  # the first tells which row it is
    return (ids, rng.integers(0, 2, size).tolist(), starts)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Law, list[list[Row]]]:
    mode = draw(st.sampled_from(MODES))
    longest = draw(st.sampled_from([3, 12, 40]))
    sizes = draw(st.lists(st.lists(st.integers(1, longest), min_size=1, max_size=9), min_size=1, max_size=9))
    blocks = [
        [a_row(97 * block + row, size, mode == "packed") for row, size in enumerate(own)]
        for block, own in enumerate(sizes)
    ]
    lanes = draw(st.sampled_from([1, 2, 3, 4]))
    length = draw(st.integers(max(map(max, sizes)) if mode == "packed" else 1, 48))
    cut = draw(st.integers(0, len(blocks)))
    law = Law(
        mode=mode,
        length=length,
        batch_size=lanes * draw(st.integers(1, 3)),
        lanes=lanes,
        window_blocks=draw(st.integers(1, 4)),
        seed=draw(st.integers(0, 3)),
        shuffle=draw(st.booleans()),
        remainder=draw(st.sampled_from(["pad", "wrap"])),
        pad_id=draw(st.sampled_from([0, 7])),
        strata=(cut, len(blocks) - cut) if 0 < cut < len(blocks) else (len(blocks),),
    )
    return law, blocks


def stream_of(law: Law, blocks: list[list[Row]], **more: Any) -> TokenStream:
    packed = 48 if law.mode == "packed" else None
    return TokenStream(MemorySource(blocks, law.strata, packed), **{**law.settings(), **more})


@LAW
@given(case=cases(), world=st.sampled_from([1, 2, 3, 4, 6]), threads=st.integers(0, 2))
def test_every_rank_gives_its_lines_of_the_batches_of_the_law(
    case: tuple[Law, list[list[Row]]], world: int, threads: int
) -> None:
    law, blocks = case
    if law.batch_size % world:
        world = 1
    wanted = [law.epoch(blocks, epoch) for epoch in range(2)]
    ranks = [
        list(stream_of(law, blocks, rank=rank, world_size=world, epochs=2, threads=threads, prefetch=threads))
        for rank in range(world)
    ]
    assert {len(batches) for batches in ranks} == {sum(map(len, wanted))}
    for step, lines in enumerate(line for epoch in wanted for line in epoch):
        found = [line for batches in ranks for line in lines_in(batches[step])]
        assert found == lines


@LAW
@given(case=cases(), world=st.sampled_from([1, 2, 3]), step=st.integers(0, 40), skip=st.integers(1, 3))
def test_any_steps_are_those_of_the_whole(
    case: tuple[Law, list[list[Row]]], world: int, step: int, skip: int
) -> None:
    """As a resumed stream, or one of some workers, asks for them."""
    from ostraca.loaders.plan import Steps

    law, blocks = case
    wanted = law.epoch(blocks, 0) + law.epoch(blocks, 1)
    step %= len(wanted)
    stream = stream_of(law, blocks, threads=0, prefetch=0)
    found = [lines_in(batch) for batch, _ in stream.batches(Steps(first=step, stop=len(wanted), every=skip))]
    assert found == wanted[step::skip]


@LAW
@given(case=cases())
def test_every_example_begins_once_an_epoch(case: tuple[Law, list[list[Row]]]) -> None:
    """Left-aligned: whole, or cut where its line ends. Concatenated: no token is lost or comes twice."""
    law, blocks = case
    lines = list(law.lines(blocks, 0))
    batches = list(stream_of(law, blocks, epochs=1, remainder="pad", pad_id=0))
    found = [line for batch in batches for line in lines_in(batch)]
    rows = [row for block in blocks for row in block]
    if law.mode == "concat":
        tokens = sorted(token for ids, _, _ in found for token in ids if token)
        assert tokens == sorted(token for row in rows for token in row[0])
    if law.mode == "left_aligned":
        held = {row[0][0]: row[0] for row in rows}
        for ids, _, positions in found:
            begins = [place for place in range(law.length) if positions[place] == 0 and ids[place]]
            for place in begins:
                row = held.pop(ids[place])  # KeyError: it came before
                assert ids[place : place + len(row)] == row[: law.length - place]
        assert not held
    assert len(found) >= len(lines)


def test_settings_do_not_matter_to_each_other() -> None:
    """The law's own order is not trivial: seeds, epochs and shuffling change it."""
    blocks = [[a_row(9 * block + row, 5, False) for row in range(6)] for block in range(8)]
    base = {"mode": "padded", "length": 5, "batch_size": 4, "lanes": 2}
    orders = [
        Law(**{**base, **more}).epoch(blocks, epoch)  # type: ignore[arg-type]
        for more, epoch in [({}, 0), ({}, 1), ({"seed": 1}, 0), ({"shuffle": False}, 0), ({"lanes": 4}, 0)]
    ]
    for number, order in enumerate(orders):
        assert all(order != other for other in orders[:number])


@pytest.mark.parametrize("mode", ["left_aligned", "concat"])
def test_a_row_s_place_does_not_betray_its_length(mode: str) -> None:
    """Where a row begins in its line says nothing of how long it is: over many, the means agree."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(20, 120, 40_000)
    blocks = [
        [([1] * int(size), [1] * int(size), [0]) for size in sizes[first : first + 400]]
        for first in range(0, len(sizes), 400)
    ]
    source = MemorySource(blocks)
    stream = TokenStream(source, batch_size=8, length=512, mode=mode, epochs=1, remainder="pad")
    from ostraca.loaders.order import Epochs, OrderSettings, Units

    order = OrderSettings(mode=mode, length=512, seed=0, shuffle=True, window_blocks=4)
    epochs = Epochs(Units(source.blocks(True), mode, 512), order)
    assert stream.steps_per_epoch is not None
    from ostraca.loaders.lay import lines_of

    begins, lengths = [], []
    number = 0
    while number < len(epochs.order(0)):
        window = epochs.order(0).window(number)
        rows = source.read(window.blocks.tolist())
        lines = lines_of(rows, window.order(len(rows)), mode, 512, window.lines)
        for line in range(len(lines)):
            at = -int(lines.skip[line])
            for place in range(lines.first[line], lines.stop[line]):
                row = lines.order[place]
                if at >= 512:
                    break
                if at >= 0:
                    begins.append(at)
                    lengths.append(int(rows.offsets[row + 1] - rows.offsets[row]))
                at += int(rows.offsets[row + 1] - rows.offsets[row])
        number += 1
    begin, size = np.array(begins), np.array(lengths)
    spread = size.std()
    for low in range(0, 512, 32):
        here = size[(begin >= low) & (begin < low + 32)]
        if len(here) > 50:
            assert abs(here.mean() - size.mean()) < 5 * spread / np.sqrt(len(here)), (low, len(here))
